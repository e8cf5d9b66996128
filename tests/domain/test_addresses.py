"""Which addresses are public, and which URLs an endpoint may have: by name, and by property."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kpay_core.domain.addresses import (
    REFUSED_V4,
    REFUSED_V6,
    check_url,
    is_loopback,
    is_public,
)
from tests.attacks.spellings import BAD_URLS, GOOD_URLS, NOT_PUBLIC, PUBLIC

V4 = st.integers(0, 2**32 - 1).map(IPv4Address)
V6 = st.integers(0, 2**128 - 1).map(IPv6Address)


@pytest.mark.parametrize("address", PUBLIC)
def test_global_unicast_is_public(address: str) -> None:
    assert is_public(address)
    assert not is_loopback(address)


@pytest.mark.parametrize(
    ("kind", "address"),
    [(kind, each) for kind, addresses in NOT_PUBLIC.items() for each in addresses.split()],
)
def test_what_is_special_is_not_public(kind: str, address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "text", ["", " ", "1.1.1.1 ", " 1.1.1.1", "1.1.1.1\n", "1.1.1.1\0", "::ffff", "\ud800"]
)
def test_what_is_no_address_is_not_public(text: str) -> None:
    assert not is_public(text)
    assert not is_loopback(text)


def test_loopback_is_this_machine_in_no_disguise() -> None:
    assert all(is_loopback(each) for each in ("127.0.0.1", "127.255.255.255", "::1", "0:0::1"))
    disguised = (
        "0.0.0.0 126.0.0.1 128.0.0.1 :: ::2 ::ffff:127.0.0.1 ::127.0.0.1 64:ff9b::7f00:1 ::1%lo 2002:7f00:1::"
    )
    assert not any(is_loopback(each) for each in disguised.split())


@given(data=st.data())
@pytest.mark.parametrize("block", [*REFUSED_V4, *REFUSED_V6], ids=str)
def test_every_address_in_a_refused_block_is_refused(
    block: IPv4Network | IPv6Network, data: st.DataObject
) -> None:
    offset = data.draw(st.integers(0, block.num_addresses - 1))
    for address in (block[0], block[offset], block[-1]):
        assert not is_public(str(address))


@given(v4=V4)
@example(v4=IPv4Address("8.8.8.8"))
@example(v4=IPv4Address("127.0.0.1"))
def test_every_ipv4_address_in_disguise_is_refused(v4: IPv4Address) -> None:
    number = int(v4)
    disguises = {
        "mapped": 0xFFFF << 32 | number,
        "compatible": number,
        "translated": 0xFFFF << 48 | number,
        "NAT64": 0x64FF9B << 96 | number,
        "local NAT64": 0x64FF9B0001 << 80 | number,
        "6to4": 0x2002 << 112 | number << 80 | 1,
        "Teredo server": 0x20010000 << 96 | number << 64,
        "Teredo client": 0x20010000 << 96 | number ^ 0xFFFFFFFF,
    }
    for name, disguise in disguises.items():
        assert not is_public(str(IPv6Address(disguise))), name


@given(v4=V4, prefix=st.integers(0x2600 << 48, 0x2FFF << 48), unique=st.booleans())
@example(v4=IPv4Address("10.0.0.1"), prefix=0x2600 << 48, unique=True)
@example(v4=IPv4Address("8.8.8.8"), prefix=0x2600 << 48, unique=False)
def test_an_isatap_address_is_as_public_as_the_one_inside(v4: IPv4Address, prefix: int, unique: bool) -> None:
    identifier = (0x0200_5EFE if unique else 0x5EFE) << 32 | int(v4)
    address = IPv6Address(prefix << 64 | identifier)
    in_refused = any(address in block for block in REFUSED_V6)
    assert is_public(str(address)) == (is_public(str(v4)) and not in_refused)


@given(address=V4 | V6 | st.integers(0x2000 << 112, (0x4000 << 112) - 1).map(IPv6Address))
def test_whatever_the_standard_library_knows_as_special_is_refused(
    address: IPv4Address | IPv6Address,
) -> None:
    special = (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
        or not address.is_global
    )
    if special:
        assert not is_public(str(address))
    assert is_loopback(str(address)) <= address.is_loopback


@given(text=st.text(max_size=60) | st.from_regex(r"[0-9a-fA-F:.%]{0,50}"))
def test_any_text_has_an_answer_and_only_addresses_a_good_one(text: str) -> None:
    if is_public(text) or is_loopback(text):
        assert ip_address(text)


@pytest.mark.parametrize("url", GOOD_URLS)
def test_a_good_url_is_admitted(url: str) -> None:
    assert check_url(url) is None
    assert check_url(url, local=True) is None
    assert check_url(url.replace("https", "http", 1), local=True) is None or url.startswith("HTTPS")


@pytest.mark.parametrize(
    ("message", "url"), [(message, url) for message, urls in BAD_URLS.items() for url in urls]
)
def test_a_bad_url_is_told_what_is_wrong(message: str, url: str) -> None:
    assert check_url(url) == message


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000/hooks",
        "https://localhost/",
        "http://a.localhost./",
        "http://127.0.0.1:8000/",
        "http://127.9.9.9/",
        "http://[::1]:8000/",
        "http://example.com/",
    ],
)
def test_development_admits_http_and_loopback(url: str) -> None:
    assert check_url(url, local=True) is None
    assert check_url(url) is not None


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://localhost/", "must be http or https"),
        ("http://127.1/", "malformed address"),
        ("http://2130706433/", "malformed address"),
        ("http://10.0.0.1/", "not a public address"),
        ("http://0.0.0.0/", "not a public address"),
        ("http://169.254.169.254/", "not a public address"),
        ("http://[::ffff:127.0.0.1]/", "not a public address"),
        ("http://[::]/", "not a public address"),
        ("http://metadata.google.internal/", "not a public name"),
        ("http://user@localhost/", "no user info"),
        ("http://localhost/#a", "no fragment"),
    ],
)
def test_development_admits_nothing_else(url: str, message: str) -> None:
    assert check_url(url, local=True) == message


PIECES = st.lists(
    st.sampled_from(
        ["https:", "http:", "//", "/", "@", ":", "[", "]", ".", "127", "0x7f", "::1", "%", "?", "a.b", "é"]
    )
    | st.text(max_size=3),
    max_size=12,
).map("".join)


@given(url=st.text() | PIECES | PIECES.map("https://{}".format), local=st.booleans())
def test_any_text_for_a_url_has_an_answer(url: str, local: bool) -> None:
    wrong = check_url(url, local=local)
    assert wrong is None or 0 < len(wrong) < 60
    if wrong is None:
        assert url.isascii()
        assert "@" not in url.split("/")[2]


@given(address=V4 | V6)
def test_a_url_admits_an_address_exactly_if_it_is_public(address: IPv4Address | IPv6Address) -> None:
    host = f"[{address}]" if address.version == 6 else str(address)
    assert (check_url(f"https://{host}/") is None) == is_public(str(address))
