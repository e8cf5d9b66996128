"""What is sent: prebuilt requests, the same for K-Payments and for the bare handler."""

import json

from kpay_core.domain.examples import CHARGE

# The keys of the charges that a database is begun with, and of those whose answers are copied into it. Keys of new
# charges begin otherwise.
KEPT_PREFIX = "kept"
COLD_PREFIX = "cold"

# Stands for the Idempotency-Key in a template, and is as wide as the keys that replace it.
KEY = "@" * 24


def charge_request(secret_key: str, *, key: str = KEY) -> str:
    """Write a charge's request; without a key it is a template for requests that are all different."""
    body = json.dumps(CHARGE, separators=(",", ":"))
    return (
        "POST /v1/charges HTTP/1.1\r\n"
        "Host: 127.0.0.1\r\n"
        f"Authorization: Bearer {secret_key}\r\n"
        "Content-Type: application/json\r\n"
        f"Idempotency-Key: {key}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
        f"{body}"
    )


def get_request(secret_key: str, path: str) -> str:
    """Write the request for an object or a page of a list."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {secret_key}\r\n\r\n"


def key_number(prefix: str, number: int) -> str:
    """Name a key: the same width for all."""
    return prefix + f"{number:0{len(KEY) - len(prefix)}d}"
