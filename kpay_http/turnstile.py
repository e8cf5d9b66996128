"""Work passes through side by side, or one thing alone."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Self


class Turnstile:
    """
    A gate for whatever changes something: any number are inside at once, until one wants to be alone.

    Who wants to be alone waits for those inside, and those who come meanwhile wait for him.
    """

    def __init__(self) -> None:
        self._inside = 0
        self._open = asyncio.Event()
        self._open.set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._alone = asyncio.Lock()

    def passing(self) -> Self:
        """Be inside with others, for as long as one is in its block."""
        return self

    async def __aenter__(self) -> None:
        # Again, because it may have been closed anew before we got our turn.
        while not self._open.is_set():
            await self._open.wait()
        self._inside += 1
        self._empty.clear()

    async def __aexit__(self, *_: object) -> None:
        self._inside -= 1
        if not self._inside:
            self._empty.set()

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[None]:
        """Be inside alone."""
        async with self._alone:
            self._open.clear()
            try:
                await self._empty.wait()
                yield
            finally:
                self._open.set()
