"""Addresses: loopback in all its forms, and what counts as one."""

import pytest

from tripoint.core.addresses import is_loopback, network_of


@pytest.mark.parametrize(
    ("address", "loopback", "network"),
    [
        ("127.0.0.1", True, "127.0.0.1"),
        ("127.8.9.1", True, "127.8.9.1"),
        ("::1", True, "::/64"),
        ("::ffff:127.0.0.1", True, "127.0.0.1"),
        ("192.0.2.1", False, "192.0.2.1"),
        ("::ffff:192.0.2.1", False, "192.0.2.1"),
        ("2001:db8::1:2:3:4", False, "2001:db8::/64"),
        ("fe80::1%eth0", False, "fe80::/64"),
        ("/run/socket", False, "/run/socket"),
        ("", False, ""),
    ],
)
def test_addresses(address: str, loopback: bool, network: str) -> None:
    assert is_loopback(address) is loopback
    assert network_of(address) == network
