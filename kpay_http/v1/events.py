"""/v1/events"""

from litestar import get, post

from kpay_core.domain.endpoints import Resend
from kpay_core.domain.events import EventListParams
from kpay_core.domain.views import ListView
from kpay_core.domain.webhook_views import DeliveryView, EventView, view_event, view_events, view_resent
from kpay_http.calls import AnyRequest, admit, show
from kpay_http.operations import Operation
from kpay_http.replies import Reply


@get(
    "/v1/events",
    opt=Operation(
        id="listEvents",
        summary="List recent events, newest first.",
        parameters=EventListParams,
        answers={200: ListView[EventView]},
    ).opt,
)
async def list_events(request: AnyRequest) -> Reply:
    call = await admit(request)
    return show(view_events(await call.kpay.list_events(call.scope, call.parameters())))


@get(
    "/v1/events/{id:str}",
    opt=Operation(
        id="getEvent",
        summary="Fetch a single event, byte for byte as it is delivered.",
        answers={200: EventView},
    ).opt,
)
async def get_event(request: AnyRequest) -> Reply:
    call = await admit(request)
    return show(view_event(await call.kpay.get_event(call.scope, call.id)))


@post(
    "/v1/events/{id:str}/resend",
    opt=Operation(
        id="resendEvent",
        summary="Deliver an event again, to one endpoint or to all that want its type.",
        body=Resend,
        may_be_empty=True,
        answers={200: ListView[DeliveryView]},
    ).opt,
)
async def resend_event(request: AnyRequest) -> Reply:
    call = await admit(request)
    deliveries = await call.finish(call.kpay.resend_event(call.scope, call.id, call.optional_body()))
    return show(view_resent(call.id, deliveries))


ROUTES = (list_events, get_event, resend_event)
