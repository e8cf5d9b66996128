"""Targets that lie, each in one way: whatever the machine holds against them, one law must notice."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from kpay_adapters.testing.merchant.laws import Law
from kpay_adapters.testing.targets import Ask, Reply, Said, Target

CARD = "4242424242424242"

Lie = Callable[["Liar", Ask], Reply]


class Liar:
    """A target between the merchant and an honest one."""

    def __init__(self, honest: Target, lie: Lie) -> None:
        self.honest = honest
        self.name, self.others, self.delivers = "a liar", honest.others, honest.delivers
        self.kept: dict[str, Any] = {}
        self._lie = lie

    def ask(self, ask: Ask) -> Reply:
        return self._lie(self, ask)

    def now(self) -> datetime:
        return self.honest.now()

    def pass_time(self, seconds: int) -> Reply | None:
        return self.honest.pass_time(seconds)

    def audit(self) -> Sequence[str] | None:
        return self.honest.audit()

    def close(self) -> None:
        self.honest.close()


def told(reply: Reply, tell: Callable[[dict[str, Any]], None]) -> Reply:
    """Tell something else of every object in an answer."""
    value = reply.value

    def visit(place: Any) -> None:
        if isinstance(place, dict):
            tell(place)
        for inner in place.values() if isinstance(place, dict) else place if isinstance(place, list) else ():
            visit(inner)

    visit(value)
    return replace(reply, text=json.dumps(value))


def changing(kind: str, change: Callable[[dict[str, Any]], Any]) -> Lie:
    """Change every object of a kind, wherever it is shown."""

    def lie(liar: Liar, ask: Ask) -> Reply:
        return told(
            liar.honest.ask(ask), lambda value: change(value) if value.get("object") == kind else None
        )

    return lie


def on(verb: str, kind: str, lie: Lie) -> Lie:
    """Lie about one kind of request only."""

    def some(liar: Liar, ask: Ask) -> Reply:
        return lie(liar, ask) if (ask.verb, ask.kind) == (verb, kind) else liar.honest.ask(ask)

    return some


def forgets_keys(liar: Liar, ask: Ask) -> Reply:
    return liar.honest.ask(replace(ask, key=None))


def never_forgets_a_key(liar: Liar, ask: Ask) -> Reply:
    if ask.key is None:
        return liar.honest.ask(ask)
    request = f"{ask.key} {ask.kind} {ask.body}"
    if request in liar.kept:
        return replace(liar.kept[request], replayed=True)
    liar.kept[request] = liar.honest.ask(ask)
    return liar.kept[request]


def answers_anything_for_a_key(liar: Liar, ask: Ask) -> Reply:
    reply = liar.honest.ask(ask)
    if reply.said is Said.REFUSED and "idempotency_key_reused" in reply.text:
        return liar.honest.ask(replace(ask, key=f"{ask.key}, again"))
    return reply


def answers_again_in_other_bytes(liar: Liar, ask: Ask) -> Reply:
    reply = liar.honest.ask(ask)
    return replace(reply, text=f"{reply.text} ") if reply.replayed else reply


def makes_it_twice(liar: Liar, ask: Ask) -> Reply:
    liar.honest.ask(ask)
    return liar.honest.ask(ask)


def leaves_the_oldest_out(liar: Liar, ask: Ask) -> Reply:
    return told(liar.honest.ask(ask), lambda value: value.get("data", [])[2:] and value["data"].pop())


def turns_lists_around(liar: Liar, ask: Ask) -> Reply:
    return told(liar.honest.ask(ask), lambda value: value.get("data", []).reverse())


def shows_cards(value: dict[str, Any]) -> None:
    value["last4"] = CARD if value["last4"] == CARD[-4:] else value["last4"]


def tells_secrets(liar: Liar, ask: Ask) -> Reply:
    reply = liar.honest.ask(ask)
    if (ask.verb, ask.kind) == ("create", "webhook_endpoints"):
        liar.kept[reply.value["id"]] = reply.value["signing_secret"]
    if ask.verb == "show" and ask.id in liar.kept:
        return told(reply, lambda value: value.update(signing_secret=liar.kept[ask.id]))
    return reply


def fails(_: Liar, __: Ask) -> Reply:
    return Reply(said=Said.FAILED, text='{"error":{"type":"internal_error"}}')


def names_one_mistake(liar: Liar, ask: Ask) -> Reply:
    def forget(value: dict[str, Any]) -> None:
        while len(value.get("fieldErrors", ())) > 1:
            value["fieldErrors"].popitem()

    return told(liar.honest.ask(ask), forget)


def refuses_large_amounts(liar: Liar, ask: Ask) -> Reply:
    if ask.kind == "charges" and ask.body and ask.body["amount"] == 10_000_000:
        ask = replace(ask, body={**ask.body, "amount": 10_000_001})
    return liar.honest.ask(ask)


def miscounts(value: dict[str, Any]) -> None:
    value["amount_refunded"] += value["amount_refunded"] > 0


def calls_failures_pending(liar: Liar, ask: Ask) -> Reply:
    """Show a refund that was pending as if it were so for ever."""

    def forget(value: dict[str, Any]) -> None:
        if (
            value.get("object") == "refund"
            and liar.kept.setdefault(value["id"], value["status"]) == "pending"
        ):
            value.update(status="pending", failure_code=None)

    return told(liar.honest.ask(ask), forget)


def changes_its_mind(liar: Liar, ask: Ask) -> Reply:
    """Show a refunded charge as if it were still on its way."""

    def forget(value: dict[str, Any]) -> None:
        if value.get("object") == "charge" and value["amount_refunded"]:
            value["status"] = "processing"

    return told(liar.honest.ask(ask), forget)


def knows_no_merchants(liar: Liar, ask: Ask) -> Reply:
    return liar.honest.ask(replace(ask, as_other=None))


def tells_others_apart(liar: Liar, ask: Ask) -> Reply:
    reply = liar.honest.ask(ask)
    theirs = ask.as_other is not None and reply.said is Said.NOT_FOUND
    return replace(reply, text=reply.text.replace("No such", "Not your")) if theirs else reply


def tells_nothing_of(type: str) -> Lie:
    def forget(value: dict[str, Any]) -> None:
        value["data"] = [event for event in value["data"] if event["type"] != type]

    def lie(liar: Liar, ask: Ask) -> Reply:
        return told(liar.honest.ask(ask), lambda value: forget(value) if "has_more" in value else None)

    return lie


def gives_a_cent_for_each_refund(liar: Liar, ask: Ask) -> Reply:
    reply = liar.honest.ask(ask)
    cents = liar.kept.get("cents", 0)
    if ask.kind == "balance":
        return told(reply, lambda value: value.update(available=value["available"] + cents))
    liar.kept["cents"] = cents + ((ask.verb, ask.kind, reply.said) == ("create", "refunds", Said.CREATED))
    return reply


def says_of(**facts: Any) -> Callable[[dict[str, Any]], None]:
    return lambda value: value.update(facts)


def adds_a_cent(value: dict[str, Any]) -> None:
    value["amount"] += 1


LIES: Sequence[tuple[Law, Lie]] = (
    (Law.REQUESTS_ARE_ANSWERED, on("list", "events", fails)),
    (Law.CARDS_ARE_NEVER_SHOWN, changing("card", shows_cards)),
    (Law.SECRETS_ARE_TOLD_ONCE, tells_secrets),
    (Law.WHAT_IS_VALID_IS_TAKEN, on("create", "charges", refuses_large_amounts)),
    (Law.WHAT_IS_WRONG_IS_NAMED, on("create", "charges", names_one_mistake)),
    (Law.WHAT_WAS_SENT_COMES_BACK, changing("charge", says_of(description="Order"))),
    (Law.WHAT_WAS_SENT_COMES_BACK, changing("webhook_endpoint", says_of(status="disabled"))),
    (Law.A_KEY_HAS_ONE_ANSWER, forgets_keys),
    (Law.A_KEY_HAS_ONE_ANSWER, answers_again_in_other_bytes),
    (Law.A_KEY_IS_FOR_ONE_REQUEST, answers_anything_for_a_key),
    (Law.A_KEY_IS_FREE_AFTER_A_DAY, never_forgets_a_key),
    (Law.REFUNDS_NEVER_EXCEED_THEIR_CHARGE, calls_failures_pending),
    (Law.AMOUNTS_ADD_UP, changing("charge", miscounts)),
    (Law.OUTCOMES_STAND, changes_its_mind),
    (Law.LISTS_ARE_WHOLE, on("list", "charges", leaves_the_oldest_out)),
    (Law.LISTS_ARE_WHOLE, on("list", "refunds", turns_lists_around)),
    (Law.NOTHING_IS_THERE_UNASKED, on("create", "refunds", makes_it_twice)),
    (Law.NOTHING_IS_THERE_UNASKED, on("create", "webhook_endpoints", makes_it_twice)),
    (Law.OTHERS_SEE_NOTHING, on("show", "refunds", knows_no_merchants)),
    (Law.OTHERS_SEE_NOTHING, on("show", "charges", tells_others_apart)),
    (Law.OTHERS_SEE_NOTHING, on("list", "charges", knows_no_merchants)),
    (Law.EACH_CHANGE_IS_TOLD_ONCE, on("list", "events", tells_nothing_of("charge.succeeded"))),
    (Law.EACH_CHANGE_IS_TOLD_ONCE, on("list", "events", tells_nothing_of("charge.refunded"))),
    (Law.EACH_CHANGE_IS_TOLD_ONCE, on("list", "events", tells_nothing_of("refund.updated"))),
    (Law.EACH_CHANGE_IS_TOLD_ONCE, on("list", "events", tells_nothing_of("dispute.closed"))),
    (Law.THE_BALANCE_FOLLOWS_FROM_EVENTS, gives_a_cent_for_each_refund),
    (Law.PAYOUTS_ARE_THEIR_LINES, on("show", "payouts", changing("payout", adds_a_cent))),
)
