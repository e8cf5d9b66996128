"""/v1/charges"""

from litestar import get, post

from kpay_core.domain.charges import ChargeListParams, NewCharge
from kpay_core.domain.views import (
    ChargeView,
    ChargeWithRefunds,
    ListView,
    view_charge_with_refunds,
    view_charges,
)
from kpay_http.calls import AnyRequest, admit, show, tell
from kpay_http.operations import Operation
from kpay_http.replies import Reply


@post(
    "/v1/charges",
    opt=Operation(
        id="createCharge",
        summary="Run a one-time charge against a card.",
        body=NewCharge,
        answers={201: ChargeView, 202: ChargeView},
        declines=True,
        idempotent=True,
    ).opt,
)
async def create_charge(request: AnyRequest) -> Reply:
    call = await admit(request)
    work = call.kpay.create_charge(
        call.scope, call.body(), idempotency_key=call.idempotency_key(), request_id=call.request_id
    )
    return tell(await call.finish(work))


@get(
    "/v1/charges",
    opt=Operation(
        id="listCharges",
        summary="List charges, newest first.",
        parameters=ChargeListParams,
        answers={200: ListView[ChargeView]},
    ).opt,
)
async def list_charges(request: AnyRequest) -> Reply:
    call = await admit(request)
    return show(view_charges(await call.kpay.list_charges(call.scope, call.parameters())))


@get(
    "/v1/charges/{id:str}",
    opt=Operation(
        id="getCharge",
        summary="Fetch a single charge and any refunds applied to it.",
        answers={200: ChargeWithRefunds},
    ).opt,
)
async def get_charge(request: AnyRequest) -> Reply:
    call = await admit(request)
    return show(view_charge_with_refunds(*await call.kpay.get_charge(call.scope, call.id)))


ROUTES = (create_charge, list_charges, get_charge)
