"""The contract of the Store port: one suite, every store. Each sentence of its docstring has a test."""

import asyncio
import math
from datetime import timedelta, timezone
from typing import Any

import pytest

from kpay_core.commit import Conflict, Record, Rejected, bump
from kpay_core.domain import charges, merchants
from kpay_core.domain.charges import Charge
from kpay_core.domain.merchants import Merchant
from kpay_core.ports import Store
from kpay_core.query import Condition, Query
from tests.contract.records import (
    NOW,
    SECOND,
    Note,
    a_charge,
    a_key,
    a_merchant,
    a_refund,
    an_api_key,
    answered,
    new_id,
    succeeded,
)

pytestmark = pytest.mark.anyio

HOSTILE = [
    "",
    " ",
    "\0",
    "a\0b",
    "\ud800",
    "\udfff\ud800",
    "'; DROP TABLE charges; --",
    "%",
    "$1",
    "?",
    "😀",
    "x" * 100_000,
]


async def charges_of(store: Store, merchant: Merchant, *where: Condition, **options: Any) -> list[Charge]:
    options = {"limit": 100, **options}
    return list(
        await store.find(Query(kind=Charge, where=(("merchant", "=", merchant.id), *where), **options))
    )


# get


async def test_what_was_committed_comes_back_equal(store: Store) -> None:
    merchant = a_merchant(name="Zoë \"the\" \\ 'Ж' 😀\x01\x7f\u2028")
    charge = a_charge(merchant, description=None)
    records: list[Record] = [
        merchant,
        an_api_key(merchant, livemode=True, expires_at=NOW),
        charge,
        a_refund(charge, notes=""),
        a_key(charge),
        Note(id=new_id("note"), text="null"),
    ]

    await store.commit(*records)

    for record in records:
        assert await store.get(type(record), record.id) == record


async def test_metadata_keeps_the_types_and_values_of_its_numbers(store: Store) -> None:
    metadata = {
        "float": 1e22,
        "whole float": 1.0,
        "negative zero": -0.0,
        "least": 5e-324,
        "most": 1.7976931348623157e308,
        "big": 123456789012345678901234567890,
        "flag": True,
        "one": 1,
        "text": "1",
        "": "empty",
    }
    merchant = a_merchant()
    charge = a_charge(merchant, metadata=metadata)

    await store.commit(merchant, charge)

    found = await store.get(Charge, charge.id)
    assert found is not None
    assert found.metadata == metadata
    assert [type(value) for value in found.metadata.values()] == [type(value) for value in metadata.values()]
    assert math.copysign(1, found.metadata["negative zero"]) == -1


async def test_what_was_never_committed_is_none(store: Store) -> None:
    assert await store.get(Merchant, new_id("mer")) is None


async def test_the_newest_version_is_returned(store: Store) -> None:
    first = a_merchant()
    await store.commit(first)
    second = bump(first, name="Acme, Inc.")
    await store.commit(second)

    assert await store.get(Merchant, first.id) == second


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_any_text_is_a_valid_question(store: Store, text: str) -> None:
    await store.commit(a_merchant())

    assert await store.get(Merchant, text) is None
    assert await store.find(Query(kind=Merchant, where=(("id", "=", text),), limit=10)) == []
    assert await store.find(Query(kind=Merchant, where=(("id", "in", (text, text)),), limit=10)) == []


async def test_what_is_no_text_is_neither_before_nor_after_anything(store: Store) -> None:
    merchant = a_merchant()
    await store.commit(merchant)

    for sign in ("<", "<=", ">", ">="):
        for text in ("\0", "a\0", "\ud800"):
            assert await store.find(Query(kind=Merchant, where=(("id", sign, text),), limit=10)) == []
    among = Query(kind=Merchant, where=(("id", "in", ("\0", merchant.id, "\ud800")),), limit=10)
    assert await store.find(among) == [merchant]


async def test_kinds_do_not_share_ids(store: Store) -> None:
    merchant = a_merchant()
    await store.commit(merchant, a_charge(merchant, id=merchant.id))

    assert await store.get(Merchant, merchant.id) == merchant


