"""Digests of keys as numbers, and their sums: what fingerprints of ranges are made of."""

from collections.abc import Sequence
from itertools import repeat
from operator import itemgetter

TIME_BYTES = 8
"""How many bytes of a key are its time stamp; the rest is the digest that sums count."""

SUM_MASK = 2**256 - 1
"""Sums of digests are taken modulo 2^256, as in the Negentropy Protocol V1 fingerprint."""

_digest_of = itemgetter(slice(TIME_BYTES, None))


def digest_int(key: bytes) -> int:
    """Return the digest of `key` (bytes, 40) as a little-endian integer."""
    return int.from_bytes(key[TIME_BYTES:], "little")


def sum_digests(keys: Sequence[bytes]) -> int:
    """Return the sum of the digests of `keys`, not reduced."""
    # Three maps without a Python call in them: 0.07 µs per key, with `digest_int` 0.15 (measured).
    # The checkers cannot see which overload of `from_bytes` a map takes.
    return sum(map(int.from_bytes, map(_digest_of, keys), repeat("little")))  # type: ignore[arg-type]
