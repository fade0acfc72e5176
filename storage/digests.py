"""Records by digest: dicts from a number, the digest's hash, to the record.

A dict from digest to record would need the digest as an object of its own, 80 bytes beside the 80 of the
key that holds the same bytes; a number of 60 bits is an object of 32. Two digests with one number (of 10^6,
one chance in 10^6) stand at neighbouring numbers, so what is found is always compared with the digest.

The table is cut into shards, because one dict of a million entries stops everything for 0.1 to 0.2 s each
time it grows. A shard grows without a look at any record: entries hold their hash. Records in chains, split
one by one, took 24 bytes less each and 1.1 to 2.1 µs in place of 0.4 to come in (measured at 10^5 and
4 x 10^5): the records of a chain lie anywhere in memory, and each split reads them.
"""

from collections.abc import Callable

from validator import Record

SHARDS = 384
"""Number of dicts that digests, and ids, are spread over. Our choice: 2,600 entries in each at 10^6 records,
which is just within what a dict of 4,096 slots takes, and of 8,192 when old ones go as new ones come (by
digest 28 and 56 bytes per record, by id 20 and 40, measured); each grows in under a millisecond."""

_NUMBER_MASK = 2**60 - 1
"""The largest number whose object has 32 bytes."""


class DigestTable:
    """Records by digest.

    Args:
        hash_of: digest (bytes, 32) to int; tests give one that makes digests meet.
    """

    def __init__(self, hash_of: Callable[[bytes], int] = hash) -> None:
        self._hash_of = hash_of
        self._shards: list[dict[int, Record]] = [{} for _ in range(SHARDS)]

    def get(self, digest: bytes) -> Record | None:
        """Return the record of `digest` (bytes, 32), or None."""
        shards, number = self._shards, self._hash_of(digest) & _NUMBER_MASK
        while (record := shards[(number >> 24) % SHARDS].get(number)) is not None:
            if record.key.endswith(digest):
                return record
            number += 1
        return None

    def add(self, *records: Record) -> None:
        """Add records whose digests are not there."""
        shards, hash_of = self._shards, self._hash_of
        for record in records:
            number = hash_of(record.key[8:]) & _NUMBER_MASK
            while shards[(number >> 24) % SHARDS].setdefault(number, record) is not record:
                number += 1

    def remove(self, record: Record) -> None:
        """Remove a record that is there."""
        number = self._hash_of(record.key[8:]) & _NUMBER_MASK
        while self._shard(number)[number].key != record.key:
            number += 1
        del self._shard(number)[number]
        # Who stands behind it may do so only because it was there.
        while (follower := self._shard(number + 1).pop(number + 1, None)) is not None:
            self.add(follower)
            number += 1

    def _shard(self, number: int) -> dict[int, Record]:
        """Return the dict `number` is in. A dict picks its slot by the low bits, so take others."""
        return self._shards[(number >> 24) % SHARDS]
