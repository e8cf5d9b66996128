"""Events: each change is told once, and what is told leads to what is."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from kpay_adapters.testing.merchant.laws import Law
from kpay_adapters.testing.merchant.notebook import LISTS, Notebook, Value
from kpay_adapters.testing.targets import Ask, Said

# So many events that were there before are known by name: one that was on its way may still come to stand among them.
KNOWN_BEFORE = 50
PAGE = 100


class Happened(msgspec.Struct, frozen=True):
    """An event, with what its object looked like before where it says so."""

    event: Value

    @property
    def type(self) -> str:
        return self.event["type"]

    @property
    def object(self) -> Value:
        return self.event["data"]["object"]

    @property
    def before(self) -> Value | None:
        was = self.event["data"].get("previous_attributes")
        return None if was is None else {**self.object, **was}


class Events:
    """The events of a merchant since the notebook was begun, whatever they are about."""

    def __init__(self, notebook: Notebook) -> None:
        self._notebook = notebook
        self._before = {event["id"] for event in self._page(KNOWN_BEFORE)["data"]}
        self._told: dict[str, Value] = {}

    def since(self) -> list[Happened]:
        """Return all that has happened, oldest first, and hold each event against how it was told before."""
        book, found = self._notebook, list[Value]()
        floor, cursor = min(self._before, default=""), ""
        while True:
            page = self._page(PAGE, cursor)
            data: list[Value] = page["data"]
            found += [event for event in data if event["id"] > floor and event["id"] not in self._before]
            if not page["has_more"] or data[-1]["id"] <= floor:
                break
            cursor = data[-1]["id"]
        told = {event["id"]: event for event in reversed(found)}
        same = all(told.get(id) == event for id, event in self._told.items())
        book.laws.hold(Law.EACH_CHANGE_IS_TOLD_ONCE, same, "an event is gone, or is not what it was")
        self._told = told
        return [Happened(event) for event in told.values()]

    def check(self) -> None:
        """Hold what was told of each of the merchant's own objects against what became of it."""
        looks = self._look()
        happened = self.since()
        still = self._look()
        about: dict[str, list[Happened]] = {}
        for each in happened:
            about.setdefault(each.object["id"], []).append(each)
        for id, value in looks.items():
            if still[id] != value:
                self._notebook.laws.pass_over("an object moved while its events were read")
                continue
            self._check_chain(value, about.get(id, []))
            if value["object"] == "charge":
                self._check_charge(value, about.get(id, []), happened)

    def check_one(self, which: int) -> None:
        """Read one event by its id: it is the bytes that the list has."""
        happened = self.since()
        if not happened:
            return
        id: str = happened[which % len(happened)].event["id"]
        book = self._notebook
        reply = book.ask(Ask(verb="show", kind="events", id=id))
        newer = book.ask(Ask(verb="list", kind="events", params={"limit": "1", "ending_before": id}))
        cursor = [("starting_after", each["id"]) for each in newer.value["data"]]
        listed = book.ask(Ask(verb="list", kind="events", params={"limit": "1", **dict(cursor)}))
        same = reply.said is Said.SHOWN and reply.text in listed.text
        book.laws.hold(
            Law.EACH_CHANGE_IS_TOLD_ONCE, same, "an event is not the same by its id and in the list"
        )

    def _look(self) -> dict[str, Value]:
        book = self._notebook
        found: dict[str, Value] = {}
        for object in ("charge", "refund", "dispute"):
            for each in book.own(object):
                value = book.show(LISTS[object], each["id"])
                value.pop("refunds", None)
                found[each["id"]] = book.see(value)
        return found

    def _check_chain(self, value: Value, its: Sequence[Happened]) -> None:
        """Check that each event of an object begins where the one before ended, and the last says how it is."""
        book, name = self._notebook, self._notebook.name(value["id"])
        told = [each for each in its if each.type != "charge.refunded"]
        types = [each.type for each in told]
        wanted = expected(value, len(told))
        book.laws.hold(
            Law.EACH_CHANGE_IS_TOLD_ONCE,
            types in wanted,
            f"{name} is {value['status']}, and was told of by {types}",
        )
        was: Value | None = None
        for each in told:
            book.laws.hold(
                Law.EACH_CHANGE_IS_TOLD_ONCE,
                each.before == was and each.object != was,
                f"{each.type} of {name} does not begin where the event before it ended",
            )
            was = each.object
        # A charge goes on to be refunded and disputed, of which other events tell.
        settled = was is None or value["object"] == "charge" or was == value
        book.laws.hold(Law.EACH_CHANGE_IS_TOLD_ONCE, settled, f"the last event of {name} is not how it is")

    def _check_charge(self, charge: Value, its: Sequence[Happened], happened: Sequence[Happened]) -> None:
        """Check that as many refunds of a charge are told of in its name as have ever succeeded."""
        paid = Counter[str](
            each.object["id"]
            for each in happened
            if each.object.get("charge") == charge["id"] and succeeds(each)
        )
        told = [each for each in its if each.type == "charge.refunded"]
        book = self._notebook
        book.laws.hold(
            Law.EACH_CHANGE_IS_TOLD_ONCE,
            len(told) == len(paid) == paid.total(),
            f"{len(paid)} refunds of {book.name(charge['id'])} went out, and {len(told)} events tell of it",
        )

    def _page(self, limit: int, cursor: str = "") -> dict[str, Any]:
        params = {"limit": str(limit), **({"starting_after": cursor} if cursor else {})}
        reply = self._notebook.ask(Ask(verb="list", kind="events", params=params))
        shown = reply.said is Said.SHOWN
        self._notebook.laws.hold(
            Law.LISTS_ARE_WHOLE, shown, f"the list of events was {reply.said}: {reply.text}"
        )
        return reply.value


def succeeds(each: Happened) -> bool:
    """Tell whether an event is that of a refund that goes out."""
    was = (each.before or {}).get("status")
    return each.object["object"] == "refund" and each.object["status"] == "succeeded" != was


def expected(value: Value, many: int) -> list[list[str]]:
    """Return the types of the events that an object as it is may have, where it has so many."""
    kind, status = value["object"], value["status"]
    match kind:
        case "charge":
            return [[] if status == "processing" else [f"charge.{status}"]]
        case "refund":
            # One that the network has said nothing of is pending, and not told of.
            told = ["refund.created", *["refund.updated"] * max(many - 1, 0)]
            return [[], told] if status == "pending" else [told]
        case _:
            closing = ["dispute.closed"] * (status in ("won", "lost"))
            return [["dispute.created", *["dispute.updated"] * max(many - 1 - len(closing), 0), *closing]]
