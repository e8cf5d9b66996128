"""What can be begun in a run: what merchants ask for, and what our processes do by themselves."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from kpay_adapters.sandbox.cards import BEHAVING
from kpay_adapters.simulation.faults import Fault
from kpay_adapters.simulation.merchants import Hook, Request
from kpay_adapters.simulation.world import World
from kpay_adapters.testing import CHARGE, ScriptedCourier, accept, answer, miss
from kpay_core import Kpay, Scope
from kpay_core.domain.charges import Charge
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.errors import NotFound
from kpay_core.domain.idempotency import LIFE, Answer
from kpay_core.domain.laws import Broken, Difference
from kpay_core.domain.posts import Post, Reply
from kpay_core.domain.refunds import Refund
from kpay_core.flows.endpoints import NewSecret

# The plainest first. Declined ones are the rest of the magic cards, of which one stands for all.
CARDS = ("4242424242424242", "4000000000000002", *BEHAVING)
AMOUNTS = (4999, 50, 51, 10_000_000)
REFUND_AMOUNTS = (None, 1, 50, 3000, 5000)
EVIDENCE = ("winning_evidence", "losing_evidence", "", None)
ACCOUNTS = ("000123456789", "000111111116")
SHARES = (290, 0, 1000, None)
KEYS = ("order-1", "order-2", "order-3")
SUBSCRIBED = (["*"], ["charge.succeeded"], ["refund.created", "charge.refunded"])

MINUTE = timedelta(minutes=1)

Heard = Callable[[Any], None]


def charge(world: World, kpay: Kpay, process: int) -> None:
    """Ask for a charge, under a key that may have been used before, or without one."""
    draws = world.draws
    scope = draws.one_of(world.scopes)
    key = draws.one_of((*KEYS, None, None))
    number, amount = draws.one_of(CARDS), draws.one_of(AMOUNTS)
    body = {**CHARGE, "amount": amount, "source": {**CHARGE["source"], "number": number}}
    _ask(world, kpay, process, Charge, scope, key, body)


def refund(world: World, kpay: Kpay, process: int) -> None:
    """Ask for a refund of a charge that the merchant was told of, or of another's."""
    draws = world.draws
    made = list(world.index.all(Charge))
    if not made:
        return
    of = draws.one_of(made)
    scope = of.scope if draws.below(8) else draws.one_of(world.scopes)
    key = draws.one_of((*KEYS, None, None))
    amount = draws.one_of(REFUND_AMOUNTS)
    body: dict[str, Any] = {"charge": of.id, **({} if amount is None else {"amount": amount})}
    _ask(world, kpay, process, Refund, scope, key, body)


def retry(world: World, kpay: Kpay, process: int) -> None:
    """Send a request with a key once more, whatever became of it; now and then with another body."""
    keyed = list(world.merchants.by_key.values())
    if not keyed:
        return
    request = world.draws.one_of(keyed)
    _send(world, kpay, process, request, changed=world.draws.below(8) == 1)


def _ask(
    world: World,
    kpay: Kpay,
    process: int,
    kind: type[Any],
    scope: Scope,
    key: str | None,
    body: dict[str, Any],
) -> None:
    """Ask for something new, or for the same again where the key was used before."""
    merchants = world.merchants
    before = merchants.by_key.get((scope, key)) if key else None
    if before is not None:
        _send(world, kpay, process, before)
        return
    number = len(merchants.requests)
    named = {**body, "description" if kind is Charge else "notes": f"request {number}"}
    request = Request(
        number=number, scope=scope, key=key, kind=kind, body=named, asked_at=world.clocks[process].moment
    )
    _send(world, kpay, process, merchants.ask(request))


def _send(world: World, kpay: Kpay, process: int, request: Request, *, changed: bool = False) -> None:
    create = kpay.create_charge if request.kind is Charge else kpay.create_refund
    body = {**request.body, "amount": 77} if changed else request.body
    hears = not world.has(Fault.IMPATIENT) or world.draws.below(4) != 1
    request.unheard = request.unheard or not hears

    def heard(result: Any) -> None:
        if changed:
            _check_refused(world, request, result)
        elif isinstance(result, Answer) and hears:
            now = world.clocks[process].moment
            in_time = world.keeps_time and world.latest < request.asked_at + LIFE
            world.merchants.hear(request, result, now=now, in_time=in_time)
        elif isinstance(result, Exception):
            world.merchants.fail(request, result)

    name = f"{request.name}: {request.kind.__name__.lower()}, key {request.key}"
    if world.story is not None:
        name += f", {_shown(request)}{', with another body' if changed else ''}"
    work = create(request.scope, body, idempotency_key=request.key)
    world.begin(name, process, work, heard)


