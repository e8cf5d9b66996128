"""Charges and refunds: what becomes of each request, and what its charge is like afterwards."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import msgspec

from kpay_adapters.testing.merchant.cards import TestCard
from kpay_adapters.testing.merchant.keys import SLACK, TOOK_EFFECT, Keys, code_of, subject_of
from kpay_adapters.testing.merchant.laws import Law
from kpay_adapters.testing.merchant.lists import MOST, Lists
from kpay_adapters.testing.merchant.notebook import Notebook, Value
from kpay_adapters.testing.targets import Ask, Reply, Said

# What of a request comes back as it was sent, wherever it was sent.
ECHOED = ("amount", "description", "metadata", "billing_address", "charge", "reason", "notes")


class Look(msgspec.Struct, frozen=True):
    """A charge, its refunds and how much of it is kept back for disputes, at one moment."""

    charge: Value
    refunds: Sequence[Value]
    disputed: int

    @property
    def left(self) -> int:
        """What may still be refunded, in cents."""
        return max(self.charge["amount"] - standing(self.refunds) - self.disputed, 0)

    def without(self, refund: str) -> "Look":
        return Look(self.charge, [each for each in self.refunds if each["id"] != refund], self.disputed)

    def answer_to(self, amount: int | None) -> tuple[Said, str | int]:
        """Tell what a refund of so much comes to: how much is refunded, or the code of its refusal."""
        if self.charge["status"] != "succeeded":
            return Said.REFUSED, "charge_not_refundable"
        if self.left == 0:
            return Said.REFUSED, "charge_disputed" if self.disputed else "charge_already_refunded"
        if amount is not None and amount > self.left:
            return Said.REFUSED, f"max {self.left}"
        return Said.CREATED, self.left if amount is None else amount


class Payments:
    """Makes charges and refunds, and judges what comes of them."""

    def __init__(self, notebook: Notebook, keys: Keys, lists: Lists) -> None:
        self._notebook = notebook
        self._keys = keys
        self._lists = lists

    def charge(self, card: TestCard, fields: Mapping[str, Any], key: str | None) -> None:
        """Charge a card; `fields` are all that belongs to a request beside the card."""
        book, laws = self._notebook, self._notebook.laws
        book.keep_from_sight(number=card.number)
        source = card.in_hand(book.target.now().year + 1)
        body = {**fields, "source": source}
        reply, is_new = self._keys.send(
            "charges", body, key, f"charge {fields['amount']} on a {card.name} card"
        )
        if is_new:
            right = reply.said in ((card.ends,) if card.ends else TOOK_EFFECT)
            laws.hold(Law.WHAT_IS_VALID_IS_TAKEN, right, f"a {card.name} card was {reply.said}: {reply.text}")
            self._check_charge(card, fields, source, reply)
        elif self._keys.known[key or ""].kind == "charges":
            self.look(self._keys.known[key or ""].subject)

    def refund(self, charge: str, amount: int | None, fields: Mapping[str, Any], key: str | None) -> None:
        """Refund a charge, or some of it; `fields` are all that belongs to a request beside that."""
        book, laws = self._notebook, self._notebook.laws
        before = self.look(charge)
        body = {**fields, "charge": charge, **({} if amount is None else {"amount": amount})}
        words = f"refund {'all' if amount is None else amount} of {book.name(charge)}"
        reply, is_new = self._keys.send("refunds", body, key, words)
        if not is_new:
            self.look(charge)
            return
        if reply.said is Said.CREATED:
            self._check_echo(body, book.see(reply.value))
        after = self.look(charge).without(subject_of(reply))
        # Between the two looks something may have happened by itself; the answer is right for the one or the other.
        due = [look.answer_to(amount) for look in (before, after)]
        got = (reply.said, reply.value["amount"] if reply.said is Said.CREATED else why(reply))
        laws.hold(Law.WHAT_IS_VALID_IS_TAKEN, got in due, f"{words} was {got}, should be {due[0]}")

    def look(self, charge: str) -> Look:
        """Read a charge with its refunds, and hold each against the other and against how it was before."""
        book, laws = self._notebook, self._notebook.laws
        value = book.show("charges", charge)
        refunds: list[Value] = value.pop("refunds")
        strange = [each for each in refunds if each["id"] not in book.seen]
        laws.hold(
            Law.NOTHING_IS_THERE_UNASKED, not strange, f"{book.name(charge)} has a refund nobody asked for"
        )
        for each in (value, *refunds):
            book.see(each)
        known = [each["id"] for each in book.own("refund") if each["charge"] == charge]
        whole = [each["id"] for each in refunds] == known[::-1]
        laws.hold(
            Law.LISTS_ARE_WHOLE, whole, f"{book.name(charge)} does not show all its refunds, newest first"
        )
        amount, refunded = value["amount"], returned(refunds)
        laws.hold(
            Law.REFUNDS_NEVER_EXCEED_THEIR_CHARGE,
            standing(refunds) <= amount,
            f"{book.name(charge)} of {amount} has refunds of {standing(refunds)}",
        )
        says = (value["amount_refunded"], value["refunded"])
        laws.hold(
            Law.AMOUNTS_ADD_UP,
            says == (refunded, refunded == amount),
            f"{book.name(charge)} says that {says} is refunded, and its refunds are {refunded}",
        )
        return Look(value, refunds, self._disputed(charge) if value["disputed"] else 0)

    def disputes(self) -> list[Value]:
        """Read the disputes that were opened since the notebook was begun, newest first."""
        return [self._notebook.see(value) for value in self._lists.walk("disputes", limit=MOST)]

    def answer(self, dispute: Value, body: Mapping[str, Any]) -> None:
        """Answer a dispute: it takes a draft, or one submission, while it needs a response and its time is not over."""
        book, laws = self._notebook, self._notebook.laws
        before = book.see(book.show("disputes", dispute["id"]))
        text, submits = body["evidence"]["uncategorized_text"], body.get("submit") is True
        words = f"{'submit' if submits else 'draft'} evidence for {book.name(dispute['id'])}"
        reply = book.ask(Ask(verb="change", kind="disputes", id=dispute["id"], body=body), words)
        after = book.see(book.show("disputes", dispute["id"]))
        if reply.said is Said.SHOWN:
            status = "under_review" if submits else "needs_response"
            got = (reply.value["status"], reply.value["evidence"]["uncategorized_text"])
            laws.hold(Law.WHAT_WAS_SENT_COMES_BACK, got == (status, text or None), f"{words}: {got}")
            return
        empty = submits and not text.strip()
        late = book.target.now() >= datetime.fromisoformat(before["evidence_due_by"]) - SLACK
        closed = "needs_response" not in (before["status"], after["status"]) or late
        laws.hold(Law.WHAT_IS_VALID_IS_TAKEN, empty or closed, f"{words} was {reply.said}: {reply.text}")

    def _disputed(self, charge: str) -> int:
        its = [dispute for dispute in self.disputes() if dispute["charge"] == charge]
        return sum(dispute["amount"] for dispute in its if dispute["status"] != "won")

    def _check_charge(
        self, card: TestCard, fields: Mapping[str, Any], source: Mapping[str, Any], reply: Reply
    ) -> None:
        """Take in a charge that was just made, and check that it is the one that was asked for."""
        book, laws = self._notebook, self._notebook.laws
        id = subject_of(reply)
        if reply.said is Said.DECLINED:
            value = book.show("charges", id)
            value.pop("refunds")
            codes = {value["failure_code"], reply.value["error"]["details"]["decline_code"]}
            right = codes == {card.decline_code or value["failure_code"]}
            laws.hold(Law.WHAT_IS_VALID_IS_TAKEN, right, f"a {card.name} card was declined with {codes}")
        else:
            value = reply.value
        new = id not in book.seen
        laws.hold(Law.A_KEY_HAS_ONE_ANSWER, new, f"another request was answered with {book.name(id)}")
        book.see(value)
        status = {Said.CREATED: "succeeded", Said.ACCEPTED: "processing", Said.DECLINED: "failed"}[reply.said]
        fresh = (value["status"], value["amount_refunded"], value["refunded"], value["livemode"])
        laws.hold(
            Law.WHAT_WAS_SENT_COMES_BACK, fresh == (status, 0, False, False), f"a new charge is {fresh}"
        )
        shown, number = value["source"], card.number
        its = (shown["last4"], shown["exp_month"], shown["exp_year"])
        same = its == (number[-4:], source["exp_month"], source["exp_year"])
        laws.hold(Law.WHAT_WAS_SENT_COMES_BACK, same, f"a {card.name} card is shown as {its}")
        self._check_echo(fields, value)
        self.look(id)

    def _check_echo(self, sent: Mapping[str, Any], value: Value) -> None:
        for field in ECHOED:
            if sent.get(field) is None or field not in value:
                continue
            wanted, got = sent[field], value[field]
            if field == "billing_address":
                got = {name: got[name] for name in wanted}
            # 1, 1.0 and True are equal, and not the same.
            same = wanted == got and repr(flat(wanted)) == repr(flat(got))
            self._notebook.laws.hold(
                Law.WHAT_WAS_SENT_COMES_BACK, same, f"{field} was {wanted!r}, and is {got!r}"
            )


def standing(refunds: Sequence[Value]) -> int:
    """Add up refunds that have not failed, in cents."""
    return sum(each["amount"] for each in refunds if each["status"] != "failed")


def returned(refunds: Sequence[Value]) -> int:
    """Add up refunds that have succeeded, in cents."""
    return sum(each["amount"] for each in refunds if each["status"] == "succeeded")


def why(reply: Reply) -> str:
    """Return the most that a refund might be where that is what is wrong, else the code of the refusal."""
    if reply.said is not Said.REFUSED:
        return reply.said
    (said, *_), *_ = reply.value["error"]["details"]["fieldErrors"].values()
    return said if said.startswith("max ") else code_of(reply)


def flat(value: Any) -> list[tuple[str, Any]]:
    """Write an object as a list in the order of its names, and anything else as a list of itself."""
    return sorted(cast(Value, value).items()) if isinstance(value, dict) else [("", value)]
