"""/v1/disputes"""

from litestar import get, post

from kpay_core.domain.dispute_views import DisputeView, view_dispute, view_disputes
from kpay_core.domain.disputes import DisputeChanges, DisputeListParams
from kpay_core.domain.views import ListView
from kpay_http.calls import AnyRequest, admit, show
from kpay_http.operations import Operation
from kpay_http.replies import Reply


@get(
    "/v1/disputes",
    opt=Operation(
        id="listDisputes",
        summary="List disputes of your charges, newest first.",
        parameters=DisputeListParams,
        answers={200: ListView[DisputeView]},
    ).opt,
)
async def list_disputes(request: AnyRequest) -> Reply:
    call = await admit(request)
    return show(view_disputes(await call.kpay.list_disputes(call.scope, call.parameters())))


@get(
    "/v1/disputes/{id:str}",
    opt=Operation(
        id="getDispute",
        summary="Fetch a single dispute by id.",
        answers={200: DisputeView},
    ).opt,
)
async def get_dispute(request: AnyRequest) -> Reply:
    call = await admit(request)
    return show(view_dispute(await call.kpay.get_dispute(call.scope, call.id)))


@post(
    "/v1/disputes/{id:str}",
    opt=Operation(
        id="updateDispute",
        summary="Save a draft of your evidence against a dispute, or submit it; what is submitted is final.",
        body=DisputeChanges,
        answers={200: DisputeView},
    ).opt,
)
async def update_dispute(request: AnyRequest) -> Reply:
    call = await admit(request)
    work = call.kpay.update_dispute(call.scope, call.id, call.body(), request_id=call.request_id)
    return show(view_dispute(await call.finish(work)))


ROUTES = (list_disputes, get_dispute, update_dispute)
