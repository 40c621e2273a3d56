"""Which addresses may be connected to. The examples are IANA's special-purpose registries."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.net.address_policy import AddressPolicy, AddressRefused

PUBLIC = AddressPolicy()

REFUSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:10.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:c0a8:101::1",
    "2a01:4f8::5efe:10.0.0.1",
    "2a01:4f8::200:5efe:c0a8:101",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456:789a::1",
    "fe80::1",
    "fe80::1%eth0",
    "2a01:4f8::1%eth0",
    "fec0::1",
    "ff02::1",
]
ALLOWED = [
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.1",
    "198.17.255.255",
    "223.255.255.255",
    "::ffff:1.1.1.1",
    "64:ff9b::1.1.1.1",
    "2001:200::1",
    "2002:101:101::1",
    "2606:4700::1111",
    "2a01:4f8::1",
    "2a01:4f8::5efe:1.1.1.1",
]


@pytest.mark.parametrize("address", REFUSED)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert not PUBLIC.is_allowed(address)
    with pytest.raises(AddressRefused):
        PUBLIC.check(address)


@pytest.mark.parametrize("address", ALLOWED)
def test_public_addresses_are_allowed(address: str) -> None:
    assert PUBLIC.is_allowed(address)
    PUBLIC.check(address)


NO_ADDRESSES = ["", "localhost", "127.1", "0x7f000001", "2130706433", "1.1.1.1:443", "[::1]", "01.1.1.1"]


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_what_is_no_address_is_refused(text: str) -> None:
    assert not PUBLIC.is_allowed(text)


def test_allowed_networks_are_allowed_in_every_form_and_nothing_beside_them() -> None:
    policy = AddressPolicy(["10.1.0.0/16", "fd00:1::/32"])
    assert policy.is_allowed("10.1.2.3")
    assert policy.is_allowed("::ffff:10.1.2.3")
    assert policy.is_allowed("64:ff9b::10.1.2.3")
    assert policy.is_allowed("fd00:1::5")
    assert policy.is_allowed("1.1.1.1")
    assert not policy.is_allowed("10.2.0.1")
    assert not policy.is_allowed("::ffff:10.2.0.1")
    assert not policy.is_allowed("fd00:2::5")
    assert not policy.is_allowed("127.0.0.1")


def test_a_network_of_translated_addresses_does_not_allow_what_they_lead_to() -> None:
    policy = AddressPolicy(["64:ff9b::/96"])
    assert policy.is_allowed("64:ff9b::1.1.1.1")
    assert not policy.is_allowed("64:ff9b::127.0.0.1")


@given(st.integers(0, 2**32 - 1))
def test_every_form_of_an_ipv4_address_is_judged_alike(number: int) -> None:
    plain = PUBLIC.is_allowed(str(ipaddress.IPv4Address(number)))
    for base in (0xFFFF << 32, 0x64FF9B << 96, 0x2A0104F8 << 96 | 0x5EFE << 32):
        assert PUBLIC.is_allowed(str(ipaddress.IPv6Address(base | number))) == plain
    assert PUBLIC.is_allowed(str(ipaddress.IPv6Address(0x2002 << 112 | number << 80 | 1))) == plain


@given(st.ip_addresses())
def test_nothing_that_python_calls_private_is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if PUBLIC.is_allowed(str(address)):
        assert not address.is_loopback and not address.is_link_local and not address.is_multicast
        assert not address.is_unspecified


@given(st.text(max_size=60))
def test_any_text_is_judged_without_an_error(text: str) -> None:
    assert PUBLIC.is_allowed(text) in (True, False)
