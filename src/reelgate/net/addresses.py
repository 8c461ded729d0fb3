"""Which addresses are public, as a table.

Sources: the IANA special-purpose registries for IPv4 and IPv6, the RFC named in each row, and for
metadata services the documentation of each cloud. A row that is not opened by
`allow_private_network` stays shut unless an operator names the network itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Row:
    """One network that is not public; `private` rows open with `allow_private_network`."""

    network: IPNetwork
    what: str
    source: str
    private: bool


def _shut(network: str, what: str, source: str) -> Row:
    return Row(ip_network(network), what, source, private=False)


def _private(network: str, what: str, source: str) -> Row:
    return Row(ip_network(network), what, source, private=True)


# The first row that holds an address decides: a narrower one stands before a wider one.
NOT_PUBLIC: tuple[Row, ...] = (
    _shut("100.100.100.200/32", "cloud metadata", "Alibaba Cloud"),
    _shut("168.63.129.16/32", "cloud metadata", "Azure"),
    _shut("0.0.0.0/8", "this network", "RFC 791"),
    _private("10.0.0.0/8", "private", "RFC 1918"),
    _private("100.64.0.0/10", "carrier-grade NAT", "RFC 6598"),
    _private("127.0.0.0/8", "loopback", "RFC 1122"),
    _shut("169.254.0.0/16", "link-local and cloud metadata", "RFC 3927"),
    _private("172.16.0.0/12", "private", "RFC 1918"),
    _shut("192.0.0.0/24", "protocol assignments", "RFC 6890"),
    _shut("192.0.2.0/24", "documentation", "RFC 5737"),
    _shut("192.31.196.0/24", "AS112", "RFC 7535"),
    _shut("192.52.193.0/24", "AMT", "RFC 7450"),
    _shut("192.88.99.0/24", "6to4 relay", "RFC 7526"),
    _private("192.168.0.0/16", "private", "RFC 1918"),
    _shut("192.175.48.0/24", "AS112", "RFC 7534"),
    _shut("198.18.0.0/15", "benchmarking", "RFC 2544"),
    _shut("198.51.100.0/24", "documentation", "RFC 5737"),
    _shut("203.0.113.0/24", "documentation", "RFC 5737"),
    _shut("224.0.0.0/4", "multicast", "RFC 5771"),
    _shut("240.0.0.0/4", "reserved and broadcast", "RFC 1112, RFC 919"),
    _shut("::/128", "unspecified", "RFC 4291"),
    _private("::1/128", "loopback", "RFC 4291"),
    _shut("::ffff:0:0/96", "IPv4-mapped", "RFC 4291"),
    _shut("::ffff:0:0:0/96", "IPv4-translated", "RFC 2765"),
    _shut("::/96", "IPv4-compatible", "RFC 4291"),
    _shut("64:ff9b::/96", "NAT64", "RFC 6052"),
    _shut("64:ff9b:1::/48", "local NAT64", "RFC 8215"),
    _shut("100::/64", "discard-only", "RFC 6666"),
    _shut("100:0:0:1::/64", "dummy prefix", "RFC 9780"),
    _shut("2001::/32", "Teredo", "RFC 4380"),
    _shut("2001:2::/48", "benchmarking", "RFC 5180"),
    _shut("2001:10::/28", "ORCHID", "RFC 4843"),
    _shut("2001:20::/28", "ORCHIDv2", "RFC 7343"),
    _shut("2001:30::/28", "drone remote id", "RFC 9374"),
    _shut("2001::/23", "protocol assignments", "RFC 2928"),
    _shut("2001:db8::/32", "documentation", "RFC 3849"),
    _shut("2002::/16", "6to4", "RFC 3056"),
    _shut("2620:4f:8000::/48", "AS112", "RFC 7534"),
    _shut("3ffe::/16", "former 6bone", "RFC 3701"),
    _shut("3fff::/20", "documentation", "RFC 9637"),
    _shut("5f00::/16", "segment routing", "RFC 9602"),
    _shut("fd00:ec2::/32", "cloud metadata", "AWS"),
    _shut("fd20:ce::254/128", "cloud metadata", "Google Cloud"),
    _private("fc00::/7", "unique local", "RFC 4193"),
    _shut("fe80::/10", "link-local", "RFC 4291"),
    _shut("fec0::/10", "site-local", "RFC 3879"),
    _shut("ff00::/8", "multicast", "RFC 4291"),
    # All that is left outside 2000::/3, the only block IANA gives out as global unicast.
    _shut("::/3", "not global unicast", "RFC 4291"),
    _shut("4000::/2", "not global unicast", "RFC 4291"),
    _shut("8000::/1", "not global unicast", "RFC 4291"),
)


@dataclass(frozen=True, slots=True)
class Name:
    """A last label (or last labels) that never names a public host."""

    suffix: str
    source: str


LOCAL_NAMES: tuple[Name, ...] = (
    Name("localhost", "RFC 6761"),
    Name("localdomain", "convention of resolvers"),
    Name("local", "RFC 6762"),
    Name("internal", "ICANN, 2024"),
    Name("home.arpa", "RFC 8375"),
    Name("onion", "RFC 7686"),
    Name("alt", "RFC 9476"),
    Name("test", "RFC 6761"),
    Name("invalid", "RFC 6761"),
    Name("example", "RFC 6761"),
)


def why_not_public(
    address: IPAddress | str,
    *,
    allow_private_network: bool = False,
    networks_allowed: Iterable[IPNetwork] = (),
) -> str | None:
    """Why no connection may be made to `address`, or None when it may be.

    A string must be one canonical address; anything else is refused too, as is a zone id.
    `networks_allowed` are the operator's own exceptions and win over every row.
    """
    if isinstance(address, str):
        try:
            address = ip_address(address)
        except ValueError:
            return "not an address"
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return "zone id"
    if any(address in network for network in networks_allowed):
        return None
    for row in NOT_PUBLIC:
        if address in row.network:
            return None if row.private and allow_private_network else row.what
    return None


def is_local_name(host: str) -> bool:
    """Whether `host` (lower case, no trailing dot) can only be a name of some private network."""
    if "." not in host:
        return True
    return any(host.endswith(f".{name.suffix}") for name in LOCAL_NAMES)
