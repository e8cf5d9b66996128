"""/v1/payouts"""

from litestar import get

from kpay_core.domain.pages import PageParams
from kpay_core.domain.payout_views import (
    PayoutView,
    PayoutWithLines,
    view_payout_with_lines,
    view_payouts,
)
from kpay_core.domain.views import ListView
from kpay_http.calls import AnyRequest, admit, show
from kpay_http.operations import Operation
from kpay_http.replies import Reply


@get(
    "/v1/payouts",
    opt=Operation(
        id="listPayouts",
        summary="List your settlement payouts, newest first.",
        parameters=PageParams,
        answers={200: ListView[PayoutView]},
    ).opt,
)
async def list_payouts(request: AnyRequest) -> Reply:
    call = await admit(request)
    return show(view_payouts(await call.kpay.list_payouts(call.scope, call.parameters())))


@get(
    "/v1/payouts/{id:str}",
    opt=Operation(
        id="getPayout",
        summary="Fetch a single payout plus its itemised line items.",
        answers={200: PayoutWithLines},
    ).opt,
)
async def get_payout(request: AnyRequest) -> Reply:
    call = await admit(request)
    return show(view_payout_with_lines(*await call.kpay.get_payout(call.scope, call.id)))


ROUTES = (list_payouts, get_payout)
