"""
Where a webhook may go: which addresses are public, and which URLs an endpoint may have.

Names are resolved elsewhere and may resolve to anything, so a URL that passes here proves nothing about the address
that is dialled in the end: whoever dials asks `is_public` for each address.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network

# The contract, section 8. Also what browsers, proxies and servers take without complaint.
MAX_URL_LENGTH = 2048

# RFC 1035, section 2.3.4: 255 bytes on the wire are 253 characters.
MAX_NAME_LENGTH = 253

# Nothing here is a merchant's server, although some of it is reachable from everywhere (IANA's registry of special
# purpose addresses says which). A block stays refused as a whole when a single address in it is global.
REFUSED_V4 = {
    IPv4Network("0.0.0.0/8"): "this network, RFC 791",
    IPv4Network("10.0.0.0/8"): "private, RFC 1918",
    IPv4Network("100.64.0.0/10"): "behind a provider's NAT, RFC 6598; the metadata service of Alibaba Cloud",
    IPv4Network("127.0.0.0/8"): "loopback, RFC 1122",
    IPv4Network("168.63.129.16/32"): "the host of a machine at Azure, which answers to nobody else",
    IPv4Network("169.254.0.0/16"): "link-local, RFC 3927; the metadata services of most clouds",
    IPv4Network("172.16.0.0/12"): "private, RFC 1918",
    IPv4Network("192.0.0.0/24"): "protocol assignments, RFC 6890; the metadata service of Oracle Cloud",
    IPv4Network("192.0.2.0/24"): "documentation, RFC 5737",
    IPv4Network("192.31.196.0/24"): "AS112, RFC 7535",
    IPv4Network("192.52.193.0/24"): "AMT relays, RFC 7450",
    IPv4Network("192.88.99.0/24"): "6to4 relays, RFC 7526",
    IPv4Network("192.168.0.0/16"): "private, RFC 1918",
    IPv4Network("192.175.48.0/24"): "AS112, RFC 7534",
    IPv4Network("198.18.0.0/15"): "benchmarks, RFC 2544",
    IPv4Network("198.51.100.0/24"): "documentation, RFC 5737",
    IPv4Network("203.0.113.0/24"): "documentation, RFC 5737",
    IPv4Network("224.0.0.0/4"): "multicast, RFC 5771",
    IPv4Network("240.0.0.0/4"): "reserved and broadcast, RFC 1112 and 919",
}

# RFC 4291, section 2.4, and IANA: all global unicast that was ever assigned. Outside of it are loopback, IPv4-mapped
# and IPv4-compatible addresses, NAT64 (64:ff9b::/96, 64:ff9b:1::/48), SRv6 (5f00::/16), unique local (fc00::/7),
# link-local, site-local and multicast.
UNICAST_V6 = IPv6Network("2000::/3")

REFUSED_V6 = {
    IPv6Network("2001::/23"): "protocol assignments, RFC 2928: Teredo, ORCHID, benchmarks and others",
    IPv6Network("2001:db8::/32"): "documentation, RFC 3849",
    IPv6Network("2002::/16"): "6to4, RFC 3056: an IPv4 address in disguise",
    IPv6Network("2620:4f:8000::/48"): "AS112, RFC 7534",
    IPv6Network("3ffe::/16"): "6bone, given back, RFC 3701",
    IPv6Network("3fff::/20"): "documentation, RFC 9637",
}

# RFC 5214, section 6.1: the upper half of an interface identifier that says that an IPv4 address is the lower half.
# The bit says whether that address is unique, and nobody has to tell the truth.
ISATAP = (0x0000_5EFE, 0x0200_5EFE)

# RFC 6761, 6762 and 8375, and ICANN's reservation of 2024 for private use.
LOCALHOST = "localhost"
PRIVATE_NAMES = ("local", "internal", "home.arpa")

# RFC 3986, appendix B.
URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?://(?P<authority>[^/?]*))?.*", re.DOTALL)
AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[]*)(?::(?P<port>.*))?", re.DOTALL)
UNWRITABLE = re.compile(r"[\x00-\x20\x7f\\]")
PORT = re.compile("[0-9]{1,5}", re.ASCII)
# Letters, digits, hyphens (RFC 1123, section 2.1), and underscores, which real names have.
LABEL = re.compile("[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII | re.IGNORECASE)
# WHATWG URL, "ends in a number": what any resolver may take for an address.
NUMBER = re.compile("[0-9]+|0x[0-9a-f]*", re.ASCII | re.IGNORECASE)


def is_public(address: str) -> bool:
    """
    Tell whether an address, written as a socket reports it, is one that anybody in the Internet can reach.

    False for whatever is special (`REFUSED_V4`, all outside `UNICAST_V6`, `REFUSED_V6`), for each way to wrap an
    IPv4 address into an IPv6 one, for addresses with a zone, and for texts that are no address. `ipaddress` has
    `is_global`, which says True of `::127.0.0.1`, NAT64, 6to4, multicast and more. A network may have a NAT64 prefix
    of its own (RFC 6052), which cannot be told from other unicast.
    """
    match _parse(address):
        case IPv4Address() as v4:
            return _is_public_v4(v4)
        case IPv6Address() as v6:
            return v6.scope_id is None and _is_public_v6(v6)
        case _:
            return False


def is_loopback(address: str) -> bool:
    """Tell whether an address is this machine's own: 127.0.0.0/8 and ::1, in no disguise."""
    parsed = _parse(address)
    mapped = isinstance(parsed, IPv6Address) and (parsed.ipv4_mapped or parsed.scope_id)
    return parsed is not None and parsed.is_loopback and not mapped


