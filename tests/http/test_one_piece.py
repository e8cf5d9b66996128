"""An answer's head and body leave together, and nothing that is written waits for long, or is lost."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from kpay_http.one_piece import OnePiece

pytestmark = pytest.mark.anyio


class Socket(asyncio.Transport):
    """What goes out, piece by piece; 10 bytes of it always wait for the client."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        assert not self.closed, "written after the end"
        self.pieces.append(data)

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def get_write_buffer_size(self) -> int:
        return 10

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


@pytest.fixture
async def socket() -> Socket:
    return Socket()


@pytest.fixture
async def transport(socket: Socket) -> OnePiece:
    return OnePiece(socket, call_soon=asyncio.get_running_loop().call_soon)


async def test_head_and_body_leave_in_one_piece_at_once(socket: Socket, transport: OnePiece) -> None:
    for number in (b"1", b"2"):
        transport.write(b"head" + number)
        assert socket.pieces[int(number) - 1 :] == []
        transport.write(b"body" + number)
    assert socket.pieces == [b"head1body1", b"head2body2"]
    await asyncio.sleep(0)
    assert len(socket.pieces) == 2


async def test_what_stays_alone_leaves_when_the_turn_is_over(socket: Socket, transport: OnePiece) -> None:
    transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    await asyncio.sleep(0)
    assert socket.pieces == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    transport.write(b"head")
    transport.write(b"body")
    assert socket.pieces[1:] == [b"headbody"]


async def test_closing_sends_what_waits_first(socket: Socket, transport: OnePiece) -> None:
    transport.write(b"head")
    transport.close()
    assert (socket.pieces, socket.closed, transport.is_closing()) == ([b"head"], True, True)
    await asyncio.sleep(0)
    assert socket.pieces == [b"head"]


@pytest.mark.parametrize("by_us", [True, False])
async def test_nothing_is_written_to_a_client_who_is_gone(
    socket: Socket, transport: OnePiece, by_us: bool
) -> None:
    transport.write(b"head")
    (transport if by_us else socket).abort()
    await asyncio.sleep(0)
    assert socket.pieces == []


async def test_what_waits_here_counts_as_waiting_for_the_client(transport: OnePiece) -> None:
    assert transport.get_write_buffer_size() == 10
    transport.write(b"head")
    assert transport.get_write_buffer_size() == 14
    transport.write(b"body")
    assert transport.get_write_buffer_size() == 10
