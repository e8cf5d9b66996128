"""
A store beside the one in memory: whatever is committed and asked, both do the same and say the same.

    class Mine(StoreMachine):
        def open_store(self):
            return nullcontext(MyStore())

    TestMine = Mine.TestCase
"""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta, timezone
from typing import Any, NamedTuple, TypeVar, cast

from kpay_adapters.testing.extras import NotInstalled

try:
    from hypothesis import strategies as st
except ImportError as missing:
    raise NotInstalled("hypothesis") from missing

import msgspec
from hypothesis.stateful import RuleBasedStateMachine, rule

from kpay_adapters.memory import MemoryStore
from kpay_adapters.testing import records, strategies
from kpay_adapters.testing.records import NOW, Note
from kpay_core.commit import CommitFailed, Conflict, Record, is_guarded
from kpay_core.domain import charges
from kpay_core.domain.charges import Charge
from kpay_core.domain.merchants import Merchant
from kpay_core.ports import Store
from kpay_core.query import Condition, Query

T = TypeVar("T")

KINDS: Sequence[type[Record]] = (Merchant, Charge, Note)

# So few ids that units meet, and texts among which there are equals and neighbours.
NUMBERS = st.integers(0, 4)
TEXTS = st.sampled_from(["", "a", "A", "b", "é", "😀", "0", "null"]) | strategies.texts(most=20)
TIMES = st.sampled_from([NOW, NOW + timedelta(milliseconds=1), NOW - timedelta(days=400)])
# Times are compared by instant, wherever they are told.
ASKED_TIMES = TIMES | TIMES.map(lambda time: time.astimezone(timezone(timedelta(hours=-7))))

# What is kept of each kind, in forms that the schema of a database admits as well.
FIELDS: dict[type[Record], st.SearchStrategy[dict[str, Any]]] = {
    Merchant: st.fixed_dictionaries({"name": strategies.texts(1, 20)}),
    Charge: st.fixed_dictionaries(
        {
            "amount": st.sampled_from([50, 51, 4999, 10_000_000]),
            "description": st.none() | TEXTS,
            "metadata": strategies.metadata(),
            "livemode": st.booleans(),
            "created_at": TIMES,
        }
    )
    | st.fixed_dictionaries({"status": st.just(charges.Status.SUCCEEDED), "look_at": st.none()}),
    Note: st.fixed_dictionaries({"text": TEXTS}),
}

# What is there from the start, so that a question has an answer: nulls, equals, and neighbours.
FIRST: Sequence[dict[str, Any]] = (
    {"description": None, "status": charges.Status.SUCCEEDED, "look_at": None},
    {"description": "b", "amount": 51},
    {"description": "A", "created_at": NOW + timedelta(milliseconds=1)},
    {"description": "b", "livemode": True},
)

# What may be asked of each kind, by field.
ASKED: dict[type[Record], dict[str, st.SearchStrategy[Any]]] = {
    Merchant: {"name": TEXTS, "version": st.integers(0, 4), "created_at": ASKED_TIMES},
    Charge: {
        "amount": st.sampled_from([50, 51, 4999]),
        "description": TEXTS,
        "livemode": st.booleans(),
        "status": st.sampled_from(["processing", "succeeded", "failed"]),
        "created_at": ASKED_TIMES,
        "look_at": ASKED_TIMES,
    },
    Note: {"text": TEXTS},
}
ORDERED = ("=", "<", "<=", ">", ">=")


class Write(NamedTuple):
    """A record to be written, so many versions after the one that is there: 1 is right."""

    kind: type[Record]
    number: int
    ahead: int
    fields: dict[str, Any]


class Hold(NamedTuple):
    """A record to be held, so many versions away from the one that is there: 0 is right."""

    kind: type[Record]
    number: int
    away: int


@st.composite
def writes(draw: st.DrawFn) -> Write:
    kind = draw(st.sampled_from(KINDS))
    return Write(kind, draw(NUMBERS), draw(st.sampled_from([1, 1, 1, 1, 1, 0, 2])), draw(FIELDS[kind]))


def holds() -> st.SearchStrategy[Hold]:
    return st.builds(
        Hold, st.sampled_from([Merchant, Charge]), NUMBERS, st.sampled_from([0, 0, 0, 0, 0, -1, 1])
    )


@st.composite
def conditions(draw: st.DrawFn, kind: type[Record]) -> Condition:
    field = draw(st.sampled_from(sorted(ASKED[kind])))
    values = ASKED[kind][field]
    if field in ("name", "description", "text", "status") and draw(st.booleans()):
        return field, "in", tuple(draw(st.lists(values, max_size=3)))
    signs = ("=",) if field == "livemode" else ORDERED
    return cast(Condition, (field, draw(st.sampled_from(signs)), draw(values)))


