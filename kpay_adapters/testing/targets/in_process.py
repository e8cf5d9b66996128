"""A `Kpay` in this process, on whatever store, processor and clock it is made of."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from kpay_adapters.sandbox import SandboxBank, SandboxNetwork, Witnesses
from kpay_adapters.testing.targets.asking import Ask, Reply, Said, Verb
from kpay_core import Kpay, Scope
from kpay_core.domain import dispute_views, errors, payout_views, views, webhook_views
from kpay_core.domain.charges import Charge
from kpay_core.domain.errors import KpayError
from kpay_core.domain.idempotency import Answer, Outcome
from kpay_core.domain.ledger import Transfer
from kpay_core.domain.payout_views import PayoutWithLines
from kpay_core.domain.payouts import Payout
from kpay_core.domain.refunds import Refund
from kpay_core.domain.sandbox_clock import view_clock
from kpay_core.domain.views import ChargeWithRefunds, ErrorFacts, ErrorType, ErrorView, encode
from kpay_core.ports import Witness

T = TypeVar("T")

SAID = {Outcome.CREATED: Said.CREATED, Outcome.ACCEPTED: Said.ACCEPTED, Outcome.DECLINED: Said.DECLINED}

# How the errors of the core read to a merchant. What is not here is the adapters' fault, and is raised as it is.
REFUSALS: Mapping[type[KpayError], tuple[Said, ErrorType]] = {
    errors.Invalid: (Said.REFUSED, "invalid_request_error"),
    errors.IdempotencyKeyReused: (Said.REFUSED, "invalid_request_error"),
    errors.NotFound: (Said.NOT_FOUND, "not_found"),
    errors.IdempotencyKeyInUse: (Said.BUSY, "invalid_request_error"),
    errors.NoProcessor: (Said.FAILED, "internal_error"),
    errors.Undone: (Said.FAILED, "internal_error"),
    errors.Contention: (Said.FAILED, "internal_error"),
}

Handler = Callable[[Kpay, Scope, Ask], Coroutine[Any, Any, Reply]]


class InProcess:
    """
    Implements `Target` with a `Kpay`, or with what opens one when it is entered: a store that has to be opened is.

    Everything runs in an event loop of the target's own, so whatever belongs to a loop is opened there. A merchant is
    let in, and another beside it, so that a store which others use too will do. Time can be turned where the clock of
    the `Kpay` has a `turn_to`. `witnesses` stand beside an audit; without any it is the sandbox, where that is the
    processor.
    """

    name = "a Kpay in this process"
    delivers = False

    def __init__(
        self,
        kpay: Kpay | AbstractAsyncContextManager[Kpay],
        *,
        witnesses: Mapping[str, Witness] | None = None,
    ) -> None:
        self._runner = asyncio.Runner()
        self._opened = None if isinstance(kpay, Kpay) else kpay
        self._kpay = kpay if isinstance(kpay, Kpay) else self._run(kpay.__aenter__())
        self._witnesses = sandbox_of(self._kpay) if witnesses is None else witnesses
        self._scope = self._run(self._let_in("Acme"))
        self._others = [self._run(self._let_in("Globex")), Scope(self._scope.merchant, livemode=True)]
        self.others = len(self._others)

    def ask(self, ask: Ask) -> Reply:
        # As it would come out of a request: nothing of the asker's reaches into the core.
        body = None if ask.body is None else msgspec.json.decode(msgspec.json.encode(ask.body))
        ask = msgspec.structs.replace(ask, body=body)
        scope = self._scope if ask.as_other is None else self._others[ask.as_other]
        try:
            return self._run(HANDLERS[ask.verb](self._kpay, scope, ask))
        except KpayError as error:
            said, type = REFUSALS[error.__class__]
            facts = ErrorFacts(type=type, message=error.message, details=error.details)
            return Reply(said=said, text=encode(ErrorView(error=facts)).decode())

    def now(self) -> datetime:
        return self._kpay.clock.now()

    def pass_time(self, seconds: int) -> Reply | None:
        turn_to = getattr(self._kpay.clock, "turn_to", None)
        if turn_to is None:
            return None
        self._run(self._kpay.pass_time(self.now() + timedelta(seconds=seconds), turn_to=turn_to))
        return shown(view_clock(self.now()))

    def audit(self) -> Sequence[str]:
        report = self._run(self._kpay.audit(witnesses=self._witnesses))
        return [
            f"{each.law}: {each.what} of {each.id} is {each.found}, should be {each.expected}"
            for each in report.disagreements
        ]

    def close(self) -> None:
        with self._runner:
            if self._opened is not None:
                self._run(self._opened.__aexit__(None, None, None))

    async def _let_in(self, name: str) -> Scope:
        merchant = await self._kpay.apply(name=name)
        await self._kpay.approve(merchant.id)
        return Scope(merchant.id, livemode=False)

    def _run(self, work: Awaitable[T]) -> T:
        return self._runner.get_loop().run_until_complete(work)


def sandbox_of(kpay: Kpay) -> dict[str, Witness]:
    """Return who knows what really happened: the sandbox, where it is the processor and the bank of test mode."""
    network, bank = kpay.processors.get("test"), kpay.rails.get("test")
    if isinstance(network, SandboxNetwork) and isinstance(bank, SandboxBank):
        return {"test": Witnesses(network, bank)}
    return {}


def told(answer: Answer) -> Reply:
    return Reply(said=SAID[answer.outcome], text=answer.body, replayed=answer.replayed)


def shown(view: Any, said: Said = Said.SHOWN) -> Reply:
    return Reply(said=said, text=encode(view).decode())


async def create(kpay: Kpay, scope: Scope, ask: Ask) -> Reply:
    if ask.kind == "webhook_endpoints":
        made = await kpay.create_endpoint(scope, ask.body)
        return shown(webhook_views.view_endpoint_with_secret(made.endpoint, made.secret), Said.CREATED)
    make = {"charges": kpay.create_charge, "refunds": kpay.create_refund}[ask.kind]
    return told(await make(scope, ask.body, idempotency_key=ask.key))


async def show(kpay: Kpay, scope: Scope, ask: Ask) -> Reply:
    if ask.kind == "balance":
        return shown(payout_views.view_balance(await kpay.get_balance(scope), scope))
    get, view = SHOW[ask.kind]
    return shown(view(await get(kpay, scope, ask.id)))


async def list_page(kpay: Kpay, scope: Scope, ask: Ask) -> Reply:
    find, view = LIST[ask.kind]
    return shown(view(await find(kpay, scope, ask.params)))


async def change(kpay: Kpay, scope: Scope, ask: Ask) -> Reply:
    if ask.kind == "disputes":
        return shown(dispute_views.view_dispute(await kpay.update_dispute(scope, ask.id, ask.body)))
    return shown(webhook_views.view_endpoint(await kpay.update_endpoint(scope, ask.id, ask.body)))


async def delete(kpay: Kpay, scope: Scope, ask: Ask) -> Reply:
    return shown(webhook_views.view_deleted(await kpay.delete_endpoint(scope, ask.id)))


async def rotate(kpay: Kpay, scope: Scope, ask: Ask) -> Reply:
    made = await kpay.rotate_endpoint_secret(scope, ask.id)
    return shown(webhook_views.view_endpoint_with_secret(made.endpoint, made.secret))


HANDLERS: Mapping[Verb, Handler] = {
    "create": create,
    "show": show,
    "list": list_page,
    "change": change,
    "delete": delete,
    "rotate": rotate,
}


def with_refunds(found: tuple[Charge, Sequence[Refund]]) -> ChargeWithRefunds:
    return views.view_charge_with_refunds(*found)


def with_lines(found: tuple[Payout, Sequence[Transfer]]) -> PayoutWithLines:
    return payout_views.view_payout_with_lines(*found)


# How an object is read by its id, and how it looks then; how a page of a list is read, and how that looks.
Reading = tuple[Callable[..., Awaitable[Any]], Callable[..., Any]]
SHOW: Mapping[str, Reading] = {
    "charges": (Kpay.get_charge, with_refunds),
    "refunds": (Kpay.get_refund, views.view_refund),
    "disputes": (Kpay.get_dispute, dispute_views.view_dispute),
    "payouts": (Kpay.get_payout, with_lines),
    "events": (Kpay.get_event, webhook_views.view_event),
    "webhook_endpoints": (Kpay.get_endpoint, webhook_views.view_endpoint),
}
LIST: Mapping[str, Reading] = {
    "charges": (Kpay.list_charges, views.view_charges),
    "refunds": (Kpay.list_refunds, views.view_refunds),
    "disputes": (Kpay.list_disputes, dispute_views.view_disputes),
    "payouts": (Kpay.list_payouts, payout_views.view_payouts),
    "events": (Kpay.list_events, webhook_views.view_events),
    "webhook_endpoints": (Kpay.list_endpoints, webhook_views.view_endpoints),
}
