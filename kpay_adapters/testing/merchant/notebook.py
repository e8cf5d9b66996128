"""What a merchant has asked and was told, since a moment on which nothing of its own was under way."""

from collections.abc import Mapping
from typing import Any

from kpay_adapters.testing.merchant.laws import Law, Laws
from kpay_adapters.testing.targets import Ask, Reply, Said, Target

Value = dict[str, Any]

# How objects move, as their merchant sees it, also where it did not look in between.
MOVES: Mapping[str, frozenset[tuple[str, str]]] = {
    "charge": frozenset({("processing", "succeeded"), ("processing", "failed")}),
    "refund": frozenset({("pending", "succeeded"), ("pending", "failed"), ("succeeded", "failed")}),
    "dispute": frozenset(
        {
            *(("needs_response", end) for end in ("under_review", "won", "lost")),
            *(("under_review", end) for end in ("won", "lost")),
        }
    ),
    "payout": frozenset(
        {
            *(("pending", end) for end in ("in_transit", "paid", "failed")),
            *(("in_transit", end) for end in ("paid", "failed")),
        }
    ),
}

# What of them may change when they move, beside their status.
CHANGES: Mapping[str, frozenset[str]] = {
    "charge": frozenset({"amount_refunded", "refunded", "disputed", "failure_code", "failure_message"}),
    "refund": frozenset({"failure_code"}),
    "dispute": frozenset({"evidence", "submitted_at"}),
    "payout": frozenset({"failure_code", "failure_message"}),
}

# The list that an object is in.
LISTS = {
    "charge": "charges",
    "refund": "refunds",
    "dispute": "disputes",
    "payout": "payouts",
    "webhook_endpoint": "webhook_endpoints",
}


class Notebook:
    """
    Asks for a merchant, writes down in words what was asked and answered, and keeps every object as it was last seen.

    The words hold no card, no key and no id: objects are numbered as they come.
    """

    def __init__(self, target: Target, laws: Laws) -> None:
        self.target = target
        self.laws = laws
        self.history: list[str] = []
        self.asked = 0
        self.seconds_passed = 0
        self.seen: dict[str, Value] = {}
        self._numbers: set[str] = set()
        self._secrets: set[str] = set()
        self._names: dict[str, str] = {}

    def ask(self, ask: Ask, words: str = "") -> Reply:
        """Ask, and hold the answer against what is true of every answer. With `words` it is part of the history."""
        if words:
            # Before it is asked: whatever becomes of it, it is known that this was on its way.
            self.history.append(words)
        reply = self.target.ask(ask)
        self.asked += 1
        if words:
            self.history[-1] = f"{words}: {reply.said}"
        hold, text = self.laws.hold, reply.text
        shown = [number for number in self._numbers if number in text]
        hold(Law.CARDS_ARE_NEVER_SHOWN, not shown, f"{ask!r} was answered with a card in it")
        told = [secret for secret in self._secrets if secret in text]
        hold(Law.SECRETS_ARE_TOLD_ONCE, not told, f"{ask!r} was answered with a secret in it")
        # Now that it is known what is not in it, the answer may be shown.
        answered = reply.said not in (Said.FAILED, Said.BUSY)
        hold(Law.REQUESTS_ARE_ANSWERED, answered, f"{ask!r} {reply.said}: {text}")
        return reply

    def let_time_pass(self, seconds: int) -> None:
        """Turn the target's clock, where it can be turned."""
        reply = self.target.pass_time(seconds)
        if reply is not None:
            self.seconds_passed += seconds
            self.history.append(f"let {seconds:,} seconds pass: {reply.said}")
            passed = reply.said is Said.SHOWN
            self.laws.hold(Law.REQUESTS_ARE_ANSWERED, passed, f"turning the clock {reply.said}: {reply.text}")

    def keep_from_sight(self, *, number: str = "", secret: str = "") -> None:
        """Remember what no answer may hold from now on."""
        self._numbers |= {number} - {""}
        self._secrets |= {secret} - {""}

    def name(self, id: str) -> str:
        """Call an object by its kind and number."""
        return self._names.get(id, "an unknown object")

    def show(self, kind: str, id: str, words: str = "") -> Value:
        """Read one of the merchant's own objects."""
        reply = self.ask(Ask(verb="show", kind=kind, id=id), words)
        there = reply.said is Said.SHOWN
        self.laws.hold(Law.LISTS_ARE_WHOLE, there, f"{self.name(id)} is {reply.said} by its id")
        return reply.value

    def see(self, value: Value) -> Value:
        """Take an object in as it is now, and hold it against how it was seen before."""
        kind, id = value["object"], value["id"]
        if id not in self._names:
            count = sum(name.startswith(f"{kind} ") for name in self._names.values())
            self._names[id] = f"{kind} {count + 1}"
        before = self.seen.get(id)
        if before is not None and before != value:
            self._check_move(before, value)
        self.seen[id] = value
        return value

    def own(self, kind: str) -> list[Value]:
        """Return the objects of a kind, oldest first, as they were last seen."""
        return [value for value in self.seen.values() if value["object"] == kind]

    def _check_move(self, before: Value, after: Value) -> None:
        kind, name = after["object"], self.name(after["id"])
        changed = {field for field in after if after[field] != before.get(field)} - {"status"}
        odd = changed - CHANGES[kind]
        self.laws.hold(Law.OUTCOMES_STAND, not odd, f"{name} changed its {', '.join(sorted(odd))}")
        move = (before["status"], after["status"])
        moved = move[0] == move[1] or move in MOVES[kind]
        self.laws.hold(Law.OUTCOMES_STAND, moved, f"{name} was {move[0]} and is {move[1]}")
        if kind == "charge":
            once = after["disputed"] or not before["disputed"]
            self.laws.hold(Law.OUTCOMES_STAND, once, f"{name} was disputed and is not")
