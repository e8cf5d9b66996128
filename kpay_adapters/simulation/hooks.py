"""Merchants' servers: registered, changed, and told of what happens."""

from datetime import timedelta
from functools import partial
from typing import Any

from kpay_adapters.simulation.faults import Fault
from kpay_adapters.simulation.merchants import Hook
from kpay_adapters.simulation.world import World
from kpay_adapters.testing import ScriptedCourier, accept, answer, miss
from kpay_core import Kpay, Scope
from kpay_core.domain.endpoints import Endpoint
from kpay_core.domain.events import Event
from kpay_core.domain.posts import Post, Reply
from kpay_core.flows.endpoints import NewSecret

SUBSCRIBED = (["*"], ["charge.succeeded"], ["refund.created", "charge.refunded"])


def register(world: World, kpay: Kpay, process: int) -> None:
    """Register an endpoint."""
    hook = _new_hook(world, world.draws.one_of(world.scopes))
    body = {"url": hook.url, "enabled_events": world.draws.one_of(SUBSCRIBED)}
    world.begin(f"register {hook.url}", process, kpay.create_endpoint(hook.scope, body), partial(_hear, hook))


def register_everywhere(world: World) -> None:
    """Register an endpoint for everything in each world, before anything goes wrong."""
    for scope in world.scopes:
        hook = _new_hook(world, scope)
        _hear(hook, world.do(f"register {hook.url}", world.healthy.create_endpoint(scope, {"url": hook.url})))


def _new_hook(world: World, scope: Scope) -> Hook:
    hook = Hook(url=f"https://shop.example/hooks/{len(world.merchants.hooks)}", scope=scope)
    world.merchants.hooks.append(hook)
    return hook


def _hear(hook: Hook, result: Any) -> None:
    if isinstance(result, NewSecret):
        hook.endpoint = result.endpoint.id
        hook.secrets.append((result.secret, None))


def change(world: World, kpay: Kpay, process: int) -> None:
    """Disable, enable, rotate or delete an endpoint."""
    known = [hook for hook in world.merchants.hooks if hook.endpoint is not None]
    if not known:
        return
    hook = world.draws.one_of(known)
    assert hook.endpoint is not None
    match world.draws.below(4):
        case 0:
            _rotate(world, kpay, process, hook, hook.endpoint)
        case 1:
            work = kpay.delete_endpoint(hook.scope, hook.endpoint)
            world.begin(f"delete {hook.url}", process, work, partial(_silence, hook))
        case 2:
            work = kpay.update_endpoint(hook.scope, hook.endpoint, {"status": "disabled"})
            world.begin(f"disable {hook.url}", process, work, partial(_silence, hook))
        case _:
            # Wanted again from now on, as far as anybody can tell, and for ever after two opposite wishes at once.
            hook.silent, hook.wanted = False, True
            work = kpay.update_endpoint(hook.scope, hook.endpoint, {"status": "enabled"})
            world.begin(f"enable {hook.url}", process, work)


def _silence(hook: Hook, result: Any) -> None:
    hook.silent = isinstance(result, Endpoint) and not hook.wanted


def _rotate(world: World, kpay: Kpay, process: int, hook: Hook, endpoint: str) -> None:
    clock = world.clocks[process]
    # It may be replaced from now on, also where nobody hears of it.
    hook.secrets = [(secret, at or clock.moment) for secret, at in hook.secrets]
    began_alone = not hook.rotating
    hook.rotations += 1
    hook.rotating += 1
    mine = hook.rotations

    def heard(result: Any) -> None:
        hook.rotating -= 1
        if isinstance(result, NewSecret):
            # Of two rotations at once, either may have been the last, whichever is heard of first.
            alone = began_alone and hook.rotations == mine
            hook.secrets.append((result.secret, None if alone else clock.moment))
            hook.told_at[result.secret] = int(clock.moment.timestamp()) + 1

    work = kpay.rotate_endpoint_secret(hook.scope, endpoint)
    world.begin(f"rotate the secret of {hook.url}", process, work, heard)


def resend(world: World, kpay: Kpay, process: int) -> None:
    """Have an event delivered once more, or nine times more, to whoever wants it now."""
    told = list(world.index.all(Event))
    if not told:
        return
    event, times = world.draws.one_of(told), world.draws.one_of((1, 9))

    async def work() -> None:
        for _ in range(times):
            await kpay.resend_event(event.scope, event.id, {})

    world.begin(f"resend {event.type}, {times} times", process, work())


def deliver(world: World, kpay: Kpay, process: int) -> None:
    """Look for what is to be delivered, and deliver it."""
    world.begin("delivering", process, deliver_all(world, kpay, process))


async def deliver_all(world: World, kpay: Kpay, process: int) -> int:
    """Deliver what is due to whoever it is due for; return how many attempts were made."""
    made = 0
    for endpoint in await kpay.endpoints_due():
        courier = ScriptedCourier(lambda post: receive(world, process, post), clock=kpay.clock)
        made += await kpay.deliver_to(endpoint, courier)
    return made


def receive(world: World, process: int, post: Post) -> Reply | timedelta | None:
    """Let a merchant's server take a post, and answer as servers do."""
    world.merchants.receive(post, now=world.clocks[process].moment if world.keeps_time else None)
    if not world.has(Fault.RECEIVER):
        return accept(post)
    match world.draws.below(8):
        case 1:
            return answer(post, 500)
        case 2:
            return answer(post, 302)
        case 3:
            return miss(post)
        case 4:
            return timedelta(seconds=15)
        case 5:
            return None
        case _:
            return accept(post)
