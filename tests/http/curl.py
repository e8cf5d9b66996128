"""Reads the curl lines of the public document, so that tests send exactly what it prints."""

import shlex
from typing import Any

import httpx

from tests.http.world import BASE_URL, Client

PUBLIC_URL = "https://api.k-payments.com"


def send(client: Client, line: str, *, key: str, **replaced: str) -> httpx.Response:
    """
    Send a curl line with a real key for `sk_test_...`, and real values for what the document cuts short:
    `charge_id` for `c8b3e1a4-...`, `refund_id` for `re_9f...`, `endpoint_id` for `we_...`, `event_id` for `evt_...`,
    `payout_id` for `po_...`.
    """
    cut_short = {
        "charge_id": "c8b3e1a4-...",
        "refund_id": "re_9f...",
        "endpoint_id": "we_...",
        "event_id": "evt_...",
        "payout_id": "po_...",
    }
    line = line.replace("sk_test_...", key)
    for name, value in replaced.items():
        assert cut_short[name] in line
        line = line.replace(cut_short[name], value)
    method, url, headers, body = None, "", [], None
    words = iter(shlex.split(line.replace("\\\n", " "))[1:])
    for word in words:
        match word:
            case "-H":
                name, _, value = next(words).partition(": ")
                headers.append((name, value))
            case "-d":
                body = next(words)
            case "-X":
                method = next(words)
            case _:
                url = word
    assert url.startswith(PUBLIC_URL)
    path = url.removeprefix(PUBLIC_URL)
    method = method or ("GET" if body is None else "POST")
    options: dict[str, Any] = {"content": body.encode()} if body is not None else {}
    bare = client.world.client()
    return bare.send(method, BASE_URL + path, headers=headers, **options)