async def test_no_dict_of_a_caller_reaches_into_the_store(store: Store) -> None:
    merchant = a_merchant()
    metadata = {"order": "1"}
    charge = a_charge(merchant, metadata=metadata)
    await store.commit(merchant, charge)

    metadata["order"] = "2"
    one, other = await asyncio.gather(store.get(Charge, charge.id), store.get(Charge, charge.id))
    assert one is not None
    one.metadata["order"] = "3"
    (found,) = await charges_of(store, merchant)
    found.metadata["order"] = "4"

    assert other is not None
    assert other.metadata == {"order": "1"}
    assert await store.get(Charge, charge.id) == other
    assert await charges_of(store, merchant) == [other]


async def test_a_read_sees_every_commit_that_had_returned(store: Store) -> None:
    merchant = a_merchant()

    async def write_and_read() -> None:
        charge = a_charge(merchant)
        await store.commit(charge)
        assert await store.get(Charge, charge.id) == charge
        assert charge in await charges_of(store, merchant)

    await store.commit(merchant)
    await asyncio.gather(*(write_and_read() for _ in range(20)))


async def test_many_look_ups_at_once_get_their_own_answers(store: Store) -> None:
    merchant = a_merchant()
    many = [a_charge(merchant, amount=1000 + i) for i in range(300)]
    await store.commit(merchant, *many)

    found = await asyncio.gather(
        *(store.get(Charge, charge.id) for charge in many), store.get(Charge, new_id("ch"))
    )

    assert found == [*many, None]


# find


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (("amount", "=", 200), [200]),
        (("amount", "<", 200), [100]),
        (("amount", "<=", 200), [100, 200]),
        (("amount", ">", 200), [300]),
        (("amount", ">=", 200), [200, 300]),
        (("livemode", "=", True), [300]),
        (("livemode", "=", False), [100, 200]),
        (("description", "=", "b"), [200]),
        (("description", ">", "a"), [200]),
        (("status", "=", charges.Status.PROCESSING), [100, 300]),
        (("status", "in", ("succeeded", "failed")), [200]),
        (("status", "in", ()), []),
        (("created_at", "=", NOW + SECOND), [200]),
        (("created_at", "<", NOW + SECOND), [100]),
        (("created_at", ">=", NOW + SECOND), [200, 300]),
        (("created_at", "<=", (NOW + SECOND).astimezone(timezone(timedelta(hours=-7)))), [100, 200]),
    ],
    ids=str,
)
async def test_a_record_is_found_when_it_meets_the_condition(
    store: Store, condition: Condition, expected: list[int]
) -> None:
    merchant = a_merchant()
    done = {"status": charges.Status.SUCCEEDED, "look_at": None}
    await store.commit(
        merchant,
        a_charge(merchant, amount=100, description="a"),
        a_charge(merchant, amount=200, description="b", created_at=NOW + SECOND, **done),
        a_charge(merchant, amount=300, description=None, created_at=NOW + 2 * SECOND, livemode=True),
    )

    assert [charge.amount for charge in await charges_of(store, merchant, condition)] == expected


async def test_a_record_is_found_when_it_meets_all_conditions(store: Store) -> None:
    merchant = a_merchant()
    await store.commit(merchant, *(a_charge(merchant, amount=amount) for amount in (100, 200, 300)))

    found = await charges_of(store, merchant, ("amount", ">", 100), ("amount", "<", 300))

    assert [charge.amount for charge in found] == [200]


@pytest.mark.parametrize("sign", ["=", "<", "<=", ">", ">="])
async def test_null_meets_no_condition(store: Store, sign: Any) -> None:
    merchant = a_merchant()
    await store.commit(merchant, succeeded(a_charge(merchant, version=0)))

    assert await charges_of(store, merchant, ("look_at", sign, NOW)) == []
    assert await charges_of(store, merchant, ("failure_code", sign, "")) == []


