"""Requests that may carry an idempotency key: once, again, and for something else."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from kpay_adapters.testing.merchant.laws import Law
from kpay_adapters.testing.merchant.notebook import LISTS, Notebook
from kpay_adapters.testing.targets import Ask, Reply, Said
from kpay_core.domain import idempotency
from kpay_core.domain.charges import NOT_PROCESSED

# How far the clocks of two who talk may be apart, and how long a request may be on its way.
SLACK = timedelta(minutes=2)

TOOK_EFFECT = (Said.CREATED, Said.ACCEPTED, Said.DECLINED)


class Known(msgspec.Struct):
    """What was done with a key."""

    kind: str
    body: Mapping[str, Any]
    subject: str
    reply: Reply
    # When it was seen last without its final answer, or first used; and when it was first seen with it.
    open_at: datetime
    final_at: datetime

    def __repr__(self) -> str:
        # The body may hold a card.
        return f"<a key of {self.kind}>"

    @property
    def is_final(self) -> bool:
        return self.reply.said is not Said.ACCEPTED

    def is_for(self, kind: str, body: Mapping[str, Any]) -> bool:
        """Tell whether a request is the one that the key stands for."""
        return self.kind == kind and idempotency.canonical(self.body) == idempotency.canonical(body)


class Keys:
    """
    The keys that a merchant has used, by the names that it has for them.

    The keys themselves begin with a text of this notebook's own, so that no other has used them.
    """

    def __init__(self, notebook: Notebook, prefix: str) -> None:
        self._notebook = notebook
        self._prefix = prefix
        self.known: dict[str, Known] = {}

    def send(self, kind: str, body: Mapping[str, Any], name: str | None, words: str) -> tuple[Reply, bool]:
        """
        Send a request under a key, or without one; return the answer, and whether the request was carried out for it.

        Whoever sends it judges what was carried out; whatever has to do with keys is judged here.
        """
        book = self._notebook
        if name is not None:
            words += f", key {name}"
        known = self.known.get(name or "")
        was_free = known is None or self._must_be_free(known)
        ask = Ask(verb="create", kind=kind, body=body, key=None if name is None else self._prefix + name)
        reply = book.ask(ask, words)
        if known is None or name is None:
            self._note(kind, body, name, reply)
            return reply, True
        reused = reply.said is Said.REFUSED and code_of(reply) == "idempotency_key_reused"
        same = known.is_for(kind, body)
        if reused or (same and subject_of(reply) == known.subject):
            book.laws.hold(
                Law.A_KEY_IS_FREE_AFTER_A_DAY, not was_free, f"key {name} was free, and is not taken anew"
            )
            book.laws.hold(
                Law.A_KEY_IS_FOR_ONE_REQUEST, same != reused, f"key {name} was refused to its own request"
            )
            if same:
                self._check_answer(name, known, reply)
            return reply, False
        may_be = was_free or self._may_be_free(known)
        law = Law.A_KEY_HAS_ONE_ANSWER if same else Law.A_KEY_IS_FOR_ONE_REQUEST
        book.laws.hold(
            law, may_be, f"key {name} was used again, and the request was {reply.said}: {reply.text}"
        )
        book.laws.hold(Law.A_KEY_IS_FREE_AFTER_A_DAY, may_be, f"key {name} is forgotten too early")
        self._note(kind, body, name, reply)
        return reply, True

    def send_again(self, name: str) -> None:
        """Send what a key stands for once more; where the key is free by now it would be another request."""
        known = self.known[name]
        if not self._may_be_free(known):
            self.send(known.kind, known.body, name, f"send again, to {known.kind}")

    def _note(self, kind: str, body: Mapping[str, Any], name: str | None, reply: Reply) -> None:
        laws = self._notebook.laws
        laws.hold(
            Law.A_KEY_HAS_ONE_ANSWER, not reply.replayed, "the first answer says that it is given again"
        )
        if name is not None and reply.said in TOOK_EFFECT:
            now = self._notebook.target.now()
            self.known[name] = Known(kind, body, subject_of(reply), reply, open_at=now, final_at=now)
        elif name is not None:
            # Whatever it stood for before is forgotten, and a request that is refused leaves it free.
            self.known.pop(name, None)

    def _check_answer(self, name: str, known: Known, reply: Reply) -> None:
        laws = self._notebook.laws
        if known.is_final:
            laws.hold(
                Law.A_KEY_HAS_ONE_ANSWER,
                (reply.said, reply.text) == (known.reply.said, known.reply.text),
                f"key {name} was {known.reply.said}: {known.reply.text} and now {reply.said}: {reply.text}",
            )
        if known.is_final or reply.said is not Said.ACCEPTED:
            laws.hold(
                Law.A_KEY_HAS_ONE_ANSWER, reply.replayed, f"key {name} does not say that it answers again"
            )
        if not known.is_final:
            known.final_at = self._notebook.target.now()
            known.reply = reply
            if not known.is_final:
                known.open_at = known.final_at

    def _must_be_free(self, known: Known) -> bool:
        """Tell whether a key has nothing to remember any more, for certain."""
        if self._was_undone(known):
            return True
        return known.is_final and self._since(known.final_at) >= idempotency.LIFE + SLACK

    def _may_be_free(self, known: Known) -> bool:
        """Tell whether a key may have nothing to remember any more. A charge without an outcome holds its key."""
        if self._was_undone(known):
            return True
        return self._since(known.open_at) >= idempotency.LIFE - SLACK

    def _was_undone(self, known: Known) -> bool:
        if known.is_final or known.kind != LISTS["charge"]:
            return False
        return self._notebook.show(known.kind, known.subject)["failure_code"] == NOT_PROCESSED

    def _since(self, moment: datetime) -> timedelta:
        return self._notebook.target.now() - moment


def subject_of(reply: Reply) -> str:
    """Return the id of what a request made, or nothing."""
    if reply.said is Said.DECLINED:
        return reply.value["error"]["details"]["charge"]
    return reply.value["id"] if reply.said in TOOK_EFFECT else ""


def code_of(reply: Reply) -> str:
    return reply.value["error"]["details"].get("code", "")
