"""Addresses in text: what is read, what is refused and why."""

import pytest

from cluster.address import counted_address, format_address, parse_address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:80", "127.0.0.1", 80),
        ("node.example:65535", "node.example", 65535),
        ("[::1]:7000", "::1", 7000),
        ("localhost:0", "localhost", 0),
    ],
)
def test_host_and_port_are_read_and_written_back(text: str, host: str, port: int) -> None:
    """Reading and writing are each other's reverse."""
    assert parse_address(text) == (host, port)
    assert format_address(host, port) == text


def test_a_default_port_fills_in() -> None:
    """A bare host is enough where a port is known."""
    assert parse_address("host", port_default=7) == ("host", 7)
    assert parse_address("[::1]", port_default=7) == ("::1", 7)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("host", "no port"),
        ("host:", "no port"),
        (":80", "no host"),
        ("host:65536", "0 to 65535"),
        ("host:-1", "0 to 65535"),
        ("host:8o8o", "0 to 65535"),
        ("host:٣", "0 to 65535"),
        ("::1:80", "IPv6"),
        ("[::1", "[address]:port"),
        ("[::1]80", "[address]:port"),
        ("", "no host"),
    ],
)
def test_a_bad_address_is_refused_with_the_reason(text: str, complaint: str) -> None:
    """The message says what is wrong."""
    with pytest.raises(ValueError, match=complaint.replace("[", r"\[")):
        parse_address(text)


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:ffff:ffff:ffff", "2001:db8::/64"),
        ("2001:db8:0:1::", "2001:db8:0:1::/64"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("", ""),
    ],
)
def test_a_host_is_counted_once_however_many_addresses_it_has(address: str, counted: str) -> None:
    """IPv6 by its /64, IPv4 alike in both ways of writing, neighbours on a link each for themselves."""
    assert counted_address(address) == counted
