"""What merchants read: their own, in full, and nothing of anybody else's."""

from collections.abc import Callable
from typing import Any

from kpay_adapters.simulation.world import World
from kpay_core import Kpay, Scope
from kpay_core.domain.charges import Charge
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.errors import NotFound
from kpay_core.domain.laws import Broken, Difference
from kpay_core.domain.refunds import Refund


def read(world: World, kpay: Kpay, process: int) -> None:
    """Read what there is, and what is another's."""
    scope = world.draws.one_of(world.scopes)
    name, work = world.draws.one_of(READS)(world, kpay, scope)
    world.begin(f"{name} of {scope.mode} {scope.merchant}", process, work)


async def _lists(world: World, kpay: Kpay, scope: Scope) -> None:
    for page in (
        await kpay.list_charges(scope, {}),
        await kpay.list_refunds(scope, {}),
        await kpay.list_disputes(scope, {}),
        await kpay.list_payouts(scope, {}),
        await kpay.list_events(scope, {}),
        await kpay.list_endpoints(scope, {}),
    ):
        for each in page.data:
            if each.scope != scope:
                world.merchants.broken(_crossed(each.id))


async def _get(world: World, scope: Scope, id: str, *, get: Callable[..., Any], own: Scope) -> None:
    try:
        await get(scope, id)
    except NotFound:
        if scope == own:
            world.merchants.broken(Broken("what_is_ours_is_found", Difference("object", id, None)))
        return
    if scope != own:
        world.merchants.broken(_crossed(id))


def _crossed(id: str) -> Broken:
    return Broken("nobody_sees_what_is_of_another", Difference("seen", None, id))


def _read_lists(world: World, kpay: Kpay, scope: Scope) -> tuple[str, Any]:
    return "the lists", _lists(world, kpay, scope)


def _read_balance(world: World, kpay: Kpay, scope: Scope) -> tuple[str, Any]:
    return "the balance", _check_balance(world, kpay, scope)


async def _check_balance(world: World, kpay: Kpay, scope: Scope) -> None:
    balance = await kpay.get_balance(scope)
    if min(balance.pending, balance.reserved, balance.in_transit) < 0:
        world.merchants.broken(
            Broken("balances_are_of_money", Difference("balance", "0 or more", str(balance)))
        )


def _read_one(world: World, kpay: Kpay, scope: Scope) -> tuple[str, Any]:
    gets: tuple[tuple[type[Any], Callable[..., Any]], ...] = (
        (Charge, kpay.get_charge),
        (Refund, kpay.get_refund),
        (Dispute, kpay.get_dispute),
    )
    kind, get = world.draws.one_of(gets)
    found = list(world.index.all(kind))
    if not found:
        return _read_balance(world, kpay, scope)
    one = world.draws.one_of(found)
    return f"{kind.__name__.lower()} {one.id}", _get(world, scope, one.id, get=get, own=one.scope)


READS: tuple[Callable[[World, Kpay, Scope], tuple[str, Any]], ...] = (_read_one, _read_lists, _read_balance)
