"""The table of addresses, against Python's own registry as a second opinion."""

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reelgate.net.addresses import NOT_PUBLIC, IPAddress, Row, is_local_name, why_not_public

PUBLIC = (
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2001:4860:4860::8888",
    "2a00:1450::1",
    "2003::1",
)

any_v4 = st.ip_addresses(v=4) | st.integers(0, 2**32 - 1).map(IPv4Address)
any_v6 = st.ip_addresses(v=6) | st.integers(0, 2**128 - 1).map(IPv6Address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert why_not_public(address) is None


@pytest.mark.parametrize("row", NOT_PUBLIC, ids=lambda row: str(row.network))
def test_every_row_shuts_its_network(row: Row) -> None:
    last = row.network[-1]
    assert why_not_public(last) is not None
    assert why_not_public(row.network[0]) is not None
    assert (why_not_public(last, allow_private_network=True) is None) == row.private
    assert why_not_public(last, networks_allowed=(row.network,)) is None


def test_a_narrow_row_stands_before_a_wide_one() -> None:
    for index, row in enumerate(NOT_PUBLIC):
        for earlier in NOT_PUBLIC[:index]:
            assert not (row.network[0] in earlier.network and row.network[-1] in earlier.network)


@given(any_v4 | any_v6)
@example(IPv4Address("192.88.99.1"))
@example(IPv6Address("fec0::1"))
def test_allowed_means_global(address: IPAddress) -> None:
    if why_not_public(address) is None:
        assert address.is_global
        assert not (address.is_multicast or address.is_reserved or address.is_private)


@given(any_v4)
def test_an_ipv4_address_inside_an_ipv6_address_is_refused(inner: IPv4Address) -> None:
    number = int(inner)
    teredo = (0x20010000 << 96) | (number ^ 0xFFFFFFFF)
    for outer in (
        number,
        (0xFFFF << 32) | number,
        (0xFFFF << 48) | number,
        (0x64FF9B << 96) | number,
        (0x64FF9B0001 << 80) | number,
        (0x2002 << 112) | (number << 80),
        teredo,
    ):
        loopback = outer == 1
        assert why_not_public(IPv6Address(outer)) is not None
        assert loopback or why_not_public(IPv6Address(outer), allow_private_network=True)


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "100.100.100.200"])
def test_metadata_stays_shut_where_private_networks_are_open(address: str) -> None:
    assert why_not_public(address, allow_private_network=True) is not None


@pytest.mark.parametrize(
    "text", ["", "localhost", "127.1", "0x7f.0.0.1", "010.0.0.1", "1.1.1.1 ", "fe80::1%eth0"]
)
def test_what_is_not_one_canonical_address_is_refused(text: str) -> None:
    everything = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    assert why_not_public(text, networks_allowed=everything) is not None


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "db", "x.local", "nas.home.arpa"])
def test_local_names(host: str) -> None:
    assert is_local_name(host)


@pytest.mark.parametrize("host", ["example.com", "local.example.com", "notlocal.xyz"])
def test_other_names(host: str) -> None:
    assert not is_local_name(host)
