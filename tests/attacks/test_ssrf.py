"""
Endpoints that would have us reach into our own network: refused when they are registered, and not dialled when one is
there all the same. The spellings are those of `tests.attacks.spellings`; what a single address or URL is, is in the
tests of `kpay_core.domain.addresses`, and how a sender guards its sockets in those of the sender.
"""

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from random import Random

import pytest
from yarl import URL

from kpay_adapters.sender import Sender
from kpay_core.domain.addresses import check_url, is_public
from kpay_core.domain.endpoints import Endpoint
from kpay_core.domain.posts import Failure
from kpay_core.domain.text import is_plain
from kpay_core.query import Query
from tests.attacks.spellings import BAD_URLS, GOOD_URLS, NAMES_INSIDE, NOT_PUBLIC
from tests.http.world import HOOKS, Client, World, field_errors
from tests.sender.conftest import Dialled
from tests.sender.receivers import Directory, send

BAD = [(message, url) for message, urls in BAD_URLS.items() for url in urls]

# What JSON can carry of them: no NUL, and no half of a surrogate pair.
SENDABLE = [(message, url) for message, url in BAD if is_plain(url)]

INSIDE = [
    each for addresses in NOT_PUBLIC.values() for each in addresses.split() if each[0] in "0123456789abcdef:"
]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with World() as world:
        yield world.client(world.merchant().test)


def endpoints(client: Client) -> list[str]:
    """The URLs that are stored."""
    question = Query(kind=Endpoint, limit=1000)
    return [endpoint.url for endpoint in client.world.run(client.world.kpay.store.find(question))]


def test_no_bad_url_is_registered_in_whatever_spelling(client: Client) -> None:
    before = endpoints(client)
    for message, url in SENDABLE:
        assert field_errors(client.register(url=url)) == {"url": [message]}, url
    assert endpoints(client) == before


def test_no_endpoint_is_moved_to_a_bad_url(client: Client) -> None:
    path = f"/v1/webhook_endpoints/{client.registered()['id']}"
    for message, url in SENDABLE:
        refused = client.patch(path, {"url": url, "status": "disabled"})
        assert field_errors(refused) == {"url": [message]}, url
    shown = client.get(path).json()
    assert (shown["url"], shown["status"]) == (HOOKS, "enabled")


@pytest.mark.anyio
async def test_no_bad_url_that_is_stored_all_the_same_is_dialled(dialled: Dialled) -> None:
    """It may have been registered by a process that admits more, or by a version that knew less."""
    everything_inside = Inside()
    async with Sender(resolver=everything_inside) as sender:
        for _, url in BAD:
            assert (await send(sender, url)).failure is Failure.ADDRESS_REFUSED, url
    assert (dialled, everything_inside.asked) == ([], [])


class Inside(Directory):
    """A name server for which every name is this machine's."""

    def __init__(self) -> None:
        super().__init__({})

    async def resolve(self, host, port=0, family=0):  # type: ignore[no-untyped-def]
        self._names[host] = [["127.0.0.1", "::1"]]
        return await super().resolve(host, port, family)


@pytest.mark.anyio
async def test_a_name_that_leads_inside_is_not_followed(dialled: Dialled) -> None:
    directory = Directory({name: [[address]] for name, address in NAMES_INSIDE.items()})
    async with Sender(resolver=directory) as sender:
        for name in NAMES_INSIDE:
            reply = await send(sender, f"https://{name}/")
            assert (reply.failure, reply.status) == (Failure.ADDRESS_REFUSED, None), name
    assert dialled == []


@pytest.mark.anyio
async def test_a_name_of_any_address_inside_is_not_followed(dialled: Dialled) -> None:
    names = {f"n{number}.example.com": address for number, address in enumerate(INSIDE)}
    assert len(names) > 80
    async with Sender(resolver=Directory({name: [[address]] for name, address in names.items()})) as sender:
        for name, address in names.items():
            assert (await send(sender, f"https://{name}/")).failure is Failure.ADDRESS_REFUSED, address
    assert dialled == []


PIECES = [
    *"abz019.:/@?#[]%\\-_~!$&'()*+,;= \t",
    *[
        "%2e",
        "%40",
        "%23",
        "%00",
        "0x7f",
        "127.0.0.1",
        "[::1]",
        "localhost",
        "xn--",
        "://",
        "169.254.169.254",
    ],
    *["\u3002", "\uff0e", "\u2024", "\u00ad", "\u200b", "\u217c", "\u0130"],
]


def odd_urls(*, seed: int, count: int) -> Iterator[str]:
    """Good and bad URLs with something put in, left out, or taken from another."""
    random = Random(seed)
    urls = [*GOOD_URLS, *(url for _, url in BAD)]
    for _ in range(count):
        url = random.choice(urls)
        for _ in range(random.choice((1, 1, 2, 3))):
            place = random.randint(0, len(url))
            other = random.choice(urls)
            pieces = (
                random.choice(PIECES) + url[place:],
                url[place + 1 :],
                other[random.randint(0, len(other)) :],
            )
            url = url[:place] + random.choice(pieces)
        yield url


def test_what_is_checked_is_what_is_dialled() -> None:
    """The URL that passes our eyes and the URL that the client library takes apart have one host and one port."""
    admitted = 0
    for url in odd_urls(seed=1, count=20_000):
        if check_url(url) is not None:
            continue
        admitted += 1
        seen = URL(url, encoded=True)
        host = seen.raw_host
        assert host, url
        assert f"https://{host.lower()}" in url.lower().replace("[", ""), url
        assert (seen.scheme, seen.user, seen.password, seen.fragment) == ("https", None, None, ""), url
        assert seen.port == 443 or re.search(rf":0*{seen.port}([/?]|$)", url), url
        if address := literal(host):
            assert is_public(str(address)), url
    assert admitted > 1000


def literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
