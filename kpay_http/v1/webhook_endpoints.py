"""/v1/webhook_endpoints"""

import msgspec
from litestar import delete, get, patch, post

from kpay_core.domain.endpoints import EndpointChanges, EndpointListParams, NewEndpoint
from kpay_core.domain.pages import PageParams
from kpay_core.domain.validation import read
from kpay_core.domain.views import ListView
from kpay_core.domain.webhook_views import (
    DeletedView,
    DeliveryView,
    EndpointView,
    EndpointWithSecret,
    view_deleted,
    view_deliveries,
    view_endpoint,
    view_endpoint_with_secret,
    view_endpoints,
)
from kpay_http.calls import AnyRequest, admit, show
from kpay_http.operations import Operation
from kpay_http.replies import Reply


class RotateSecret(msgspec.Struct, frozen=True):
    """What a merchant sends to have a secret rotated: nothing."""


@post(
    "/v1/webhook_endpoints",
    opt=Operation(
        id="createWebhookEndpoint",
        summary="Register an HTTPS endpoint; its signing secret is shown in this answer only.",
        body=NewEndpoint,
        answers={201: EndpointWithSecret},
    ).opt,
)
async def create_endpoint(request: AnyRequest) -> Reply:
    call = await admit(request)
    made = await call.finish(call.kpay.create_endpoint(call.scope, call.body()))
    return show(view_endpoint_with_secret(made.endpoint, made.secret), status=201)


@get(
    "/v1/webhook_endpoints",
    opt=Operation(
        id="listWebhookEndpoints",
        summary="List all webhook endpoints configured for your merchant, newest first.",
        parameters=EndpointListParams,
        answers={200: ListView[EndpointView]},
    ).opt,
)
async def list_endpoints(request: AnyRequest) -> Reply:
    call = await admit(request)
    return show(view_endpoints(await call.kpay.list_endpoints(call.scope, call.parameters())))


@get(
    "/v1/webhook_endpoints/{id:str}",
    opt=Operation(
        id="getWebhookEndpoint",
        summary="Fetch a single endpoint, without its signing secret.",
        answers={200: EndpointView},
    ).opt,
)
async def get_endpoint(request: AnyRequest) -> Reply:
    call = await admit(request)
    return show(view_endpoint(await call.kpay.get_endpoint(call.scope, call.id)))


@patch(
    "/v1/webhook_endpoints/{id:str}",
    opt=Operation(
        id="updateWebhookEndpoint",
        summary="Update url, enabled events, description, or enable or disable the endpoint.",
        body=EndpointChanges,
        answers={200: EndpointView},
    ).opt,
)
async def update_endpoint(request: AnyRequest) -> Reply:
    call = await admit(request)
    changed = await call.finish(call.kpay.update_endpoint(call.scope, call.id, call.body()))
    return show(view_endpoint(changed))


@delete(
    "/v1/webhook_endpoints/{id:str}",
    status_code=200,
    opt=Operation(
        id="deleteWebhookEndpoint",
        summary="Permanently delete an endpoint; its pending deliveries are abandoned.",
        answers={200: DeletedView},
    ).opt,
)
async def delete_endpoint(request: AnyRequest) -> Reply:
    call = await admit(request)
    return show(view_deleted(await call.finish(call.kpay.delete_endpoint(call.scope, call.id))))


@post(
    "/v1/webhook_endpoints/{id:str}/rotate_secret",
    opt=Operation(
        id="rotateWebhookEndpointSecret",
        summary="Get a new signing secret; for 24 hours deliveries are signed with the one before it too.",
        body=RotateSecret,
        may_be_empty=True,
        answers={200: EndpointWithSecret},
    ).opt,
)
async def rotate_secret(request: AnyRequest) -> Reply:
    call = await admit(request)
    read(RotateSecret, call.optional_body()).finish(RotateSecret)
    rotated = await call.finish(call.kpay.rotate_endpoint_secret(call.scope, call.id))
    return show(view_endpoint_with_secret(rotated.endpoint, rotated.secret))


@get(
    "/v1/webhook_endpoints/{id:str}/deliveries",
    opt=Operation(
        id="listWebhookDeliveries",
        summary="List what went or is to go to an endpoint, newest first, with every attempt.",
        parameters=PageParams,
        answers={200: ListView[DeliveryView]},
    ).opt,
)
async def list_deliveries(request: AnyRequest) -> Reply:
    call = await admit(request)
    page, attempts = await call.kpay.list_deliveries(call.scope, call.id, call.parameters())
    return show(view_deliveries(call.id, page, attempts))


ROUTES = (
    create_endpoint,
    list_endpoints,
    get_endpoint,
    update_endpoint,
    delete_endpoint,
    rotate_secret,
    list_deliveries,
)
