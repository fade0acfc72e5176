"""Records by digest: a hash table of short chains.

A dict from digest to record would need the digest as an object of its own, 80 bytes beside the 80 of the
key that holds the same bytes. Here a record is found by walking a chain and looking at the records' keys:
36 bytes per record in place of 120 at 10^6 (measured), for 1 to 2 µs more to learn that a digest is not
held (the records of a chain lie anywhere in memory).

Chains are added one at a time, each by splitting one older chain in two, so that no call ever rehashes the
table. A link is no object for the garbage collector (`gc=False`): a tuple per chain would weigh less, but
each new one is visited once with all its records (10 ms pauses while records come, measured).

Source of the way of growing: W. Litwin, Linear Hashing, VLDB 1980.
"""

import msgspec

from validator import Record

CHAINS_MIN = 256
"""Chains of an empty table, a power of two: 2 KiB."""

CHAIN_RECORDS = 2
"""Records per chain on average. Our choice, measured: with 4 it takes half as long again to learn that a
digest is not held; with 1 a full pass of the garbage collector takes 30 ms at 10^6 records, not 13."""


class _Link(msgspec.Struct, gc=False):
    record: Record
    following: "_Link | None"


class DigestTable:
    """Records by digest. It never shrinks: an empty chain costs 8 bytes."""

    def __init__(self) -> None:
        self._chains: list[_Link | None] = [None] * CHAINS_MIN
        self._base = CHAINS_MIN  # a power of two: at most as many as there are chains, more than half
        self._room = CHAINS_MIN * CHAIN_RECORDS

    def get(self, digest: bytes) -> Record | None:
        """Return the record of `digest` (bytes, 32), or None."""
        link = self._chains[self._place(digest)]
        while link is not None:
            if link.record.key.endswith(digest):
                return link.record
            link = link.following
        return None

    def add(self, *records: Record) -> None:
        """Add records whose digests are not there."""
        chains, base = self._chains, self._base
        for record in records:
            i = hash(record.key[8:]) & (2 * base - 1)  # `_place`, without the call
            if i >= len(chains):
                i -= base
            chains[i] = _Link(record, chains[i])
        self._room -= len(records)
        while self._room < 0:
            self._split()

    def remove(self, record: Record) -> None:
        """Remove a record that is there."""
        i = self._place(record.key[8:])
        before, link = None, self._chains[i]
        while link is not None and link.record.key != record.key:
            before, link = link, link.following
        assert link is not None, "only what was added is removed"
        if before is None:
            self._chains[i] = link.following
        else:
            before.following = link.following
        self._room += 1

    @property
    def chain_count(self) -> int:
        """How many chains there are: one for each CHAIN_RECORDS records there have ever been at once."""
        return len(self._chains)

    def _place(self, digest: bytes) -> int:
        """Return the chain of `digest`: by one bit more of its hash if that chain exists already."""
        i = hash(digest) & (2 * self._base - 1)
        return i if i < len(self._chains) else i - self._base

    def _split(self) -> None:
        """Add one chain and move there what now belongs there; all of it lies in one older chain."""
        base = self._base
        old = len(self._chains) - base
        link, stays, moves = self._chains[old], None, None
        while link is not None:
            rest = link.following
            if hash(link.record.key[8:]) & base:
                link.following, moves = moves, link
            else:
                link.following, stays = stays, link
            link = rest
        self._chains[old] = stays
        self._chains.append(moves)
        self._room += CHAIN_RECORDS
        if len(self._chains) == 2 * base:
            self._base *= 2