@pytest.mark.parametrize("descending", [False, True])
async def test_records_are_sorted_by_the_order_and_then_by_id(store: Store, descending: bool) -> None:
    merchant = a_merchant()
    many = [a_charge(merchant, amount=amount) for amount in (300, 100, 200, 100, 300)]
    await store.commit(merchant, *reversed(many))

    found = await charges_of(store, merchant, order="amount", descending=descending)

    assert found == sorted(many, key=lambda charge: (charge.amount, charge.id), reverse=descending)


@pytest.mark.parametrize("descending", [False, True])
async def test_null_sorts_after_everything(store: Store, descending: bool) -> None:
    merchant = a_merchant()
    early, late = a_charge(merchant, look_at=NOW), a_charge(merchant, look_at=NOW + SECOND)
    done = [succeeded(a_charge(merchant, version=0)) for _ in range(2)]
    await store.commit(merchant, *done, late, early)

    found = await charges_of(store, merchant, order="look_at", descending=descending)

    expected = [early, late, *done]
    assert found == (expected[::-1] if descending else expected)


async def test_text_compares_by_code_point(store: Store) -> None:
    merchant = a_merchant()
    stem = new_id("ch")
    texts = [
        stem + end for end in ("", " ", "-", "-a", "0", "A", "Z", "_", "a", "ab", "z", "é", "\uffff", "😀")
    ]
    assert texts == sorted(texts)
    await store.commit(merchant, *(a_charge(merchant, id=text) for text in reversed(texts)))

    assert [charge.id for charge in await charges_of(store, merchant)] == texts
    for i, text in enumerate(texts):
        assert [charge.id for charge in await charges_of(store, merchant, ("id", "<", text))] == texts[:i]


async def test_no_more_are_found_than_asked_for(store: Store) -> None:
    merchant = a_merchant()
    many = [a_charge(merchant) for _ in range(5)]
    await store.commit(merchant, *many)

    assert await charges_of(store, merchant, limit=2) == many[:2]
    assert await charges_of(store, merchant, limit=2, descending=True) == many[:2:-1]


async def test_what_is_found_is_all_from_one_moment(store: Store) -> None:
    merchant = a_merchant()
    pair = [a_charge(merchant, amount=amount) for amount in (1000, 2000)]
    await store.commit(merchant, *pair)

    async def move_money() -> None:
        nonlocal pair
        for _ in range(30):
            pair = [
                bump(pair[0], amount=pair[0].amount + 10, looks=pair[0].looks + 1),
                bump(pair[1], amount=pair[1].amount - 10, looks=pair[1].looks + 1),
            ]
            await store.commit(*pair)

    moving = asyncio.create_task(move_money())
    while not moving.done():
        found = await charges_of(store, merchant)
        assert sum(charge.amount for charge in found) == 3000
        await asyncio.sleep(0)
    await moving


# commit


async def test_version_1_must_not_exist_yet(store: Store) -> None:
    merchant = a_merchant()
    await store.commit(merchant)

    with pytest.raises(Conflict) as conflict:
        await store.commit(a_merchant(id=merchant.id, name="Other"))

    assert (conflict.value.kind, conflict.value.id) == (Merchant, merchant.id)
    assert await store.get(Merchant, merchant.id) == merchant


async def test_version_n_replaces_exactly_version_n_minus_1(store: Store) -> None:
    first = a_merchant()
    second = bump(first, name="Second")
    third = bump(second, name="Third")

    with pytest.raises(Conflict):
        await store.commit(second)
    await store.commit(first)
    with pytest.raises(Conflict):
        await store.commit(third)
    await store.commit(second)
    with pytest.raises(Conflict):
        await store.commit(bump(first, name="Late"))
    await store.commit(third)

    assert await store.get(Merchant, first.id) == third


async def test_a_conflict_leaves_nothing_of_the_unit(store: Store) -> None:
    merchant, stale = a_merchant(), a_merchant()
    await store.commit(stale)

    with pytest.raises(Conflict):
        await store.commit(merchant, Note(id=merchant.id, text="x"), stale)

    assert await store.get(Merchant, merchant.id) is None
    assert await store.get(Note, merchant.id) is None


