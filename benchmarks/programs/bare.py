"""
The bare peers: what Litestar and uvicorn cost by themselves, with the same bodies and the same check of the key.

    python -m benchmarks.programs.bare litestar|asgi PORT ANSWERS SECRET_KEY

They hash the key and look the hash up in a dict, read and decode the body, and answer with bytes that K-Payments
answered before. They check, store, log and count nothing. With Litestar it is a handler as its documents have it;
no API on this server can be faster than the one without a framework.
"""

import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
import uvloop
from litestar import Litestar, Response, get, post
from litestar.datastructures import State
from litestar.exceptions import NotAuthorizedException

from kpay_http.calls import AnyRequest
from kpay_http.server import config_of, spare_the_collector

JSON = "application/json"
decode = msgspec.json.Decoder().decode


class Answers(msgspec.Struct):
    """The bodies to answer with."""

    charge: str
    charge_with_refunds: str


def check_key(request: AnyRequest) -> None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or sha256(key.encode()).hexdigest() not in request.app.state.merchants:
        raise NotAuthorizedException


@post("/v1/charges")
async def create_charge(request: AnyRequest) -> Response[bytes]:
    check_key(request)
    decode(await request.body())
    return Response(request.app.state.charge, status_code=201, media_type=JSON)


@get("/v1/charges/{id:str}")
async def get_charge(request: AnyRequest) -> Response[bytes]:
    check_key(request)
    return Response(request.app.state.charge_with_refunds, media_type=JSON)


def litestar(known: Answers, merchants: dict[str, str]) -> Litestar:
    """Make the handlers as a Litestar application."""
    state = {
        "merchants": merchants,
        "charge": known.charge.encode(),
        "charge_with_refunds": known.charge_with_refunds.encode(),
    }
    return Litestar([create_charge, get_charge], state=State(state), openapi_config=None, logging_config=None)


class Asgi:
    """The same without a framework: what uvicorn costs."""

    def __init__(self, known: Answers, merchants: dict[str, str]) -> None:
        self._merchants = merchants
        self._charge = known.charge.encode()
        self._charge_with_refunds = known.charge_with_refunds.encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or sha256(key).hexdigest() not in self._merchants:
            status, answer = 401, b""
        elif scope["method"] == "POST":
            decode(await self._body_of(receive))
            status, answer = 201, self._charge
        else:
            status, answer = 200, self._charge_with_refunds
        told = [(b"content-type", JSON.encode()), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": told})
        await send({"type": "http.response.body", "body": answer})

    async def _body_of(self, receive: Any) -> bytes:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                return body


def main(how: str, port: str, answers: str, secret_key: str) -> None:
    known = msgspec.json.decode(Path(answers).read_bytes(), type=Answers)
    merchants = {sha256(secret_key.encode()).hexdigest(): "mer_bench"}
    app = litestar(known, merchants) if how == "litestar" else Asgi(known, merchants)
    config = config_of(app, host="127.0.0.1", port=int(port))
    spare_the_collector()
    uvloop.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    main(*sys.argv[1:])
