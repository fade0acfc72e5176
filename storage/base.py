"""The interface of a store, its answers, its limits and its one refusal.

A store is the truth: the set of records this node holds, at most one for each id. It is plain synchronous
code so that admission can decide and insert in one step with nothing in between. It reads no clock: every
call that depends on life takes the wall time, and a record is alive in [time_stamp, time_stamp + ttl_ms)
by the time *given*. A clock set back therefore cannot bring back what was removed, and one set forward
hides records only for as long as it is wrong, unless they were removed meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from storage.index import IndexWindow
from validator import Record

RECORDS_MAX = 1_000_000
"""Most records in a store: 630 MB of memory with records of 150 bytes of JSON (docs/performance.md,
measured), or 11 new records a second for 24 hours."""

BYTES_MAX = 512 * 1024 * 1024
"""Most bytes of text in a store. Our choice: what a small machine can spare."""


class Stored(msgspec.Struct, frozen=True, gc=False):
    """The record is now held.

    Attributes:
        seq: int, this store's number for the arrival: from 1, strictly increasing, never used twice.
        loser: Record | None, the living record of the same id that it replaced.
    """

    seq: int
    loser: Record | None = None


class Held(msgspec.Struct, frozen=True, gc=False):
    """Nothing changed: the id is held by a living record that comes first.

    Attributes:
        holder: Record, the one that stays. Its key equals the offered one (then they are the same
            record), is smaller, or the first was to stay.
    """

    holder: Record


class StoreFull(Exception):
    """There is no room for the record. It was not stored and no living record was touched.

    Attributes:
        limit: str, which limit it met: `records` or `bytes`.
        limit_max: int, that limit.
    """

    def __init__(self, limit: str, limit_max: int) -> None:
        super().__init__(
            f"the store is full: it holds at most {limit_max} {limit}; room comes back as records expire"
        )
        self.limit = limit
        self.limit_max = limit_max


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """How much a store may hold.

    Attributes:
        records_max: int >= 1.
        bytes_max: int >= 1, of the records' texts in UTF-8 (`Record.size_bytes`), not of memory.
    """

    records_max: int = RECORDS_MAX
    bytes_max: int = BYTES_MAX

    def __post_init__(self) -> None:
        if self.records_max < 1 or self.bytes_max < 1:
            raise ValueError("a store that may hold nothing is a mistake: both limits must be at least 1")


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """What a store holds now, including what is over but not yet removed.

    Attributes:
        records: int.
        bytes: int, of the records' texts in UTF-8.
        records_max: int.
        bytes_max: int.
        oldest_time_stamp: int | None, Unix milliseconds; None if the store is empty.
        seq: int, number of the latest arrival; 0 before the first.
    """

    records: int
    bytes: int
    records_max: int
    bytes_max: int
    oldest_time_stamp: int | None
    seq: int


class Store(Protocol):
    """Hold records for their lifetime.

    Every `wall_ms` is an int, Unix milliseconds. To add a store: a class with these members in a file of
    its own here, a line in `open_store`, and a line in tests/contracts/stores.py.
    """

    @property
    def trouble(self) -> str:
        """Why what is added now could not be made as safe as this store promises; empty when all is well.

        `add` works nevertheless, for records that others have accepted.
        """
        ...

    def add(self, record: Record, wall_ms: int, first_stays: bool = False) -> Stored | Held:
        """Offer a record. Of two living records with one id, the smaller key stays.

        What this leaves behind depends on the set of records offered, not on their order. A record of
        the same id whose life is over counts as absent.

        Args:
            record: to be held.
            wall_ms: as above.
            first_stays: whatever living record holds the id stays, also if its key is greater: for a record
                that nobody else has seen yet.

        Raises:
            StoreFull: no room even without the records that are over. Some of those may have been
                removed to look for room; nothing else has changed.
            ValueError: the record is already over (the caller's fault, the validator ignores such
                records; nothing has changed).
        """
        ...

    def add_many(
        self, records: Sequence[Record], wall_ms: int, first_stays: bool = False
    ) -> list[Stored | Held | StoreFull]:
        """Offer records one after the other, as by `add`; together they cost less.

        Returns:
            what became of each, in the same order: what `add` returns or raises for want of room.

        Raises:
            ValueError: one of them is already over (the caller's fault; nothing has changed).
        """
        ...

    def get(self, id: str, wall_ms: int) -> Record | None:
        """Return the living record of this id, or None."""
        ...

    def by_digest(self, digest: bytes, wall_ms: int) -> Record | None:
        """Return the living record of this digest (32 bytes), or None."""
        ...

    def has(self, digest: bytes) -> bool:
        """Tell whether the record of this digest is held, alive or over but not yet removed."""
        ...

    def expire(self, wall_ms: int, count_max: int) -> list[Record]:
        """Remove at most `count_max` records whose life is over and return them, oldest first.

        Those that `add` had to remove meanwhile, for room or for their id, are returned before the others.
        Fewer than `count_max` means: no more for now.
        """
        ...

    def page(self, after: bytes, wall_ms: int, count_max: int) -> list[Record]:
        """Return at most `count_max` living records with a key greater than `after`, in key order.

        `after` is the last key of the page before, or b"" to begin.
        """
        ...

    def arrivals(self, after_seq: int, wall_ms: int, count_max: int) -> list[tuple[int, Record]]:
        """Return at most `count_max` living records that arrived after number `after_seq`.

        They come as (seq, record), in order of arrival. The cost is that of the records returned and of
        those skipped because they are over, not that of the store.
        """
        ...

    def window(self, lower: bytes, upper: bytes) -> IndexWindow:
        """Return a view of the held keys in [lower, upper), good until the store next changes.

        Life plays no part: choose `lower` above what is over.
        """
        ...

    def statistics(self) -> StoreStatistics:
        """Return counts and limits."""
        ...

    def close(self) -> None:
        """Finish writing and release what the store holds open. It must not be used afterwards.

        Raises:
            OSError: something could not be written; all is released nevertheless.
        """
        ...
