"""What came back, in aiohttp's terms, and what it means."""

import asyncio
import codecs
import ssl

import aiohttp
from aiohttp.http import HttpProcessingError

from kpay_adapters.sender.guard import Refused
from kpay_core.domain.posts import MAX_KEPT_BYTES, Failure


class Answer(aiohttp.ClientResponse):
    """An answer whose reader hears of the connection's end, and which cuts the connection when closed too early."""

    _end: asyncio.Future[None] | None = None

    def watch(self) -> None:
        """See to it that reading ends where what follows the head is no HTTP: aiohttp would let the reader wait."""
        protocol = self.connection and self.connection.protocol
        if (
            protocol is None
        ):  # The whole answer is here, and the connection has gone back. (Idle protocols are falsy.)
            return
        self._end = protocol.closed
        if self._end is None:  # It is gone already.
            self._give_up()
        else:
            self._end.add_done_callback(self._give_up)

    def close(self) -> None:
        if self._end:
            self._end.remove_done_callback(self._give_up)
        # To close TLS politely takes asyncio up to 30 s, in which it goes on to read what the other side sends.
        if self.connection and self.connection.transport:
            self.connection.transport.abort()
        super().close()

    def _give_up(self, end: asyncio.Future[None] | None = None) -> None:
        if end and not end.cancelled():
            end.exception()  # Looked at, or asyncio logs that nobody did.
        if not self.content.is_eof() and self.content.exception() is None:
            self.content.set_exception(HttpProcessingError())


def text_of(kept: bytearray) -> str:
    """Read an answer as text, without the half of a character at the cut."""
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(kept, final=len(kept) < MAX_KEPT_BYTES)
    return text.replace("\0", "\ufffd")


def failure_of(error: Exception) -> Failure:
    """Say for what a post failed. What nobody thought of is a bug of ours, and told as that."""
    match error:
        case TimeoutError() if not isinstance(error, aiohttp.ClientError):
            return Failure.TIMED_OUT
        case aiohttp.ClientConnectorError(os_error=Refused()):
            return Failure.ADDRESS_REFUSED
        case aiohttp.ClientConnectorDNSError():
            return Failure.NAME_NOT_FOUND
        case aiohttp.ClientSSLError():
            return Failure.TLS_FAILED
        case aiohttp.ClientConnectorError(os_error=ConnectionResetError() | ConnectionAbortedError()):
            # It was accepted, and closed in the middle of the TLS handshake.
            return Failure.CONNECTION_LOST
        case aiohttp.ClientConnectorError():
            return Failure.CONNECTION_FAILED
        case aiohttp.ClientConnectionError(__cause__=ssl.SSLError()):
            # TLS 1.3 lets a server refuse us after the handshake.
            return Failure.TLS_FAILED
        case aiohttp.ClientPayloadError() | aiohttp.ClientConnectionError():
            return Failure.CONNECTION_LOST
        case aiohttp.ClientResponseError() | HttpProcessingError():
            return Failure.NOT_HTTP
        case _:
            return Failure.INTERRUPTED
