"""/v1/payouts and /v1/balance"""

from litestar import Response, get

from kpay_core.domain.pages import PageParams
from kpay_core.domain.payout_views import (
    BalanceView,
    PayoutView,
    PayoutWithLines,
    view_balance,
    view_payout_with_lines,
    view_payouts,
)
from kpay_core.domain.views import ListView
from kpay_http.calls import AnyRequest, admit, show
from kpay_http.operations import Operation


@get(
    "/v1/payouts",
    opt=Operation(
        id="listPayouts",
        summary="List your settlement payouts, newest first.",
        parameters=PageParams,
        answers={200: ListView[PayoutView]},
    ).opt,
)
async def list_payouts(request: AnyRequest) -> Response[bytes]:
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
async def get_payout(request: AnyRequest) -> Response[bytes]:
    call = await admit(request)
    return show(view_payout_with_lines(*await call.kpay.get_payout(call.scope, call.id)))


@get(
    "/v1/balance",
    opt=Operation(
        id="getBalance",
        summary="Tell what you have: pending, available, reserved and in transit.",
        answers={200: BalanceView},
    ).opt,
)
async def get_balance(request: AnyRequest) -> Response[bytes]:
    call = await admit(request)
    return show(view_balance(await call.kpay.get_balance(call.scope), call.scope))


ROUTES = (list_payouts, get_payout, get_balance)
