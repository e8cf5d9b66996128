"""What goes out, what counts as a success, and how connections are used again."""

import asyncio

import pytest
from aiohttp.abc import ResolveResult

from kpay_adapters.sender import Sender
from kpay_core.domain.posts import MAX_KEPT_BYTES, MAX_READ_BYTES, Failure
from tests.sender.conftest import Receive
from tests.sender.receivers import HEADERS, OK, Directory, Line, always_ok, answering, post_to, send

pytestmark = pytest.mark.anyio

SMALL = b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n"


async def test_exactly_the_headers_of_the_post_go_out_and_what_http_needs(
    sender: Sender, receive: Receive
) -> None:
    receiver = await receive(always_ok)
    await send(sender, receiver.url, body=b'{"a": 1}')
    ((line, fields, body),) = receiver.requests
    assert line == "POST /hooks HTTP/1.1"
    assert fields == {**HEADERS, "Host": f"127.0.0.1:{receiver.port}", "Content-Length": "8"}
    assert body == b'{"a": 1}'


@pytest.mark.parametrize(
    "target", ["/a%2Fb/%7e/../c?x=%zz&y=1+2&x=%20", "/{a}|b?'\"=<>", "//x", "/%E2%82%AC;v=1"]
)
async def test_a_url_goes_out_as_it_is_stored(sender: Sender, receive: Receive, target: str) -> None:
    receiver = await receive(always_ok)
    await send(sender, receiver.url.replace("/hooks", target))
    assert receiver.requests[0][0] == f"POST {target} HTTP/1.1"


async def test_a_url_without_a_path_asks_for_the_root(sender: Sender, receive: Receive) -> None:
    receiver = await receive(always_ok)
    await send(sender, receiver.url.replace("/hooks", "?a=b"))
    assert receiver.requests[0][0] == "POST /?a=b HTTP/1.1"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 226, 299])
async def test_any_2xx_is_a_success(sender: Sender, receive: Receive, status: int) -> None:
    receiver = await receive(answering(SMALL % status))
    reply = await send(sender, receiver.url)
    assert (reply.status, reply.failure) == (status, None)


@pytest.mark.parametrize("status", [101, 400, 401, 404, 410, 429, 500, 503, 600, 999])
async def test_any_other_status_is_a_refusal(sender: Sender, receive: Receive, status: int) -> None:
    receiver = await receive(answering(SMALL % status))
    reply = await send(sender, receiver.url)
    assert (reply.status, reply.failure) == (status, Failure.REFUSED)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"ok", "ok"),
        (b"", ""),
        ("grüße €".encode(), "grüße €"),
        (b"a\0b\xffc\xe2\x82", "a�b�c�"),
        (b"\x1f\x8b\x08\x00", "\x1f�\x08�"),
        (b"x" * (MAX_KEPT_BYTES - 1) + "€".encode(), "x" * (MAX_KEPT_BYTES - 1)),
    ],
)
async def test_an_answer_is_kept_as_text(sender: Sender, receive: Receive, answer: bytes, text: str) -> None:
    receiver = await receive(
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
    )
    reply = await send(sender, receiver.url)
    assert (reply.failure, reply.answer) == (None, text)


