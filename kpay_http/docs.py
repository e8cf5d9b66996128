"""The API reference: /openapi.json, and /docs, whose every asset is served from here: nothing comes from a CDN."""

from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from litestar import Response, get
from litestar.exceptions import NotFoundException
from openapi_ui_bundles.swagger_ui import static_path

from kpay_http.calls import AnyRequest
from kpay_http.openapi import describe

HERE = Path(__file__).parent
SWAGGER = Path(static_path)

# What /docs/… serves, and nothing else.
ASSETS = {
    "docs.js": (HERE / "docs.js", "text/javascript"),
    "swagger-ui-bundle.js": (SWAGGER / "swagger-ui-bundle.js", "text/javascript"),
    "swagger-ui.css": (SWAGGER / "swagger-ui.css", "text/css"),
    "favicon-32x32.png": (SWAGGER / "favicon-32x32.png", "image/png"),
}

# Swagger UI sets styles on elements; everything else comes from this server, and nothing from elsewhere.
POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"


@cache
def document(framework: Any) -> bytes:
    """Return the OpenAPI document of an application; its routes do not change while it runs."""
    return msgspec.json.encode(describe(framework, version=version("k-payments")))


@cache
def content_of(file: Path) -> bytes:
    """Read a file once: clients who are slow to take the same answer hold one copy of it among them."""
    return file.read_bytes()


@get("/openapi.json")
async def openapi(request: AnyRequest) -> Response[bytes]:
    return Response(document(request.app), media_type="application/json")


@get("/docs", sync_to_thread=True)
def page() -> Response[bytes]:
    headers = {"Content-Security-Policy": POLICY}
    return Response(content_of(HERE / "docs.html"), media_type="text/html", headers=headers)


@get("/docs/{name:str}", sync_to_thread=True)
def asset(request: AnyRequest) -> Response[bytes]:
    name = request.path_params["name"]
    if name not in ASSETS:
        raise NotFoundException
    file, media_type = ASSETS[name]
    return Response(content_of(file), media_type=media_type)


ROUTES = (openapi, page, asset)
