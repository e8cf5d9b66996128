"""Is it alive, is it ready, what does it count: open to whoever reaches the port, and silent about merchants."""

from litestar import Response, get

from kpay_core.domain.views import encode
from kpay_http.calls import AnyRequest

JSON = "application/json"


@get("/healthz")
async def healthz() -> Response[bytes]:
    """The process is alive."""
    return Response(encode({"status": "alive"}), media_type=JSON)


@get("/readyz")
async def readyz(request: AnyRequest) -> Response[bytes]:
    """The database is reached and migrated."""
    ready = await request.app.state.system.ready()
    body = encode({"status": "ready" if ready else "not ready"})
    return Response(body, status_code=200 if ready else 503, media_type=JSON)


@get("/metrics")
async def metrics(request: AnyRequest) -> Response[bytes]:
    """Everything this process counts."""
    text = request.app.state.system.metrics.text()
    return Response(text, media_type="text/plain; version=0.0.4")


ROUTES = (healthz, readyz, metrics)