async def test_of_many_who_bump_one_record_one_wins(store: Store) -> None:
    merchant = a_merchant()
    await store.commit(merchant)

    results = await asyncio.gather(
        *(store.commit(bump(merchant, name=f"Winner {i}")) for i in range(50)), return_exceptions=True
    )

    assert [result for result in results if not isinstance(result, Conflict)] == [None]
    assert await store.get(Merchant, merchant.id) == bump(merchant, name=f"Winner {results.index(None)}")


async def test_a_record_without_a_version_is_appended(store: Store) -> None:
    notes = [Note(id=new_id("note"), text=str(i)) for i in range(3)]
    await store.commit(*notes)

    found = await store.find(Query(kind=Note, where=(("id", ">=", notes[0].id),), limit=3))
    assert found == notes


async def test_an_appended_id_that_exists_is_rejected(store: Store) -> None:
    note = Note(id=new_id("note"), text="a secret")
    merchant = a_merchant()
    await store.commit(note)

    with pytest.raises(Rejected) as rejection:
        await store.commit(merchant, Note(id=note.id, text="another secret"))

    assert "secret" not in str(rejection.value)
    assert note.id not in str(rejection.value)
    assert await store.get(Merchant, merchant.id) is None
    assert await store.get(Note, note.id) == note


async def test_the_same_record_twice_in_a_unit_is_a_bug_of_the_caller(store: Store) -> None:
    merchant = a_merchant()
    note = Note(id=new_id("note"), text="")

    with pytest.raises(ValueError, match="twice"):
        await store.commit(merchant, bump(merchant))
    with pytest.raises(ValueError, match="twice"):
        await store.commit(note, note)

    assert await store.get(Merchant, merchant.id) is None
    assert await store.get(Note, note.id) is None


async def test_a_held_record_is_not_written(store: Store) -> None:
    merchant = a_merchant()
    await store.commit(merchant)
    charge = a_charge(merchant)

    await store.commit(charge, held=[a_merchant(id=merchant.id, name="Never written")])
    await store.commit(succeeded(charge), held=[merchant])

    assert await store.get(Merchant, merchant.id) == merchant
    assert await store.get(Charge, charge.id) == succeeded(charge)


@pytest.mark.parametrize("lag", [-1, 1], ids=["moved on", "not there yet"])
async def test_a_held_record_must_be_exactly_at_its_version(store: Store, lag: int) -> None:
    first = a_merchant()
    second = bump(first)
    await store.commit(first)
    await store.commit(second)
    other = a_merchant()
    await store.commit(other)
    wrong = a_merchant(id=first.id, version=second.version + lag)
    note = Note(id=new_id("note"), text="x")
    charge = a_charge(first)

    with pytest.raises(Conflict) as conflict:
        await store.commit(note, charge, held=[other, wrong])

    assert (conflict.value.kind, conflict.value.id) == (Merchant, first.id)
    assert await store.get(Note, note.id) is None
    assert await store.get(Charge, charge.id) is None


async def test_a_held_record_must_exist(store: Store) -> None:
    merchant = a_merchant()
    note = Note(id=new_id("note"), text="x")

    with pytest.raises(Conflict) as conflict:
        await store.commit(note, held=[merchant])

    assert (conflict.value.kind, conflict.value.id) == (Merchant, merchant.id)
    assert await store.get(Note, note.id) is None


async def test_a_held_record_that_moved_conflicts_before_an_appended_one_is_rejected(store: Store) -> None:
    merchant = a_merchant()
    note = Note(id=new_id("note"), text="x")
    await store.commit(merchant)
    await store.commit(note, held=[merchant])

    with pytest.raises(Rejected):
        await store.commit(note, held=[merchant])
    await store.commit(bump(merchant))
    with pytest.raises(Conflict):
        await store.commit(note, held=[merchant])


async def test_any_number_of_units_hold_one_record_at_the_same_time(store: Store) -> None:
    merchant, other = a_merchant(), a_merchant()
    await store.commit(merchant, other)
    many = [a_charge(merchant) for _ in range(200)]

    await asyncio.gather(*(store.commit(charge, held=[merchant, other]) for charge in many))

    assert await charges_of(store, merchant, limit=300) == many


