"""Balances and payouts: what a merchant has, to the cent."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kpay_adapters.testing.merchant.laws import Law
from kpay_adapters.testing.merchant.lists import Lists
from kpay_adapters.testing.merchant.notebook import Notebook, Value
from kpay_adapters.testing.merchant.telling import Events, Happened, succeeds
from kpay_adapters.testing.targets import Ask, Reply, Said, Target

# How often a balance is looked at that moves all the while, before it is passed over.
LOOKS = 5

# Two amounts of which a share is whole cents at any basis points, so that both terms follow from what they cost.
PROBES = (10_000, 20_000)


class Terms(msgspec.Struct, frozen=True):
    """What a charge costs its merchant."""

    basis_points: int
    cents: int

    def fee(self, amount: int) -> int:
        """Return the fee of a charge: a share, rounded half up, and a fixed part; never more than it."""
        return min((amount * self.basis_points + 5_000) // 10_000 + self.cents, amount)


class Holding(msgspec.Struct, frozen=True):
    """What a merchant has in all, and what of that is kept back or on its way."""

    total: int = 0
    reserved: int = 0
    in_transit: int = 0

    def plus(self, other: "Holding") -> "Holding":
        return Holding(*(getattr(self, name) + getattr(other, name) for name in self.__struct_fields__))


class Money:
    """Holds the balance against the events since the notebook was begun, and payouts against their lines."""

    def __init__(self, notebook: Notebook, lists: Lists, events: Events, terms: Terms | None) -> None:
        self._notebook = notebook
        self._lists = lists
        self._events = events
        self._terms = terms
        self._began = self._look()
        self._payout_of: dict[str, str] = {}

    def check(self) -> None:
        """Check that the balance is what it was, and what the events tell."""
        book, now = self._notebook, self._look()
        if self._terms is None or self._began is None or now is None:
            book.laws.pass_over("the balance moved each time it was looked at, or the terms are not known")
            return
        (before, earlier), (after, happened) = self._began, now
        told = {each.event["id"] for each in earlier}
        due = before
        for each in happened:
            if each.event["id"] not in told:
                due = due.plus(effect(each, self._terms))
        due = due.plus(Holding(reserved=self._untold(happened)))
        book.laws.hold(
            Law.THE_BALANCE_FOLLOWS_FROM_EVENTS, after == due, f"the balance is {after}, should be {due}"
        )

    def check_payouts(self) -> None:
        """Check that every new payout is the sum of its lines, and each line what it is written for."""
        book = self._notebook
        for payout in self._lists.walk("payouts"):
            value = book.show("payouts", payout["id"])
            lines: list[Value] = value.pop("line_items")
            book.see(value)
            name = book.name(value["id"])
            total = sum(line["amount"] for line in lines)
            book.laws.hold(
                Law.PAYOUTS_ARE_THEIR_LINES,
                total == value["amount"] > 0,
                f"{name} is {value['amount']}, and its lines are {total}",
            )
            for line in lines:
                self._check_line(value["id"], line)

    def _check_line(self, payout: str, line: Value) -> None:
        book, type = self._notebook, line["type"]
        once = self._payout_of.setdefault(line["id"], payout) == payout
        book.laws.hold(Law.PAYOUTS_ARE_THEIR_LINES, once, f"a line of a {type} is in two payouts")
        source = book.seen.get(line["source"])
        if source is None or self._terms is None:
            return
        due = {
            ("charge", "charge"): source["amount"],
            ("charge", "fee"): -self._terms.fee(source["amount"]),
            ("refund", "refund"): -source["amount"],
            ("refund", "refund_reversal"): source["amount"],
        }.get((source["object"], type))
        right = due is None or line["amount"] == due
        name = book.name(source["id"])
        book.laws.hold(
            Law.PAYOUTS_ARE_THEIR_LINES,
            right,
            f"the {type} line of {name} is {line['amount']}, should be {due}",
        )

    def _look(self) -> tuple[Holding, Sequence[Happened]] | None:
        """Return the balance and the events as of one moment; None while it moves all the time."""
        for _ in range(LOOKS):
            before = self._balance()
            happened = self._events.since()
            if self._balance() == before:
                return holding(before), happened
        return None

    def _balance(self) -> Value:
        return self._notebook.ask(Ask(verb="show", kind="balance")).value

    def _untold(self, happened: Sequence[Happened]) -> int:
        """Add up the refunds that are set aside, and of which the network has said nothing yet."""
        told = {each.object["id"] for each in happened}
        return sum(each["amount"] for each in self._notebook.own("refund") if each["id"] not in told)


def holding(balance: Mapping[str, Any]) -> Holding:
    parts = ("pending", "available", "reserved", "in_transit")
    return Holding(sum(balance[part] for part in parts), balance["reserved"], balance["in_transit"])


def effect(each: Happened, terms: Terms) -> Holding:
    """Tell how an event moves what a merchant has."""
    value, before = each.object, each.before or {}
    amount: int = value["amount"]
    match each.type:
        case "charge.succeeded":
            return Holding(total=amount - terms.fee(amount))
        case "refund.created" | "refund.updated":
            kept = amount * (value["status"] == "pending") - amount * (before.get("status") == "pending")
            came_back = value["status"] == "failed" and before.get("status") == "succeeded"
            return Holding(total=amount * came_back - amount * succeeds(each), reserved=kept)
        case "dispute.created":
            return Holding(reserved=amount + value["fee"])
        case "dispute.closed":
            whole = amount + value["fee"]
            return Holding(total=-whole * (value["status"] == "lost"), reserved=-whole)
        case "payout.created":
            return Holding(in_transit=amount)
        case "payout.paid":
            return Holding(total=-amount, in_transit=-amount)
        case "payout.failed":
            return Holding(in_transit=-amount)
        case _:
            return Holding()


def learn_terms(target: Target, request: Mapping[str, Any]) -> Terms | None:
    """
    Find out what charges cost, from two of them with the card that is good; None where that cannot be told.

    Whatever else moves the balance meanwhile would spoil it, so it is found out once more.
    """
    for _ in range(LOOKS):
        costs: list[int] = []
        for amount in PROBES:
            had = _total(target)
            reply = target.ask(Ask(verb="create", kind="charges", body={**request, "amount": amount}))
            if reply.said is not Said.CREATED:
                return None
            costs.append(amount - (_total(target) - had))
        share = costs[1] - costs[0]
        if 0 <= share <= costs[0] < PROBES[0]:
            return Terms(basis_points=share, cents=costs[0] - share)
    return None


def _total(target: Target) -> int:
    reply: Reply = target.ask(Ask(verb="show", kind="balance"))
    return holding(reply.value).total if reply.said is Said.SHOWN else 0