async def test_only_the_first_16_kib_of_an_answer_are_kept(sender: Sender, receive: Receive) -> None:
    body = b"y" * MAX_READ_BYTES
    receiver = await receive(answering(b"HTTP/1.1 500 X\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)))
    reply = await send(sender, receiver.url)
    assert reply.answer == "y" * MAX_KEPT_BYTES


async def test_a_connection_is_used_again(sender: Sender, receive: Receive) -> None:
    receiver = await receive(always_ok)
    for _ in range(5):
        assert (await send(sender, receiver.url)).failure is None
    assert (receiver.connections, len(receiver.requests)) == (1, 5)


async def test_posts_do_not_wait_for_each_other(sender: Sender, receive: Receive) -> None:
    everybody_is_here = asyncio.Event()

    async def meet(line: Line) -> None:
        await line.read()
        if line.receiver.connections == 20:
            everybody_is_here.set()
        await everybody_is_here.wait()
        await line.write(OK)

    receiver = await receive(meet)
    courier = sender.courier()
    for number in range(20):
        courier.send(post_to(receiver.url, key=str(number)))
    replies = []
    while len(replies) < 20:
        replies += await courier.replies(seconds=5)
    assert {reply.key for reply in replies} == {str(number) for number in range(20)}
    assert all(reply.failure is None for reply in replies)


async def test_posts_to_one_name_share_a_look_up_and_no_answer_is_kept(receive: Receive) -> None:
    class Slow(Directory):
        async def resolve(self, host: str, port: int = 0, family: object = 0) -> list[ResolveResult]:
            found = await super().resolve(host, port)
            await asyncio.sleep(0.05)
            return found

    receiver = await receive(answering(OK))
    directory = Slow({"localhost": [["127.0.0.1"]]})
    url = f"http://localhost:{receiver.port}/"
    async with Sender(local=True, resolver=directory) as sender:
        replies = await asyncio.gather(*(send(sender, url) for _ in range(8)))
        assert [reply.failure for reply in replies] == [None] * 8
        assert len(directory.asked) == 1
        await send(sender, url)
        assert len(directory.asked) == 2


async def close_the_second_time(line: Line) -> None:
    """Answer once; then close without a word when the next request comes, as if both had crossed on the way."""
    await line.read()
    await line.write(OK)
    await line.read()


async def test_a_post_on_a_connection_that_was_just_closed_is_tried_once_more(
    sender: Sender, receive: Receive
) -> None:
    receiver = await receive(close_the_second_time)
    await send(sender, receiver.url)
    reply = await send(sender, receiver.url)
    assert (reply.failure, receiver.connections) == (None, 2)


async def test_a_post_on_a_connection_that_was_just_reset_is_tried_once_more(
    sender: Sender, receive: Receive
) -> None:
    async def reset_the_second_time(line: Line) -> None:
        await close_the_second_time(line)
        line.reset()

    receiver = await receive(reset_the_second_time)
    await send(sender, receiver.url)
    assert (await send(sender, receiver.url)).failure is None


async def test_a_post_is_tried_once_more_and_no_more(sender: Sender, receive: Receive) -> None:
    async def never_again(line: Line) -> None:
        await line.read()
        if len(line.receiver.requests) <= 2:
            # Both first posts are answered at the same time, so that two connections are idle.
            await asyncio.sleep(0.05)
            await line.write(OK)
            await line.read()

    receiver = await receive(never_again)
    await asyncio.gather(send(sender, receiver.url), send(sender, receiver.url))
    reply = await send(sender, receiver.url)
    assert reply.failure is Failure.CONNECTION_LOST
    # The other idle connection was left alone: it may be just as dead.
    assert (len(receiver.requests), receiver.connections) == (4, 3)


async def test_a_post_on_a_new_connection_is_not_repeated(sender: Sender, receive: Receive) -> None:
    receiver = await receive(answering(b""))
    assert (await send(sender, receiver.url)).failure is Failure.CONNECTION_LOST
    assert len(receiver.requests) == 1


async def test_a_post_that_was_answered_in_part_is_not_repeated(sender: Sender, receive: Receive) -> None:
    receiver = await receive(answering(OK, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"))
    await send(sender, receiver.url)
    reply = await send(sender, receiver.url)
    assert (reply.failure, reply.status, reply.answer) == (Failure.CONNECTION_LOST, 200, "half")
    assert len(receiver.requests) == 2


async def test_cookies_are_forgotten(sender: Sender, receive: Receive) -> None:
    cookie = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n"
    receiver = await receive(answering(cookie, cookie))
    await send(sender, receiver.url)
    await send(sender, receiver.url)
    assert "Cookie" not in receiver.requests[1][1]


async def test_proxies_and_passwords_of_the_environment_are_ignored(
    receive: Receive, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    proxy = await receive(always_ok)
    receiver = await receive(always_ok)
    netrc = f"{tmp_path}/netrc"
    with open(netrc, "w") as file:  # noqa: ASYNC230, PTH123 a few bytes
        file.write("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", netrc)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    async with Sender(local=True) as sender:
        assert (await send(sender, receiver.url)).failure is None
    assert proxy.connections == 0
    assert "Authorization" not in receiver.requests[0][1]


async def test_a_reply_says_how_long_it_took(sender: Sender, receive: Receive) -> None:
    async def slowly(line: Line) -> None:
        await line.read()
        await asyncio.sleep(0.1)
        await line.write(OK)

    receiver = await receive(slowly)
    assert 100 <= (await send(sender, receiver.url)).milliseconds < 5000
