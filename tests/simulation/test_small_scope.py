"""
Small scenes in every interleaving there is: two requests, somebody who looks after what is unfinished, a process that
dies, an answer that comes too late. The laws hold after every commit of each, and once it has come to rest.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from kpay_adapters.sandbox import Entry
from kpay_adapters.simulation.merchants import Request
from kpay_adapters.testing import CHARGE, START
from kpay_core import Kpay
from kpay_core.commit import CommitFailed
from kpay_core.domain.charges import Charge
from kpay_core.domain.errors import Invalid, KpayError
from kpay_core.domain.idempotency import Answer
from kpay_core.domain.idempotency import Outcome as Told
from kpay_core.domain.processing import Outcome
from kpay_core.domain.refunds import Refund
from kpay_core.flows.charges import resolve_charge
from kpay_core.flows.refunds import resolve_refund
from kpay_core.query import Condition, Query
from tests.simulation.interleavings import Everything, Limits, Scene

# After these times more can be decided: the first look, the end of a lease, the end of the window for an outcome.
FIRST_LOOK, LEASE_IS_OVER, WINDOW_IS_OVER = 6_000, 61_000, 121_000

BODY = {**CHARGE, "amount": 100}

# Minutes each, on one core.
LONG = (pytest.mark.heavy, pytest.mark.timeout(3_600))


def pauses(*milliseconds: int, long: bool = False) -> Any:
    """Let time pass, at any moments, by so much and then by so much."""
    name = ", ".join(f"{each // 1000} s pass" for each in milliseconds) or "no time passes"
    return pytest.param(milliseconds, id=name, marks=LONG if long else ())


Figures = Callable[[str], None]


@pytest.fixture
def figures(record_property: Callable[[str, object], None], request: pytest.FixtureRequest) -> Figures:
    """Note figures that are printed at the end, also of tests that pass."""
    return lambda text: record_property("figures", f"{request.node.name}: {text}")


def go_through(
    prepare: Callable[[Scene], None], check: Callable[[Scene], None], limits: Limits, tell: Figures
) -> None:
    sums = Everything(prepare, check, limits).go()
    tell(f"interleavings: {sums.interleavings:,} (through {sums.states:,} states to {sums.ends:,} ends)")


def ask(scene: Scene, name: str, request: Request) -> None:
    """Send a request in a process of its own."""
    body, key = request.body, request.key
    if request.kind is Charge:
        scene.begin(
            name, lambda kpay: kpay.create_charge(scene.scope, body, idempotency_key=key), request=request
        )
    else:
        scene.begin(
            name, lambda kpay: kpay.create_refund(scene.scope, body, idempotency_key=key), request=request
        )


def a_request(scene: Scene, kind: type[Any], key: str | None, body: dict[str, Any]) -> Request:
    merchants = scene.world.merchants
    number = len(merchants.requests)
    named = {**body, "description" if kind is Charge else "notes": f"request {number}"}
    asked = Request(number=number, scope=scene.scope, key=key, kind=kind, body=named, asked_at=START)
    return merchants.ask(asked)


async def resolve(kpay: Kpay) -> None:
    """Look once at whatever is unfinished, as the sweeper does."""
    for kind, look in ((Charge, resolve_charge), (Refund, resolve_refund)):
        due: tuple[Condition, ...] = (("look_at", "<=", kpay.clock.now()),)
        for found in await kpay.store.find(Query(kind=kind, where=due, order="look_at", limit=5)):
            with suppress(CommitFailed, KpayError):
                await look(kpay, found.id)


def standing(scene: Scene, outcome: Outcome) -> list[Entry]:
    """Return what the network has done and not undone."""
    return [entry for entry in scene.world.noted("test", Entry) if entry.outcome is outcome]


def two_requests_with_one_key(scene: Scene) -> None:
    request = a_request(scene, Charge, "k", BODY)
    ask(scene, "one", request)
    ask(scene, "other", request)
    scene.begin("resolver", resolve)


def check_one_capture_and_one_answer(scene: Scene) -> None:
    """However it went: whoever asks once more is told what everybody was told, and one capture stands."""
    (request,) = scene.world.merchants.requests
    again = scene.world.do(
        "asked again", scene.world.healthy.create_charge(scene.scope, request.body, idempotency_key="k")
    )
    assert again.outcome is Told.CREATED
    told = [
        each for each in scene.results.values() if isinstance(each, Answer) and each.outcome is Told.CREATED
    ]
    assert {each.body for each in told} <= {again.body}
    assert [entry.id for entry in standing(scene, Outcome.CAPTURED)] == [again.value["id"]]


@pytest.mark.parametrize("by", [pauses(), pauses(FIRST_LOOK, long=True), pauses(WINDOW_IS_OVER, long=True)])
def test_two_requests_with_one_key_a_resolver_a_crash_and_a_late_answer_make_one_charge(
    by: Sequence[int], figures: Figures
) -> None:
    limits = Limits(crashes=1, late=1, pauses=by)
    go_through(two_requests_with_one_key, check_one_capture_and_one_answer, limits, figures)


def a_request_without_a_key(scene: Scene) -> None:
    ask(scene, "one", a_request(scene, Charge, None, BODY))
    scene.begin("resolver", resolve)


def check_what_was_told_is_what_stands(scene: Scene) -> None:
    """A capture stands exactly if its sender was told so: who heard nothing, or an error, will ask again."""
    told = scene.results.get("one")
    stands = [entry.id for entry in standing(scene, Outcome.CAPTURED)]
    if isinstance(told, Answer) and told.outcome is Told.CREATED:
        assert stands == [told.value["id"]]
    elif isinstance(told, Answer):
        assert len(stands) <= 1
    else:
        assert stands == []


@pytest.mark.parametrize(
    "by",
    [pauses(LEASE_IS_OVER), pauses(WINDOW_IS_OVER, long=True), pauses(FIRST_LOOK, LEASE_IS_OVER, long=True)],
)
def test_a_request_without_a_key_a_resolver_a_crash_and_a_late_answer_leave_what_was_told(
    by: Sequence[int], figures: Figures
) -> None:
    limits = Limits(crashes=1, late=1, pauses=by)
    go_through(a_request_without_a_key, check_what_was_told_is_what_stands, limits, figures)


def two_refunds(*keys: str | None) -> Callable[[Scene], None]:
    """Two refunds of 60 cents each, of one charge of 100 cents."""

    def prepare(scene: Scene) -> None:
        made = scene.world.do("a charge", scene.world.healthy.create_charge(scene.scope, BODY))
        for name, key in zip(("one", "other"), keys, strict=True):
            ask(scene, name, a_request(scene, Refund, key, {"charge": made.value["id"], "amount": 60}))
        scene.begin("resolver", resolve)

    return prepare


def check_one_refund_stands(scene: Scene) -> None:
    """Never do both stand, and what was told does; where nobody died, one is told, the other how much is left."""
    stands = standing(scene, Outcome.REFUNDED)
    assert len(stands) <= 1
    told = [scene.results.get(name) for name in ("one", "other")]
    created = [each for each in told if isinstance(each, Answer)]
    refused = [each for each in told if isinstance(each, Invalid)]
    assert {each.value["id"] for each in created} <= {entry.id for entry in stands}
    if scene.crashes == 0:
        assert (len(created), len(refused)) == (1, 1)


@pytest.mark.parametrize("by", [pauses(), pauses(LEASE_IS_OVER, long=True)])
@pytest.mark.parametrize(
    "keys", [(None, None), pytest.param(("a", "b"), marks=LONG)], ids=["no keys", "a key each"]
)
def test_of_two_refunds_of_60_on_100_with_a_resolver_a_crash_and_a_late_answer_one_stands_at_most(
    keys: Sequence[str | None], by: Sequence[int], figures: Figures
) -> None:
    limits = Limits(crashes=1, late=1, pauses=by)
    go_through(two_refunds(*keys), check_one_refund_stands, limits, figures)


def a_refund_asked_for_twice(scene: Scene) -> None:
    """A refund of 60 cents of 100, sent twice under one key: there is not enough for two, nor are two wanted."""
    made = scene.world.do("a charge", scene.world.healthy.create_charge(scene.scope, BODY))
    request = a_request(scene, Refund, "k", {"charge": made.value["id"], "amount": 60})
    ask(scene, "one", request)
    ask(scene, "other", request)
    scene.begin("resolver", resolve)


def check_neither_is_refused_for_the_other(scene: Scene) -> None:
    """Nobody is told that too little is left, which nobody but the request itself has taken; and all hear the same."""
    told = [scene.results.get(name) for name in ("one", "other")]
    assert [each for each in told if isinstance(each, Invalid)] == []
    assert len({each.body for each in told if isinstance(each, Answer)}) <= 1
    assert len(standing(scene, Outcome.REFUNDED)) <= 1
    if scene.crashes == 0:
        assert [each for each in told if isinstance(each, Answer)]


@pytest.mark.parametrize("by", [pauses(), pauses(LEASE_IS_OVER, long=True)])
def test_a_refund_that_is_asked_for_twice_with_one_key_is_never_refused_for_what_it_took_itself(
    by: Sequence[int], figures: Figures
) -> None:
    limits = Limits(crashes=1, late=len(by), pauses=by)
    go_through(a_refund_asked_for_twice, check_neither_is_refused_for_the_other, limits, figures)
