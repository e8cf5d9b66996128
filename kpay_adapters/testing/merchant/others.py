"""Whoever else asks: another merchant, the other mode. To them an object is one that never was."""

from kpay_adapters.testing.merchant.laws import Law
from kpay_adapters.testing.merchant.notebook import LISTS, Notebook, Value
from kpay_adapters.testing.targets import Ask, Reply, Said


def check_others(book: Notebook, value: Value) -> None:
    """Check that nobody else finds an object: by its id, in a list, as a cursor, or to be refunded."""
    kind, id = LISTS[value["object"]], value["id"]
    never = [book.ask(Ask(verb="show", kind=kind, id=unknown)) for unknown in unknown_ids(id)]
    theirs = [
        book.ask(Ask(verb="show", kind=kind, id=id, as_other=other)) for other in range(book.target.others)
    ]
    if value["object"] == "charge":
        for other in range(book.target.others):
            body = {"charge": id}
            theirs.append(book.ask(Ask(verb="create", kind="refunds", body=body, as_other=other)))
    same = {(each.said, each.text) for each in (*never, *theirs)} == {(Said.NOT_FOUND, never[0].text)}
    book.laws.hold(
        Law.OTHERS_SEE_NOTHING, same, f"{book.name(id)} was {[each.said for each in (*never, *theirs)]}"
    )
    for other in range(book.target.others):
        page = book.ask(Ask(verb="list", kind=kind, as_other=other))
        mixed = page.said is not Said.SHOWN or id in page.text
        book.laws.hold(Law.OTHERS_SEE_NOTHING, not mixed, f"{book.name(id)} is in another's list of {kind}")
        after = book.ask(Ask(verb="list", kind=kind, params={"starting_after": id}, as_other=other))
        book.laws.hold(
            Law.OTHERS_SEE_NOTHING, is_unknown_cursor(after), f"{book.name(id)} is a cursor in another's list"
        )


def unknown_ids(id: str) -> tuple[str, ...]:
    """Return ids of nothing: one like a real one, and some that none can be."""
    return (id[:-12] + "000000000000", "unknown", f"{id}0", "%00", "é" * 40)


def is_unknown_cursor(reply: Reply) -> bool:
    if reply.said is not Said.REFUSED:
        return False
    return list(reply.value["error"]["details"]["fieldErrors"]) == ["starting_after"]
