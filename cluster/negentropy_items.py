"""What a reconciliation reads: a sorted view of keys with sums of their ids, and the fingerprint over it.

A key is 40 bytes: a time stamp (8, big-endian) and an id (32). Sums of ids make fingerprints cheap,
because a structure can keep them for whole stretches of keys and add them up.

The fingerprint is an unkeyed sum under a hash: it finds honest differences. Whoever can choose ids freely
might build two sets of one sum, with much work; the ids here are SHA-256 digests made by the nodes.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate
from typing import Protocol

from cluster.negentropy_wire import FINGERPRINT_BYTES, encode_varint

_SUM_MODULUS = 2**256


class Items(Protocol):
    """A sorted read-only view of keys: 8 bytes of time stamp, big-endian, and 32 bytes of id."""

    def __len__(self) -> int:
        """Return how many keys there are."""
        ...

    def rank(self, key: bytes) -> int:
        """Return how many keys are below `key`, which may be shorter than 40 bytes (compared as bytes)."""
        ...

    def keys(self, begin: int, end: int) -> list[bytes]:
        """Return the keys of ranks `begin` to `end`, ascending; `end` is not included."""
        ...

    def sum_ids(self, begin: int, end: int) -> int:
        """Return the sum of the ids of ranks `begin` to `end`, read as little-endian numbers, mod 2^256."""
        ...


class SortedItems:
    """Items over a set of keys that does not change: a sorted list and its running sums."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._keys = sorted(set(keys))
        ids = (int.from_bytes(key[8:], "little") for key in self._keys)
        self._sums = list(accumulate(ids, lambda total, id: (total + id) % _SUM_MODULUS, initial=0))

    def __len__(self) -> int:
        """Return how many keys there are."""
        return len(self._keys)

    def rank(self, key: bytes) -> int:
        """Return how many keys are below `key`."""
        return bisect_left(self._keys, key)

    def keys(self, begin: int, end: int) -> list[bytes]:
        """Return the keys of ranks `begin` to `end`."""
        return self._keys[begin:end]

    def sum_ids(self, begin: int, end: int) -> int:
        """Return the sum of the ids of ranks `begin` to `end`."""
        return (self._sums[end] - self._sums[begin]) % _SUM_MODULUS


def fingerprint(items: Items, begin: int, end: int) -> bytes:
    """Return the 16 bytes that stand for the ids of ranks `begin` to `end`, `end` not included.

    Source: Negentropy Protocol V1: SHA-256 of the sum (32 bytes, little-endian) and the count, cut short.
    """
    total = items.sum_ids(begin, end).to_bytes(32, "little")
    return hashlib.sha256(total + encode_varint(end - begin)).digest()[:FINGERPRINT_BYTES]


FINGERPRINT_OF_NOTHING = fingerprint(SortedItems(()), 0, 0)
"""What an empty range gives."""
