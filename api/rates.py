"""How much each client address may do in a second: one token bucket per address, in a bounded table. Pure.

A bucket holds one burst; what is taken comes back at an even pace. The last taker may overdraw it, since a
batch is taken whole or not at all: then the address waits until the debt is paid.
"""

import ipaddress
from functools import lru_cache
from typing import Final

from cachetools import LRUCache

from node.exports import counted_address

ADDRESSES_MAX: Final = 4096
"""Buckets kept, those used last; 1 MiB at most. An address that is forgotten starts with a full bucket: who
has 4,096 addresses to spend can have 4,096 bursts, and no table of any size would stop that."""


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
def is_own_machine(address: str) -> bool:
    """Tell whether an address is a loopback one."""
    try:
        return ipaddress.ip_address(counted_address(address)).is_loopback
    except ValueError:
        return False
