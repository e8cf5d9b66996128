"""Stores that break the contract, each in one way, and one that keeps it."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import msgspec

from kpay_adapters.memory import MemoryStore, encode
from kpay_core.commit import Conflict, Record, Rejected, is_guarded
from kpay_core.domain.text import is_plain
from kpay_core.query import OPERATORS, Query


class Honest(MemoryStore):
    pass


class WritesOneAfterTheOther(MemoryStore):
    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        for record in records:
            await super().commit(record, held=held)


class StopsInTheMiddle(MemoryStore):
    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        before = {kind: dict(kept) for kind, kept in self._kept.items()}
        await super().commit(*records, held=held)
        after, self._kept = self._kept, before
        for kind, kept in after.items():
            await asyncio.sleep(0)
            self._kept.setdefault(kind, {}).update(kept)


class LetsTheLastOneWin(MemoryStore):
    def _version_of(self, record: Any) -> int:
        return record.version - 1


class LeavesVersionsOut(MemoryStore):
    def _version_of(self, record: Any) -> int:
        return max(super()._version_of(record), record.version - 1)


class HoldsNothing(MemoryStore):
    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        await super().commit(*records)


class HoldsWhateverIsThere(MemoryStore):
    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        there = [await self.get(type(record), record.id) or record for record in held]
        await super().commit(*records, held=there)


class WritesWhatItHolds(MemoryStore):
    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        await super().commit(*records, held=held)
        for record in held:
            before = msgspec.structs.replace(record, version=record.version + 1)  # type: ignore[call-arg]
            await super().commit(before)


class AppendsOver(MemoryStore):
    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        for record in records:
            if not is_guarded(type(record)):
                self._kept.get(type(record), {}).pop(record.id, None)
        await super().commit(*records, held=held)


class RejectsFirst(MemoryStore):
    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        for record in records:
            if not is_guarded(type(record)) and self._kept_of(record):
                raise Rejected
        await super().commit(*records, held=held)


class TellsWhatItRejects(MemoryStore):
    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        try:
            await super().commit(*records, held=held)
        except Rejected:
            raise Rejected(f"{records}") from None


class NamesNobody(MemoryStore):
    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        try:
            await super().commit(*records, held=held)
        except Conflict:
            raise Conflict(Record, "") from None


class TakesAnything(MemoryStore):
    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        once = {(type(record), record.id): record for record in records}
        await super().commit(
            *once.values(), held=[each for each in held if is_guarded(type(each))] if once else ()
        )


class SharesItsCopies(MemoryStore):
    async def get(self, kind: Any, id: str) -> Any:
        kept = self._kept.get(kind, {}).get(id)
        return kept and kept.record


class KeepsFloatsAsIntegers(MemoryStore):
    async def get(self, kind: Any, id: str) -> Any:
        kept = self._kept.get(kind, {}).get(id)
        whole = kept and json.loads(encode(kept.record), parse_float=lambda text: round(float(text)))
        return kept and msgspec.convert(whole, kind)


class IsLate(MemoryStore):
    async def commit(self, *records: Record, held: Sequence[Record] = ()) -> None:
        before = {kind: dict(kept) for kind, kept in self._kept.items()}
        await super().commit(*records, held=held)
        after, self._kept = self._kept, before
        asyncio.get_running_loop().call_later(0.01, setattr, self, "_kept", after)


class AsksForBytes(MemoryStore):
    async def get(self, kind: Any, id: str) -> Any:
        return await super().get(kind, id.encode().decode())


class ReadsBitByBit(MemoryStore):
    async def find(self, query: Query[Any]) -> Any:
        found: list[Any] = []
        for id in sorted(self._kept.get(query.kind, {})):
            await asyncio.sleep(0)
            found += await super().find(msgspec.structs.replace(query, where=(*query.where, ("id", "=", id))))
        key = self._sort(query)
        return sorted(found, key=key, reverse=query.descending)[: query.limit]

    def _sort(self, query: Query[Any]) -> Any:
        def key(record: Any) -> Any:
            value = getattr(record, query.order)
            return value is None, 0 if value is None else value, record.id

        return key


class FindsAnyhow(MemoryStore):
    """Finds as its methods say, which are right here and wrong in those that are made of it."""

    def is_text(self, wanted: Any) -> bool:
        return not isinstance(wanted, str) or is_plain(wanted)

    def meets(self, found: Any, sign: str, wanted: Any) -> bool:
        return found is not None and self.is_text(wanted) and OPERATORS[sign](found, wanted)

    def place(self, value: Any, id: str) -> Any:
        return value is None, 0 if value is None else value, id

    def cut(self, found: list[Any], limit: int) -> list[Any]:
        return found[:limit]

    async def find(self, query: Query[Any]) -> Any:
        every = await super().find(Query(kind=query.kind, limit=10_000))
        plain = [
            record
            for record in every
            if all(self.meets(getattr(record, field), sign, wanted) for field, sign, wanted in query.where)
        ]
        plain.sort(key=lambda each: self.place(getattr(each, query.order), each.id), reverse=query.descending)
        return self.cut(plain, query.limit)


class NullIsNothing(FindsAnyhow):
    def meets(self, found: Any, sign: str, wanted: Any) -> bool:
        return super().meets("" if found is None and isinstance(wanted, str) else found, sign, wanted)


class NullIsUnequal(FindsAnyhow):
    def meets(self, found: Any, sign: str, wanted: Any) -> bool:
        return (found is None and sign in ("<", "<=")) or super().meets(found, sign, wanted)


class NoneIsAll(FindsAnyhow):
    def meets(self, found: Any, sign: str, wanted: Any) -> bool:
        return wanted == () or super().meets(found, sign, wanted)


class AnythingIsText(FindsAnyhow):
    def is_text(self, wanted: Any) -> bool:
        return True


class NullComesFirst(FindsAnyhow):
    def place(self, value: Any, id: str) -> Any:
        return value is not None, 0 if value is None else value, id


class LeavesTiesOpen(FindsAnyhow):
    def place(self, value: Any, id: str) -> Any:
        return value is None, 0 if value is None else value


class ReadsAsPeopleDo(FindsAnyhow):
    def place(self, value: Any, id: str) -> Any:
        return value is None, 0 if value is None else value.lower() if isinstance(value, str) else value, id


class ComparesTimesAsText(FindsAnyhow):
    def meets(self, found: Any, sign: str, wanted: Any) -> bool:
        if hasattr(wanted, "isoformat") and found is not None:
            found, wanted = found.isoformat(), wanted.isoformat()
        return super().meets(found, sign, wanted)


class FindsTooMany(FindsAnyhow):
    def cut(self, found: list[Any], limit: int) -> list[Any]:
        return found[: limit + 1]


class ForgetsAtTheEnd(MemoryStore):
    """One that says that it lasts."""


# Each with the test that finds it.
BROKEN: dict[type[MemoryStore], str] = {
    WritesOneAfterTheOther: "a_conflict_leaves_nothing_of_the_unit",
    StopsInTheMiddle: "a_caller_who_is_cancelled_has_committed_all_or_nothing",
    LetsTheLastOneWin: "version_1_must_not_exist_yet",
    LeavesVersionsOut: "version_n_replaces_exactly_version_n_minus_1",
    HoldsNothing: "a_held_record_must_exist",
    HoldsWhateverIsThere: "a_held_record_must_be_exactly_at_its_version",
    WritesWhatItHolds: "a_held_record_is_not_written",
    AppendsOver: "an_appended_id_that_exists_is_rejected",
    RejectsFirst: "a_held_record_that_moved_conflicts_before_an_appended_one_is_rejected",
    TellsWhatItRejects: "an_appended_id_that_exists_is_rejected",
    NamesNobody: "version_1_must_not_exist_yet",
    TakesAnything: "the_same_record_twice_in_a_unit_is_a_bug_of_the_caller",
    SharesItsCopies: "no_dict_of_a_caller_reaches_into_the_store",
    KeepsFloatsAsIntegers: "metadata_keeps_the_types_and_values_of_its_numbers",
    IsLate: "a_read_sees_every_commit_that_had_returned",
    AsksForBytes: "any_text_is_a_valid_question",
    ReadsBitByBit: "what_is_found_is_all_from_one_moment",
    NullIsNothing: "null_meets_no_condition",
    NullIsUnequal: "null_meets_no_condition",
    NoneIsAll: "a_record_is_found_when_it_meets_the_condition",
    AnythingIsText: "what_is_no_text_is_neither_before_nor_after_anything",
    NullComesFirst: "null_sorts_after_everything",
    LeavesTiesOpen: "records_are_sorted_by_the_order_and_then_by_id",
    ReadsAsPeopleDo: "text_compares_by_code_point",
    ComparesTimesAsText: "a_record_is_found_when_it_meets_the_condition",
    FindsTooMany: "no_more_are_found_than_asked_for",
    ForgetsAtTheEnd: "what_was_committed_is_there_for_whoever_opens_the_store_again",
}


def reopen(kind: type[MemoryStore], store: MemoryStore) -> Any:
    """Open the same store again."""
    return nullcontext(kind() if kind is ForgetsAtTheEnd else store)