def is_admitted(address: str, *, local: bool) -> bool:
    """Tell whether an address may be dialled: a public one, and for development (`local`) the own machine's too."""
    return is_public(address) or (local and is_loopback(address))


def check_url(url: str, *, local: bool = False) -> str | None:
    """
    Say what is wrong with an endpoint's URL, or None.

    `local` is for development: it admits http, `localhost` and loopback addresses too. A URL that passes is ASCII
    and goes out as it is. The rules are the contract's, section 8.
    """
    if len(url) > MAX_URL_LENGTH:
        return f"at most {MAX_URL_LENGTH} characters"
    if UNWRITABLE.search(url):
        return "no spaces, control characters or backslashes"
    if "#" in url:
        return "no fragment"
    parts = URL.fullmatch(url)
    if not parts or parts["scheme"].lower() not in (("https", "http") if local else ("https",)):
        return "must be http or https" if local else "must be https"
    return _check_authority(parts["authority"] or "", local) or (
        None if url.isascii() else "must be ASCII, other characters percent-encoded"
    )


def _check_authority(authority: str, local: bool) -> str | None:
    if "@" in authority:
        return "no user info"
    if not authority.isascii():
        return "the host must be written in punycode"
    parts = AUTHORITY.fullmatch(authority)
    if not parts:
        return "malformed host"
    port = parts["port"]
    if port is not None and not (PORT.fullmatch(port) and 1 <= int(port) <= 65535):
        return "port must be between 1 and 65535"
    return _check_host(parts["host"], local)


def _check_host(host: str, local: bool) -> str | None:
    if not host:
        return "no host"
    if "%" in host:
        return "no percent sign in the host"
    labels = host.removesuffix(".").split(".")
    if host.startswith("["):
        return _check_address(host[1:-1], IPv6Address, local)
    if NUMBER.fullmatch(labels[-1]):
        return _check_address(host, IPv4Address, local)
    if len(host.removesuffix(".")) > MAX_NAME_LENGTH or not all(LABEL.fullmatch(label) for label in labels):
        return "malformed host"
    return _check_name(host.removesuffix(".").lower(), local)


def _check_address(text: str, kind: type[IPv4Address] | type[IPv6Address], local: bool) -> str | None:
    try:
        # It refuses all spellings of an IPv4 address but four decimal numbers without leading zeros.
        kind(text)
    except AddressValueError:
        return "malformed address"
    return None if is_admitted(text, local=local) else "not a public address"


def _check_name(name: str, local: bool) -> str | None:
    if f".{name}".endswith(f".{LOCALHOST}"):
        return None if local else "not a public name"
    return "not a public name" if f".{name}".endswith(tuple(f".{end}" for end in PRIVATE_NAMES)) else None


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    try:
        return IPv6Address(address) if ":" in address else IPv4Address(address)
    except AddressValueError:
        return None


def _is_public_v4(address: IPv4Address) -> bool:
    return not any(address in block for block in REFUSED_V4)


def _is_public_v6(address: IPv6Address) -> bool:
    if address not in UNICAST_V6 or any(address in block for block in REFUSED_V6):
        return False
    upper, lower = divmod(int(address) & 0xFFFF_FFFF_FFFF_FFFF, 1 << 32)
    return upper not in ISATAP or _is_public_v4(IPv4Address(lower))