async def test_a_unit_that_writes_a_record_is_before_or_after_all_that_hold_it(store: Store) -> None:
    book = a_merchant()
    await store.commit(book)
    held_by: dict[int, list[str]] = {}
    left = 40

    async def hold() -> None:
        while left:
            await asyncio.sleep(0)
            found = await store.get(Merchant, book.id)
            assert found is not None
            charge = a_charge(book, amount=100 + found.version)
            try:
                await store.commit(charge, held=[found])
            except Conflict:
                continue
            held_by.setdefault(found.version, []).append(charge.id)

    async def move() -> None:
        nonlocal left, book
        for _ in range(40):
            await asyncio.sleep(0.001)
            older = book.version
            book = bump(book)
            await store.commit(book)
            # Those who held the older version may not know it yet, but nothing of theirs comes after this.
            counted[older] = len(await charges_of(store, book, ("amount", "=", 100 + older), limit=10_000))
            left -= 1

    counted: dict[int, int] = {}
    await asyncio.gather(move(), *(hold() for _ in range(8)))

    for version, count in counted.items():
        found = await charges_of(store, book, ("amount", "=", 100 + version), limit=10_000)
        assert len(found) == count
        assert {charge.id for charge in found} == set(held_by.get(version, []))
    assert sum(counted.values()) > 0


async def test_a_held_record_without_a_version_is_a_bug_of_the_caller(store: Store) -> None:
    merchant = a_merchant()
    note = Note(id=new_id("note"), text="")
    await store.commit(note)

    with pytest.raises(ValueError, match="without a version"):
        await store.commit(merchant, held=[note])

    assert await store.get(Merchant, merchant.id) is None


async def test_a_record_that_is_written_and_held_is_a_bug_of_the_caller(store: Store) -> None:
    merchant = a_merchant()
    await store.commit(merchant)

    with pytest.raises(ValueError, match="twice"):
        await store.commit(bump(merchant), held=[merchant])
    with pytest.raises(ValueError, match="twice"):
        await store.commit(a_merchant(), held=[merchant, merchant])

    assert await store.get(Merchant, merchant.id) == merchant


async def test_a_unit_that_holds_and_writes_nothing_is_a_bug_of_the_caller(store: Store) -> None:
    merchant = a_merchant()
    await store.commit(merchant)

    with pytest.raises(ValueError, match="writes none"):
        await store.commit(held=[merchant])


async def test_a_unit_that_had_taken_effect_conflicts_when_it_is_sent_again(store: Store) -> None:
    merchant = a_merchant()
    charge = a_charge(merchant)
    key = a_key(charge)
    opened = (merchant, charge, key, Note(id=new_id("note"), text="opened"))
    await store.commit(*opened)
    settled = (succeeded(charge), answered(key), Note(id=new_id("note"), text="settled"))
    await store.commit(*settled)

    for unit in (opened, settled):
        with pytest.raises(Conflict):
            await store.commit(*unit)


async def test_a_caller_who_is_cancelled_has_committed_all_or_nothing(store: Store) -> None:
    for steps in range(6):
        merchant = a_merchant()
        charge = a_charge(merchant)
        task = asyncio.create_task(store.commit(merchant, charge))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        # Whatever was on its way is done when a later commit is.
        await store.commit(a_merchant())

        found = [await store.get(Merchant, merchant.id), await store.get(Charge, charge.id)]
        assert found in ([merchant, charge], [None, None])


async def test_a_unit_of_nothing_is_done_at_once(store: Store) -> None:
    await store.commit()


async def test_a_state_moves_to_and_fro_as_its_versions_say(store: Store) -> None:
    merchant = a_merchant()
    await store.commit(merchant)
    approved = merchants.approve(merchant, now=NOW)
    await store.commit(approved)
    back = bump(approved, status=merchants.Status.APPLIED, approved_at=None)
    await store.commit(back)

    assert await store.get(Merchant, merchant.id) == back
