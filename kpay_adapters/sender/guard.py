"""
Which addresses may be dialled, and how names become addresses.

The guard against reaching into our own network is where a socket is made, because only there the address that is
really dialled is known: a URL may have it as a literal, and a name may resolve to something else each time (DNS
rebinding). Names are filtered too, so that a bad address beside a good one does no harm.
"""

import asyncio
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from aiohttp.abc import AbstractResolver, ResolveResult

from kpay_core.domain.addresses import is_admitted

# Addresses of a name that are tried, of each family. Without a limit a name with hundreds of addresses would have us
# knock at each of them many times: aiohttp starts over after every failure, with one address less.
ADDRESSES_TRIED = 3

# A name server that never answers holds a thread for 10 s and more, and cannot be interrupted. Posts to one name share
# a look-up, so that many names have to be stuck before others wait.
LOOK_UPS_AT_ONCE = 64


class Refused(OSError):
    """An address that may not be dialled. It is an OSError, so that aiohttp goes on with the next address."""

    def __init__(self) -> None:
        # One text for all: aiohttp merges errors that read the same, and hides those that differ.
        super().__init__("not a public address")


class Names(AbstractResolver):
    """Looks up names and returns only addresses that may be dialled, a few; `Refused` where there are only others."""

    def __init__(self, local: bool, resolver: AbstractResolver | None) -> None:
        self._local = local
        self._resolver = resolver
        # asyncio's own threads are few, and shared with everybody else in the process.
        self._threads = ThreadPoolExecutor(LOOK_UPS_AT_ONCE, "kpay-names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        look_up = self._resolver.resolve if self._resolver else self._look_up
        allowed: list[ResolveResult] = []
        families: Counter[bool] = Counter()
        for each in await look_up(host, port, family):
            is_v6 = ":" in each["host"]
            if is_admitted(each["host"], local=self._local) and families[is_v6] < ADDRESSES_TRIED:
                families[is_v6] += 1
                allowed.append(each)
        if not allowed:
            raise Refused
        return allowed

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._resolver:
            await self._resolver.close()

    async def _look_up(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, protocol, _, address in found
        ]
