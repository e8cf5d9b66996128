"""Which addresses are public, and which URLs an endpoint may have: by name, and by property."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kpay_core.domain.addresses import (
    MAX_URL_LENGTH,
    REFUSED_V4,
    REFUSED_V6,
    check_url,
    is_loopback,
    is_public,
)

PUBLIC = """
    1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 93.184.215.14 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
    168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255
    192.169.0.0 198.17.255.255 198.20.0.0 203.0.112.255 203.0.114.0 223.255.255.255
    2000:: 2001:200:: 2001:4860:4860::8888 2001:db7:ffff::1 2001:db9:: 2003:: 2606:4700:4700::1111 2a00:1450::1
    2606:4700::5efe:8.8.8.8 2606:4700::200:5efe:8.8.8.8 3ffd:ffff:: 3fff:1000:: 3fff:ffff::1
""".split()

NOT_PUBLIC = {
    "this network": "0.0.0.0 0.1.2.3",
    "private": "10.0.0.0 10.255.255.255 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255",
    "provider's NAT": "100.64.0.0 100.100.100.200 100.127.255.255",
    "loopback": "127.0.0.1 127.255.255.255 ::1",
    "metadata": "169.254.169.254 169.254.170.2 168.63.129.16 192.0.0.192 fd00:ec2::254 fd20:ce::254",
    "link-local": "169.254.0.0 169.254.255.255 fe80::1 fe80::1%eth0 fe80::1%1 febf:ffff::",
    "assignments": "192.0.0.0 192.0.0.9 192.0.0.170 192.0.0.255 2001::1 2001:1::1 2001:1ff:ffff::",
    "documentation": "192.0.2.1 198.51.100.1 203.0.113.1 2001:db8::1 2001:db8:ffff::1 3fff::1 3fff:fff:ffff::1",
    "anycast for others": "192.31.196.1 192.52.193.1 192.175.48.1 192.88.99.1 2620:4f:8000::1 2001:4:112::1",
    "benchmarks": "198.18.0.0 198.19.255.255 2001:2::1",
    "multicast": "224.0.0.1 239.255.255.255 ff02::1 ff0e::1 ffff::1",
    "reserved": "240.0.0.0 255.255.255.254 255.255.255.255 4000::1 8000::1 1fff:ffff:: 100::1 200::1",
    "unspecified": "::",
    "IPv4-mapped": "::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:8.8.8.8 ::ffff:7f00:1 ::ffff:0:8.8.8.8",
    "IPv4-compatible": "::127.0.0.1 ::10.0.0.1 ::8.8.8.8",
    "NAT64": "64:ff9b::127.0.0.1 64:ff9b::8.8.8.8 64:ff9b::a9fe:a9fe 64:ff9b:1::7f00:1 64:ff9b:1:ffff::1",
    "6to4": "2002:7f00:1:: 2002:a9fe:a9fe::1 2002:808:808::",
    "Teredo": "2001:0:7f00:1:: 2001:0:808:808::80ff:fffe",
    "ISATAP": "2606:4700::5efe:127.0.0.1 2606:4700::200:5efe:10.0.0.1 fe80::5efe:8.8.8.8 2a00::5efe:a9fe:a9fe",
    "SRv6": "5f00::1 5f00:ffff::",
    "unique local": "fc00::1 fdff:ffff::",
    "site-local": "fec0::1 feff:ffff::",
    "6bone": "3ffe::1",
    "a zone": "2606:4700:4700::1111%eth0",
    "no address": "localhost example.com 1 127.1 0x7f000001 0177.0.0.1 2130706433 1.1.1.1.1 1.1.1.256 01.1.1.1",
    "no address either": "[::1] ::1/128 1.1.1.1/32 1::2::3 :::1 g::1 1.1.1.1:80 fe80::1% \u0661.\u0661.\u0661.\u0661",
}

TOO_LONG = f"https://example.com/{'a' * MAX_URL_LENGTH}"
LONG_LABEL = "a" * 64
LONG_NAME = ".".join(["a" * 50] * 5)

GOOD_URLS = [
    "https://example.com",
    "https://example.com/",
    "https://example.com:443/hooks",
    "https://example.com:1/",
    "https://example.com:65535/",
    "https://example.com?a=b",
    "https://example.com/?a=b&c=d",
    "https://example.com/a%20b?c=%23",
    "https://example.com/a@b:c",
    "https://example.com/?u=http://127.0.0.1/",
    "https://example.com//x",
    "HTTPS://EXAMPLE.COM/",
    "https://example.com./",
    "https://hooks.shop.example.co.uk/k-payments",
    "https://a_b.example.com/",
    "https://_x.example.com/",
    "https://a--b.example.com/",
    "https://xn--bcher-kva.example/",
    "https://example.xn--p1ai/",
    "https://1.example.com/",
    "https://1.2.3.example/",
    "https://127.0.0.1.example.com/",
    "https://0x7f.example/",
    "https://1e100.net/",
    "https://example.0xg/",
    "https://localhost.example.com/",
    "https://notlocalhost/",
    "https://mylocal/",
    "https://internal.example.com/",
    "https://xinternal/",
    f"https://{'a' * 63}.example/",
    "https://8.8.8.8/",
    "https://8.8.8.8:8443/x",
    "https://[2606:4700:4700::1111]/",
    "https://[2606:4700:4700::1111]:8443/x",
    "https://[2606:4700:4700:0:0:0:0:1111]/",
    f"https://example.com/{'a' * (MAX_URL_LENGTH - 20)}",
]

BAD_URLS = {
    f"at most {MAX_URL_LENGTH} characters": [TOO_LONG],
    "must be https": [
        "",
        "example.com",
        "//example.com",
        "/hooks",
        "http://example.com",
        "HTTP://example.com",
        "ftp://example.com",
        "file:///etc/passwd",
        "gopher://example.com",
        "javascript:alert(1)",
        "httpss://example.com",
        "https//example.com",
        "://example.com",
        "1https://example.com",
    ],
    "no spaces, control characters or backslashes": [
        " https://example.com",
        "https://example.com ",
        "https://exa mple.com",
        "https://example.com/a b",
        "https://example.com\t",
        "ht\ttps://example.com",
        "https://example.com\r\nHost: x",
        "https://example.com/\n",
        "https://example.com\0",
        "https://example.com\x7f",
        "https://example.com\\@127.0.0.1",
        "https:\\\\example.com",
        "https://example.com/a\\b",
    ],
    "no fragment": ["https://example.com#", "https://example.com/#a", "https://example.com#@127.0.0.1/", "#"],
    "no user info": [
        "https://user@example.com",
        "https://user:password@example.com",
        "https://@example.com",
        "https://:@example.com",
        "https://example.com@127.0.0.1",
        "https://example.com:443@127.0.0.1",
        "https://a@b@example.com",
    ],
    "no host": [
        "https://",
        "https:///hooks",
        "https://?a",
        "https://:443/",
        "https:",
        "https:example.com",
        "https:/a.b",
    ],
    "the host must be written in punycode": [
        "https://bücher.example/",
        "https://пример.рф",
        "https://127。0。0。1/",
        "https://①②⑦.0.0.1/",
        "https://\uff11\uff12\uff17.0.0.1/",
        "https://exa\u00admple.com/",
        "https://ⓛocalhost/",
        "https://\ud800/",
    ],
    "must be ASCII, other characters percent-encoded": ["https://example.com/ü", "https://example.com?q=€"],
    "port must be between 1 and 65535": [
        "https://example.com:",
        "https://example.com:0",
        "https://example.com:65536",
        "https://example.com:-1",
        "https://example.com:+1",
        "https://example.com:4_4",
        "https://example.com:443:443",
        "https://example.com:x",
        "https://example.com:000443",
        "https://::1/",
        "https://::1]",
        "https://2606:4700::1111/",
        "https://[2606:4700:4700::1111]:/",
    ],
    "no percent sign in the host": [
        "https://%31%32%37.0.0.1/",
        "https://127.0.0%2e1/",
        "https://exa%6dple.com/",
        "https://example.com%00.evil.com/",
        "https://example.com%2f",
        "https://[fe80::1%25eth0]/",
        "https://[fe80::1%eth0]/",
    ],
    "malformed address": [
        "https://2130706433/",
        "https://134744072/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://0X7F.0.0.1/",
        "https://0177.0.0.1/",
        "https://017700000001/",
        "https://127.1/",
        "https://127.0.1/",
        "https://8.8.8/",
        "https://0/",
        "https://0x/",
        "https://08.8.8.8/",
        "https://8.8.8.8./",
        "https://127.0.0.1./",
        "https://8.8.8.8.8/",
        "https://256.8.8.8/",
        "https://999999999999/",
        "https://example.1/",
        "https://example.0x7f/",
        "https://a.b.1./",
        "https://[]/",
        "https://[1]/",
        "https://[8.8.8.8]/",
        "https://[example.com]/",
        "https://[::1::]/",
        "https://[v1.a]/",
        "https://[2606:4700::111g]/",
    ],
    "not a public address": [
        "https://127.0.0.1/",
        "https://127.9.9.9:8443/",
        "https://0.0.0.0/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://168.63.129.16/",
        "https://192.168.1.1/",
        "https://255.255.255.255/",
        "https://[::]/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[fe80::1]/",
        "https://[FD00:EC2::254]/",
        "https://[0:0:0:0:0:ffff:8.8.8.8]/",
    ],
    "not a public name": [
        "https://localhost/",
        "https://localhost:8000/",
        "https://LocalHost/",
        "https://localhost./",
        "https://a.localhost/",
        "https://printer.local/",
        "https://local/",
        "https://metadata.google.internal/",
        "https://internal./",
        "https://nas.home.arpa/",
        "https://home.arpa/",
    ],
    "malformed host": [
        "https://./",
        "https://../",
        "https://.example.com/",
        "https://a..example.com/",
        "https://example.com../",
        "https://127.0.0.1../",
        "https://-a.example.com/",
        "https://a-.example.com/",
        "https://exa*mple.com/",
        "https://exa,mple.com/",
        "https://exa;mple.com/",
        "https://<example>.com/",
        "https://{example}.com/",
        "https://$(id).example.com/",
        "https://[::1",
        "https://[::1]x/",
        "https://x[::1]/",
        "https://[[::1]]/",
        f"https://{LONG_LABEL}.example/",
        f"https://{LONG_NAME}/",
    ],
}

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
