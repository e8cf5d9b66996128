"""Webhook endpoints: registered, changed, rotated and deleted."""

import re
from collections.abc import Mapping
from typing import Any

from kpay_adapters.testing.merchant.laws import Law
from kpay_adapters.testing.merchant.lists import Lists
from kpay_adapters.testing.merchant.notebook import Notebook, Value
from kpay_adapters.testing.targets import Ask, Said

KIND = "webhook_endpoints"

SECRET = re.compile("whsec_[A-Za-z0-9_-]{43}")

# Where webhooks are really sent, only of what hardly ever happens, and to where nobody ever is (RFC 2606).
QUIET_TYPE = "payout.failed"
NOWHERE = "https://kpay-check.invalid/hooks"


class Endpoints:
    """A merchant's endpoints, as it has made them. Those that are left are deleted at the end."""

    def __init__(self, notebook: Notebook, lists: Lists) -> None:
        self._notebook = notebook
        self._lists = lists

    @property
    def own(self) -> list[Value]:
        return self._notebook.own("webhook_endpoint")

    def register(self, body: Mapping[str, Any]) -> None:
        book, body = self._notebook, self._quietly(body)
        reply = book.ask(Ask(verb="create", kind=KIND, body=body), "register an endpoint")
        made = reply.said is Said.CREATED
        book.laws.hold(Law.WHAT_IS_VALID_IS_TAKEN, made, f"an endpoint was {reply.said}: {reply.text}")
        value = self._without_secret(reply.value)
        wanted = {"status": "enabled", "description": None, **folded(body)}
        got = {name: value[name] for name in wanted}
        book.laws.hold(
            Law.WHAT_WAS_SENT_COMES_BACK, got == wanted, f"an endpoint is {got}, should be {wanted}"
        )
        book.see(value)
        self._check_by_id(value)

    def change(self, endpoint: Value, body: Mapping[str, Any]) -> None:
        book, body = self._notebook, self._quietly(body)
        words = f"change {', '.join(sorted(body)) or 'nothing'} of {book.name(endpoint['id'])}"
        reply = book.ask(Ask(verb="change", kind=KIND, id=endpoint["id"], body=body), words)
        # A description of null is cleared; everything else of null stays.
        given = {
            name: each for name, each in folded(body).items() if each is not None or name == "description"
        }
        wanted = {**endpoint, **given}
        right = reply.said is Said.SHOWN and reply.value == wanted
        book.laws.hold(Law.WHAT_WAS_SENT_COMES_BACK, right, f"{words} was {reply.said}: {reply.text}")
        book.seen[endpoint["id"]] = wanted
        self._check_by_id(wanted)

    def rotate(self, endpoint: Value) -> None:
        book = self._notebook
        words = f"rotate the secret of {book.name(endpoint['id'])}"
        reply = book.ask(Ask(verb="rotate", kind=KIND, id=endpoint["id"]), words)
        same = reply.said is Said.SHOWN and self._without_secret(reply.value) == endpoint
        book.laws.hold(Law.WHAT_WAS_SENT_COMES_BACK, same, f"{words} was {reply.said}, and changed more")
        self._check_by_id(endpoint)

    def delete(self, endpoint: Value) -> None:
        """Delete an endpoint: it is gone from every list, and like one that never was."""
        book, id = self._notebook, endpoint["id"]
        words = f"delete {book.name(id)}"
        reply = book.ask(Ask(verb="delete", kind=KIND, id=id), words)
        gone = reply.said is Said.SHOWN and reply.value.get("deleted") is True
        book.laws.hold(Law.WHAT_IS_VALID_IS_TAKEN, gone, f"{words} was {reply.said}: {reply.text}")
        del book.seen[id]
        never = book.ask(Ask(verb="show", kind=KIND, id="we_0"))
        after = book.ask(Ask(verb="show", kind=KIND, id=id))
        same = after.said is never.said is Said.NOT_FOUND and after.text == never.text
        book.laws.hold(Law.OTHERS_SEE_NOTHING, same, f"{book.name(id)} was deleted, and is {after.said}")
        self.check()

    def check(self) -> None:
        """Hold the list of endpoints against what was made."""
        self._lists.check("webhook_endpoint")

    def clear(self) -> None:
        """Delete all that is left, without a look at what comes of it."""
        for endpoint in self.own:
            self._notebook.target.ask(Ask(verb="delete", kind=KIND, id=endpoint["id"]))

    def _check_by_id(self, wanted: Value) -> None:
        got = self._notebook.show(KIND, wanted["id"])
        same = got == wanted
        self._notebook.laws.hold(
            Law.WHAT_WAS_SENT_COMES_BACK, same, f"an endpoint is {got} by its id, should be {wanted}"
        )

    def _without_secret(self, value: Value) -> Value:
        """Take the secret out of the one answer that has it; from now on no answer may."""
        secret: str = value.pop("signing_secret", "")
        sound = SECRET.fullmatch(secret) is not None
        self._notebook.laws.hold(
            Law.SECRETS_ARE_TOLD_ONCE, sound, "an endpoint came without a signing secret"
        )
        self._notebook.keep_from_sight(secret=secret)
        return value

    def _quietly(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Where webhooks are really sent, let next to none be sent, and none arrive."""
        if not self._notebook.target.delivers:
            return body
        quiet = {"url": NOWHERE, "enabled_events": [QUIET_TYPE]}
        return {name: quiet.get(name, value) if value is not None else None for name, value in body.items()}


def folded(body: Mapping[str, Any]) -> dict[str, Any]:
    """Keep each type of event once, as an endpoint does."""
    types = body.get("enabled_events")
    return {**body, **({"enabled_events": list(dict.fromkeys(types))} if types else {})}
