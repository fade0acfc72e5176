"""`host:port` in text and back, IPv6 in brackets; and what of an address names its host."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Final

IPV6_PREFIX_BITS: Final = 64
"""Of an IPv6 address, what counts: the smallest network a site is given, in which any host may take any
number of addresses (RFC 6177, RFC 8981)."""

COUNTED_MAX = 4096
"""Addresses kept parsed, those used last: 1 MiB at most."""


def parse_address(text: str, *, port_default: int | None = None) -> tuple[str, int]:
    """Split `host:port`, `[v6]:port`, or a bare host when there is a default port.

    Raises:
        ValueError: names what is wrong with the text (the writer's fault).
    """
    host, port_text = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is not [address]:port")
        port_text = rest[1:]
    elif text.count(":") == 1:
        host, _, port_text = text.partition(":")
    elif ":" in text:
        raise ValueError(f"{text!r}: write an IPv6 address as [address]:port")
    if not host:
        raise ValueError(f"{text!r} names no host")
    if not port_text:
        if port_default is None:
            raise ValueError(f"{text!r} names no port; write host:port")
        return host, port_default
    if not (port_text.isascii() and port_text.isdigit()) or int(port_text) > 65535:
        raise ValueError(f"{text!r}: port {port_text!r} is not a number from 0 to 65535")
    return host, int(port_text)


def format_address(host: str, port: int) -> str:
    """Join host and port, with an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_ip(host: str) -> bool:
    """Tell whether `host` is an IP address, not a name or anything else."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def has_ip(address: str) -> bool:
    """Tell whether `address` is `ip:port`, which can be dialled without looking a name up."""
    try:
        return is_ip(parse_address(address)[0])
    except ValueError:
        return False


def may_tell(address: str, listener: str) -> bool:
    """Tell whether `address` means the same to whoever lives at `listener`: a loopback address does only to
    a node on this machine."""
    return not is_loopback(address) or is_loopback(listener)


def is_loopback(address: str) -> bool:
    """Tell whether `ip` or `ip:port` is reachable on its own machine only."""
    return address.startswith(("127.", "[::1]:")) or address == "::1"


@lru_cache(COUNTED_MAX)
def counted_address(address: str) -> str:
    """Return that of an address by which its host is counted.

    IPv4 counts whole, also where it is written in IPv6; so do link-local addresses, which are all of one
    network; any other IPv6 address counts by its /64.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv4Address) or parsed.is_link_local or parsed.is_loopback:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((int(parsed), IPV6_PREFIX_BITS), strict=False))
