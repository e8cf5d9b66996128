"""/v1/refunds"""

from litestar import get, post

from kpay_core.domain.refunds import NewRefund, RefundListParams
from kpay_core.domain.views import ListView, RefundView, view_refund, view_refunds
from kpay_http.calls import AnyRequest, admit, show, tell
from kpay_http.operations import Operation
from kpay_http.replies import Reply


@post(
    "/v1/refunds",
    opt=Operation(
        id="createRefund",
        summary="Refund a succeeded charge, fully or partially.",
        body=NewRefund,
        answers={201: RefundView},
        names_object=True,
        idempotent=True,
    ).opt,
)
async def create_refund(request: AnyRequest) -> Reply:
    call = await admit(request)
    work = call.kpay.create_refund(
        call.scope, call.body(), idempotency_key=call.idempotency_key(), request_id=call.request_id
    )
    return tell(await call.finish(work))


@get(
    "/v1/refunds",
    opt=Operation(
        id="listRefunds",
        summary="List refunds for your merchant, newest first.",
        parameters=RefundListParams,
        answers={200: ListView[RefundView]},
    ).opt,
)
async def list_refunds(request: AnyRequest) -> Reply:
    call = await admit(request)
    return show(view_refunds(await call.kpay.list_refunds(call.scope, call.parameters())))


@get(
    "/v1/refunds/{id:str}",
    opt=Operation(
        id="getRefund",
        summary="Fetch a single refund by id.",
        answers={200: RefundView},
    ).opt,
)
async def get_refund(request: AnyRequest) -> Reply:
    call = await admit(request)
    return show(view_refund(await call.kpay.get_refund(call.scope, call.id)))


ROUTES = (create_refund, list_refunds, get_refund)