@st.composite
def queries(draw: st.DrawFn) -> Query[Any]:
    """Questions about everything of a kind that a machine has written."""
    # Most often of the kind that has all there is: nulls, numbers, times and flags.
    kind = draw(st.sampled_from([Charge, Charge, *KINDS]))
    return Query(
        kind=kind,
        where=tuple(draw(st.lists(conditions(kind), max_size=2))),
        order=draw(st.sampled_from(["id", *sorted(ASKED[kind])])),
        descending=draw(st.booleans()),
        limit=draw(st.sampled_from([1, 2, 3, 100])),
    )


class StoreMachine(RuleBasedStateMachine):
    """
    Subclass it, and say in `open_store` which store, by what opens it when it is entered.

    Everything runs in an event loop of the machine's own. Ids are new for each history, so a store may be shared.
    """

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._opened = self.open_store()
        self._theirs = self._run(self._opened.__aenter__())
        self._model = MemoryStore()
        self._prefix = records.new_id("run")
        self._home = records.a_merchant(id=f"{self._prefix}/home")
        first = [
            self._home,
            *(self._record(Charge, number, 1, fields) for number, fields in enumerate(FIRST)),
            *(self._record(Note, number, 1, {"text": text}) for number, text in enumerate(("b", "", "B"))),
        ]
        for store in (self._theirs, self._model):
            self._run(store.commit(*first))

    def open_store(self) -> AbstractAsyncContextManager[Store]:
        """Return what opens the store to hold against the one in memory."""
        raise NotImplementedError

    @rule(unit=st.lists(writes(), min_size=1, max_size=4), held=st.lists(holds(), max_size=2))
    def commits(self, unit: Sequence[Write], held: Sequence[Hold]) -> None:
        written = [self._record(each.kind, each.number, each.ahead, each.fields) for each in unit]
        rested_on = [self._record(each.kind, each.number, each.away, {}) for each in held]
        moved = {
            (type(record), record.id)
            for record, behind in (*((each, 1) for each in written), *((each, 0) for each in rested_on))
            if is_guarded(type(record)) and version(record) - behind != self._version(type(record), record.id)
        }
        ours = self._run(outcome(self._model.commit(*written, held=rested_on)))
        theirs = self._run(outcome(self._theirs.commit(*written, held=rested_on)))
        assert type(theirs) is type(ours), f"{theirs!r}, should be {ours!r}"
        if isinstance(theirs, Conflict):
            # Of several that have moved any may be named.
            assert (theirs.kind, theirs.id) in moved, f"{theirs}: it has not"
        for record in (*written, *rested_on):
            self._compare(type(record), record.id)

    @rule(kind=st.sampled_from(KINDS), number=NUMBERS | st.just(99))
    def gets(self, kind: type[Record], number: int) -> None:
        self._compare(kind, self._id(number))

    @rule(query=queries())
    def finds(self, query: Query[Any]) -> None:
        within: tuple[Condition, ...] = (("id", ">=", f"{self._prefix}/"), ("id", "<", f"{self._prefix}0"))
        query = msgspec.structs.replace(query, where=(*within, *query.where))
        ours = list(self._run(self._model.find(query)))
        theirs = list(self._run(self._theirs.find(query)))
        assert theirs == ours, f"found {theirs}, should be {ours}"

    def teardown(self) -> None:
        with self._runner:
            self._run(self._opened.__aexit__(None, None, None))

    def _compare(self, kind: type[Record], id: str) -> None:
        ours, theirs = self._run(self._model.get(kind, id)), self._run(self._theirs.get(kind, id))
        # 1, 1.0 and True are equal, and not the same.
        assert (theirs, repr(theirs)) == (ours, repr(ours)), f"got {theirs}, should be {ours}"

    def _record(self, kind: type[Record], number: int, ahead: int, fields: dict[str, Any]) -> Record:
        """Make a record, so many versions after the one that is there."""
        id = self._id(number)
        if kind is Note:
            return Note(id=id, **fields)
        fields = {**fields, "id": id, "version": max(self._version(kind, id) + ahead, 1)}
        return records.a_merchant(**fields) if kind is Merchant else records.a_charge(self._home, **fields)

    def _version(self, kind: type[Record], id: str) -> int:
        kept = self._run(self._model.get(kind, id))
        return 0 if kept is None else version(kept)

    def _id(self, number: int) -> str:
        return f"{self._prefix}/{number}"

    def _run(self, work: Awaitable[T]) -> T:
        return self._runner.get_loop().run_until_complete(work)


def version(record: Any) -> int:
    return record.version


async def outcome(commit: Awaitable[None]) -> Exception | None:
    """Return how a commit ends: None where it is done."""
    try:
        await commit
    except (CommitFailed, ValueError) as failure:
        return failure
    return None
