"""
The peer of the deliveries: a bare aiohttp loop that signs the same body anew and posts it, and does nothing else.

    python -m benchmarks.programs.posting URL EVENT_FILE SECONDS
"""

import asyncio
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import msgspec
import uvloop

from kpay_core.domain.posts import make_post

# As many at a time as a worker has on their way to 64 endpoints.
CLIENTS = 512
SECRET = "whsec_" + "x" * 43


class Posted(msgspec.Struct, kw_only=True):
    """What came of it: posts a second, and processor time in microseconds for each."""

    rate: float
    cpu_us: float


async def post_for(seconds: float, url: str, body: str) -> Posted:
    posts = 0
    until = time.perf_counter() + seconds

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal posts
        while time.perf_counter() < until:
            now = datetime.now(UTC)
            post = make_post(key="", url=url, event="evt_bare", body=body, secrets=[SECRET], now=now)
            async with session.post(post.url, data=post.body, headers=post.headers) as answer:
                await answer.read()
            posts += 1

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        began, used = time.perf_counter(), time.process_time()
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))
    each = 1e6 / posts
    return Posted(rate=posts / (time.perf_counter() - began), cpu_us=(time.process_time() - used) * each)


def main() -> None:
    url, event, seconds = sys.argv[1:]
    posted = uvloop.run(post_for(float(seconds), url, Path(event).read_text()))
    with open(sys.stdout.fileno(), "wb", closefd=False) as output:
        output.write(msgspec.json.encode(posted))


if __name__ == "__main__":
    main()
