"""How much each client address may do in a second: one token bucket per address, in a bounded table. Pure.

A bucket holds one burst; what is taken comes back at an even pace. The last taker may overdraw it, since a
batch is taken whole or not at all: then the address waits until the debt is paid.
"""

import ipaddress
from functools import lru_cache
from typing import Final

from cachetools import LRUCache

ADDRESSES_MAX: Final = 4096
"""Buckets kept, those used last; 1 MiB at most. An address that is forgotten starts with a full bucket: who
has 4,096 addresses to spend can have 4,096 bursts, and no table of any size would stop that."""

IPV6_PREFIX_BITS: Final = 64
"""Of an IPv6 address, what counts: the smallest network a site is given, in which any host may take any
number of addresses (RFC 6177, RFC 8981)."""


class AddressRates:
    """Token buckets by address.

    Args:
        per_s: tokens that come back in a second. burst: tokens a full bucket holds, at least 1.
    """

    def __init__(self, per_s: float, burst: float, addresses_max: int = ADDRESSES_MAX) -> None:
        self._per_s = per_s
        self._burst = max(burst, 1.0)
        self._buckets: LRUCache[str, tuple[float, float]] = LRUCache(addresses_max)

    def wait_s(self, address: str, now_s: float) -> float:
        """Say in how many seconds there is a token for `address`; 0 if there is one. Monotonic `now_s`."""
        return max((1 - self._left(address, now_s)) / self._per_s, 0.0)

    def take(self, address: str, count: int, now_s: float) -> None:
        """Take `count` tokens, on credit if there are fewer."""
        self._buckets[counted_address(address)] = self._left(address, now_s) - count, now_s

    def __len__(self) -> int:
        """How many addresses are kept."""
        return len(self._buckets)

    def _left(self, address: str, now_s: float) -> float:
        left, at_s = self._buckets.get(counted_address(address), (self._burst, now_s))
        return min(left + (now_s - at_s) * self._per_s, self._burst)


@lru_cache(ADDRESSES_MAX)
def counted_address(address: str) -> str:
    """Return that of an address by which its host is counted.

    IPv4 counts whole, also where it is written in IPv6; so do link-local addresses, which are all of one
    network; any other IPv6 address counts by its /64.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address) or parsed.is_link_local or parsed.is_loopback:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), IPV6_PREFIX_BITS), strict=False))


@lru_cache(ADDRESSES_MAX)
def is_own_machine(address: str) -> bool:
    """Tell whether an address is a loopback one."""
    try:
        return ipaddress.ip_address(counted_address(address)).is_loopback
    except ValueError:
        return False