def _shown(request: Request) -> str:
    """Show what is asked for, without its card."""
    if request.kind is Refund:
        return f"{request.body.get('amount', 'all')} of {request.body['charge']}"
    last4 = str(request.body["source"]["number"])[-4:]
    return f"{request.body['amount']} from the card that ends in {last4}"


def _check_refused(world: World, request: Request, result: Any) -> None:
    """Check that a key which has an answer takes no other body; where it never took effect it may."""
    if not isinstance(result, Answer):
        return
    if request.answer is not None and world.keeps_time and world.latest < request.asked_at + LIFE:
        world.merchants.broken(
            Broken("another_body_is_refused", Difference(request.name, "refused", "answered"))
        )
    # The key is another's now, as far as its merchant can tell.
    request.unheard = True


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


def evidence(world: World, kpay: Kpay, process: int) -> None:
    """Answer a dispute, or save a draft of an answer."""
    opened = list(world.index.all(Dispute))
    if not opened:
        return
    dispute = world.draws.one_of(opened)
    text, submit = world.draws.one_of(EVIDENCE), world.draws.below(3) != 1
    body = {"evidence": {"uncategorized_text": text}, "submit": submit}
    world.begin(f"evidence {text!r}", process, kpay.update_dispute(dispute.scope, dispute.id, body))


def terms(world: World, kpay: Kpay, process: int) -> None:
    """Change what charges cost, and where payouts go."""
    merchant = world.draws.one_of(world.scopes).merchant
    changes = {
        "bank_account": world.draws.one_of(ACCOUNTS),
        "fee_basis_points": world.draws.one_of(SHARES),
    }
    world.begin(f"new terms {changes}", process, kpay.update_merchant(merchant, changes))


def register(world: World, kpay: Kpay, process: int) -> None:
    """Register an endpoint."""
    scope = world.draws.one_of(world.scopes)
    hook = Hook(url=f"https://shop.example/hooks/{len(world.merchants.hooks)}", scope=scope)
    world.merchants.hooks.append(hook)

    def heard(result: Any) -> None:
        if isinstance(result, NewSecret):
            hook.endpoint = result.endpoint.id
            hook.secrets.append((result.secret, None))

    body = {"url": hook.url, "enabled_events": world.draws.one_of(SUBSCRIBED)}
    world.begin(f"register {hook.url}", process, kpay.create_endpoint(scope, body), heard)


def change(world: World, kpay: Kpay, process: int) -> None:
    """Disable, enable, rotate or delete an endpoint."""
    known = [hook for hook in world.merchants.hooks if hook.endpoint is not None]
    if not known:
        return
    hook = world.draws.one_of(known)
    what = world.draws.below(4)
    assert hook.endpoint is not None
    if what == 0:
        _rotate(world, kpay, process, hook, hook.endpoint)
    elif what == 1:
        # From here on nobody answers for it, and it may be gone at any moment.
        world.begin(f"delete {hook.url}", process, kpay.delete_endpoint(hook.scope, hook.endpoint))
    else:
        status = "disabled" if what == 2 else "enabled"
        work = kpay.update_endpoint(hook.scope, hook.endpoint, {"status": status})
        world.begin(f"{hook.url} is to be {status}", process, work)


def _rotate(world: World, kpay: Kpay, process: int, hook: Hook, endpoint: str) -> None:
    clock = world.clocks[process]
    # It may be replaced from now on, also where nobody hears of it.
    hook.secrets = [(secret, at or clock.moment) for secret, at in hook.secrets]
    hook.rotations += 1
    hook.rotating += 1
    mine = hook.rotations

    def heard(result: Any) -> None:
        hook.rotating -= 1
        if isinstance(result, NewSecret):
            # Of two rotations at once, either may have been the last.
            alone = hook.rotations == mine and not hook.rotating
            hook.secrets.append((result.secret, None if alone else clock.moment))

    work = kpay.rotate_endpoint_secret(hook.scope, endpoint)
    world.begin(f"rotate the secret of {hook.url}", process, work, heard)


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
    if world.keeps_time:
        world.merchants.receive(post, now=world.clocks[process].moment)
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


def sweep(world: World, kpay: Kpay, process: int) -> None:
    """Look at what is unfinished."""
    world.begin("sweeping", process, kpay.sweep())


def collect(world: World, kpay: Kpay, process: int) -> None:
    """Take in the network's news."""
    world.begin("collecting news", process, kpay.collect_news())


def mature(world: World, kpay: Kpay, process: int) -> None:
    """Let funds mature."""
    world.begin("maturing", process, kpay.mature())


def settle(world: World, kpay: Kpay, process: int) -> None:
    """Make payouts."""
    world.begin("settling", process, kpay.settle())


Action = Callable[[World, Kpay, int], None]

ACTIONS: Sequence[Action] = (
    charge,
    retry,
    refund,
    sweep,
    collect,
    mature,
    settle,
    deliver,
    register,
    change,
    evidence,
    read,
    terms,
)
