"""The Litestar application: routes, and the envelope around whatever goes wrong in them."""

from collections.abc import Callable, Iterable

from litestar import HttpMethod, Litestar, Response, route
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from kpay_core.commit import CommitFailed
from kpay_core.domain.errors import KpayError
from kpay_http import docs, health
from kpay_http.calls import AnyRequest
from kpay_http.errors import refuse, refuse_status
from kpay_http.observing import Observer, as_sent
from kpay_http.replies import Reply, Straight
from kpay_http.system import System
from kpay_http.v1 import balance, charges, disputes, events, payouts, refunds, test_clock, webhook_endpoints

V1_ROUTES = (
    *charges.ROUTES,
    *refunds.ROUTES,
    *disputes.ROUTES,
    *payouts.ROUTES,
    *balance.ROUTES,
    *webhook_endpoints.ROUTES,
    *events.ROUTES,
    *test_clock.ROUTES,
)


def create_app(system: System) -> ASGIApp:
    """Make the ASGI application of a system."""
    straight = Straight(create_framework(system), system, reply_to=reply_to)
    return Observer(straight, metrics=system.metrics)


def create_framework(system: System | None = None) -> Litestar:
    """Make the Litestar application alone. Without a system it serves nothing, but its route table can be read."""
    routes = (*V1_ROUTES, *health.ROUTES, *docs.ROUTES)
    return Litestar(
        route_handlers=[*options_of(routes), *routes],
        exception_handlers={HTTPException: answer_framework, Exception: leave_to_observer},
        state=State({"system": system}),
        openapi_config=None,
        logging_config=None,
    )


def options_of(routes: Iterable[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    """
    Answer OPTIONS ourselves: the framework's own `Allow` names only the first method of a path.

    They are registered before the others, because for a path without one the framework adds its own.
    """
    methods: dict[str, set[str]] = {}
    for handler in routes:
        for path in handler.paths:
            methods.setdefault(path, {"OPTIONS"}).update(handler.http_methods)

    def answer(allowed: str) -> Callable[[], Response[None]]:
        def options() -> Response[None]:
            return Response(None, status_code=204, headers={"Allow": allowed})

        return options

    return [
        route(path, http_method=HttpMethod.OPTIONS, status_code=204, sync_to_thread=False)(
            answer(", ".join(sorted(allowed)))
        )
        for path, allowed in methods.items()
    ]


def reply_to(error: Exception) -> Reply | None:
    """Say what a controller's error is to a caller; None where it is a bug of ours."""
    if not isinstance(error, KpayError | CommitFailed):
        return None
    refusal = refuse(error)
    return Reply(refusal.status, refusal.body, *as_sent(refusal.headers))


def answer_framework(_: AnyRequest, error: HTTPException) -> Response[bytes]:
    """Answer what the framework refuses in our words."""
    refusal = refuse_status(error.status_code, dict(error.headers or {}))
    return Response(
        refusal.body, status_code=refusal.status, headers=refusal.headers, media_type="application/json"
    )


def leave_to_observer(_: AnyRequest, error: Exception) -> Response[bytes]:
    """Let a bug of ours out of the framework, which would answer it in words of its own and log nothing."""
    raise error
