"""What can be begun in a run: what merchants ask for, and what our processes do by themselves."""

from collections.abc import Callable, Sequence
from typing import Any

from kpay_adapters.sandbox.cards import BEHAVING
from kpay_adapters.simulation.faults import Fault
from kpay_adapters.simulation.hooks import change, deliver, register, resend
from kpay_adapters.simulation.merchants import Request
from kpay_adapters.simulation.reads import read
from kpay_adapters.simulation.watch import TOLERANCE
from kpay_adapters.simulation.world import World
from kpay_adapters.testing import CHARGE
from kpay_core import Kpay, Scope
from kpay_core.domain.charges import Charge
from kpay_core.domain.disputes import Dispute
from kpay_core.domain.errors import Invalid
from kpay_core.domain.idempotency import LATE, LIFE, Answer, IdempotencyKey, State, key_id
from kpay_core.domain.laws import Broken, Difference
from kpay_core.domain.refunds import Refund

# The plainest first. Declined ones are the rest of the magic cards, of which one stands for all.
CARDS = ("4242424242424242", "4000000000000002", *BEHAVING)
AMOUNTS = (4999, 50, 51, 10_000_000)
REFUND_AMOUNTS = (None, 1, 50, 3000, 5000)
EVIDENCE = ("winning_evidence", "losing_evidence", "", None)
ACCOUNTS = ("000123456789", "000111111116")
SHARES = (290, 0, 1000, None)
KEYS = ("order-1", "order-2", "order-3")


def charge(world: World, kpay: Kpay, process: int) -> None:
    """Ask for a charge, under a key that may have been used before, or without one."""
    draws = world.draws
    scope = draws.one_of(world.scopes)
    key = draws.one_of((*KEYS, None, None))
    number, amount = CARDS[draws.weigh(world.swarm.cards)], draws.one_of(AMOUNTS)
    body = {**CHARGE, "amount": amount, "source": {**CHARGE["source"], "number": number}}
    _ask(world, kpay, process, Charge, scope, key, body)


def refund(world: World, kpay: Kpay, process: int) -> None:
    """Ask for a refund of a charge, of one's own or another's, whether its merchant was told of it or not."""
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
            world.merchants.hear(
                request,
                result,
                in_time=_is_in_time(world, request),
                promise_holds=_holds_the_promise(world, request),
                now=world.latest,
            )
        elif isinstance(result, Exception):
            _check_refusal(world, request, result)
            world.merchants.fail(request, result)

    name = f"{request.name}: {request.kind.__name__.lower()}, key {request.key}"
    if world.story is not None:
        name += f", {_shown(request)}{', with another body' if changed else ''}"
    work = create(request.scope, body, idempotency_key=request.key)
    world.begin(name, process, work, heard)


def _check_refusal(world: World, request: Request, error: Exception) -> None:
    """Check that who is refused is not refused for what he has taken himself: then he is to hear his answer."""
    if not isinstance(error, Invalid) or request.key is None or not _is_in_time(world, request):
        return
    held = world.index.get(IdempotencyKey, key_id(request.scope, request.key))
    made = world.index.get(request.kind, held.subject) if held and held.state is not State.FREE else None
    if isinstance(made, Refund) and made.notes == request.name:
        world.merchants.broken(
            Broken("nobody_is_refused_for_his_own", Difference(request.name, made.id, str(error)))
        )


def _is_in_time(world: World, request: Request) -> bool:
    """Tell whether no clock of ours has shown a time at which the key of a request may be used anew."""
    return world.keeps_time and world.latest < request.asked_at + LIFE - TOLERANCE


def _holds_the_promise(world: World, request: Request) -> bool:
    """Tell whether what was promised under the key of a request is remembered still, by all clocks of ours."""
    if request.promised is None:
        return False
    # Its answer came after it was promised. Where that was not late, the key was first used less than that before.
    since = request.promised[1] - LATE - TOLERANCE
    return world.keeps_time and world.latest < since + LIFE - TOLERANCE


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
    if request.answer is not None and _is_in_time(world, request):
        world.merchants.broken(
            Broken("another_body_is_refused", Difference(request.name, "refused", "answered"))
        )
    # The key is another's now, as far as its merchant can tell.
    request.unheard = True


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
    resend,
    evidence,
    read,
    terms,
)
