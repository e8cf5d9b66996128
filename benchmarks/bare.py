"""
The bare peer: what Litestar and uvicorn cost by themselves, with the same bodies and the same check of the key.

    python -m benchmarks.bare PORT ANSWERS SECRET_KEY

It hashes the key and looks the hash up in a dict, reads and decodes the body, and answers with bytes that K-Payments
answered before. It checks, stores, logs and counts nothing: no API on this framework can be faster.
"""

import sys
from hashlib import sha256
from pathlib import Path

import msgspec
import uvicorn
import uvloop
from litestar import Litestar, Response, get, post
from litestar.datastructures import State
from litestar.exceptions import NotAuthorizedException

from benchmarks.samples import KEPT_PREFIX
from kpay_http.calls import AnyRequest
from kpay_http.server import config_of

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
    replayed = request.headers.get("idempotency-key", "").startswith(KEPT_PREFIX)
    headers = {"Idempotent-Replayed": "true"} if replayed else {}
    return Response(request.app.state.charge, status_code=201, media_type=JSON, headers=headers)


@get("/v1/charges/{id:str}")
async def get_charge(request: AnyRequest) -> Response[bytes]:
    check_key(request)
    return Response(request.app.state.charge_with_refunds, media_type=JSON)


def main(port: str, answers: str, secret_key: str) -> None:
    known = msgspec.json.decode(Path(answers).read_bytes(), type=Answers)
    state = {
        "merchants": {sha256(secret_key.encode()).hexdigest(): "mer_bench"},
        "charge": known.charge.encode(),
        "charge_with_refunds": known.charge_with_refunds.encode(),
    }
    app = Litestar([create_charge, get_charge], state=State(state), openapi_config=None, logging_config=None)
    config = config_of(app, host="127.0.0.1", port=int(port))
    uvloop.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    main(*sys.argv[1:])
