"""/v1/test_clock: where KPAY_TEST_CLOCK is set, test mode has a clock that its testers turn."""

from litestar import get, post

from kpay_core.domain.errors import NotFound
from kpay_core.domain.sandbox_clock import Advance, TestClockView, read_advance, view_clock
from kpay_http.calls import AnyRequest, Call, admit, show
from kpay_http.operations import Operation
from kpay_http.replies import Reply
from kpay_http.sandbox_time import SandboxTime


def sandbox_time(call: Call) -> SandboxTime:
    """Return the time that a call may turn, or raise `NotFound`: live mode has none."""
    if call.system.sandbox_time is None or call.scope.livemode:
        raise NotFound
    return call.system.sandbox_time


@get(
    "/v1/test_clock",
    opt=Operation(
        id="getTestClock",
        summary="Tell what time it is in the sandbox, where its clock can be turned.",
        answers={200: TestClockView},
        names_object=True,
    ).opt,
)
async def get_clock(request: AnyRequest) -> Reply:
    call = await admit(request)
    return show(view_clock(sandbox_time(call).now()))


@post(
    "/v1/test_clock",
    opt=Operation(
        id="advanceTestClock",
        summary="Let time pass for the whole sandbox; everything due by then has happened when it answers.",
        body=Advance,
        answers={200: TestClockView},
        names_object=True,
    ).opt,
)
async def advance_clock(request: AnyRequest) -> Reply:
    call = await admit(request)
    time = sandbox_time(call)
    by = read_advance(call.body(), now=time.now())
    return show(view_clock(await call.finish_alone(time.advance(by))))


ROUTES = (get_clock, advance_clock)
