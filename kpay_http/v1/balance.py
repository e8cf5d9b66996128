"""/v1/balance"""

from litestar import get

from kpay_core.domain.payout_views import BalanceView, view_balance
from kpay_http.calls import AnyRequest, admit, show
from kpay_http.operations import Operation
from kpay_http.replies import Reply


@get(
    "/v1/balance",
    opt=Operation(
        id="getBalance",
        summary="Tell what you have: pending, available, reserved and in transit.",
        answers={200: BalanceView},
    ).opt,
)
async def get_balance(request: AnyRequest) -> Reply:
    call = await admit(request)
    return show(view_balance(await call.kpay.get_balance(call.scope), call.scope))


ROUTES = (get_balance,)
