"""The Litestar application: routes, and the envelope around whatever goes wrong in them."""

from typing import Any

from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp

from kpay_core.commit import CommitFailed
from kpay_core.domain.errors import KpayError
from kpay_core.domain.names import prefixed
from kpay_http import docs, health
from kpay_http.errors import Refusal, refuse, refuse_status
from kpay_http.observing import Observer
from kpay_http.system import System
from kpay_http.v1 import charges, refunds

AnyRequest = Request[Any, Any, Any]

V1_ROUTES = (*charges.ROUTES, *refunds.ROUTES)


def create_app(system: System) -> ASGIApp:
    """Make the ASGI application of a system."""
    framework = create_framework(system)

    def request_id() -> str:
        return prefixed("req", system.kpay.ids.uuid7(system.kpay.clock.now()))

    return Observer(framework, metrics=system.metrics, request_id=request_id)


def create_framework(system: System | None = None) -> Litestar:
    """Make the Litestar application alone. Without a system it serves nothing, but its route table can be read."""
    return Litestar(
        route_handlers=[*V1_ROUTES, *health.ROUTES, *docs.ROUTES],
        exception_handlers={
            KpayError: answer_error,
            CommitFailed: answer_error,
            HTTPException: answer_framework,
            Exception: leave_to_observer,
        },
        state=State({"system": system}),
        openapi_config=None,
        logging_config=None,
    )


def answer_error(_: AnyRequest, error: Exception) -> Response[bytes]:
    return _respond(refuse(error))


def answer_framework(_: AnyRequest, error: HTTPException) -> Response[bytes]:
    return _respond(refuse_status(error.status_code, dict(error.headers or {})))


def leave_to_observer(_: AnyRequest, error: Exception) -> Response[bytes]:
    """Let a bug of ours out of the framework, which would answer it in words of its own and log nothing."""
    raise error


def _respond(refusal: Refusal) -> Response[bytes]:
    return Response(
        refusal.body, status_code=refusal.status, headers=refusal.headers, media_type="application/json"
    )
