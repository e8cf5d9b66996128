"""What is sent: prebuilt requests, the same for K-Payments and for the bare handler."""

import json

# The bare handler, which stores nothing, knows a replay by this. Keys of new charges begin otherwise.
KEPT_PREFIX = "kept"

# Stands for the Idempotency-Key in a template, and is as wide as the keys that replace it.
KEY = "@" * 24

# The example of the public document with everything that is optional: half a KiB.
CHARGE = {
    "amount": 4999,
    "currency": "USD",
    "source": {"number": "4242424242424242", "exp_month": 12, "exp_year": 2030, "cvc": "123"},
    "billing_address": {
        "line1": "1 Market St",
        "city": "San Francisco",
        "state": "CA",
        "postal_code": "94105",
        "country": "US",
    },
    "description": "Order #1024",
    "metadata": {"order": "1024", "customer": "cus_58213", "gift": False, "items": 3},
}


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
