"""The line before the journal: what still has to be inserted and removed, and what is being written now.

Rows are named by their key, and what counts is only how a key ends: a record that leaves before it was
written is not written, and a removal is called off when its record comes again. Everything leaves the
line in batches; one that could not be written comes back to its front.

A record that was replaced by another of its id is only removed once that one is written: until then its row
is all there is of what was acknowledged. Both rows in a file are no harm, the next start chooses again.
"""

from collections.abc import Callable
from itertools import islice
from typing import NamedTuple, TypeVar

from validator import Record

BATCH_RECORDS_MAX = 1_000
"""Most records in a transaction: beyond this the cost per record no longer falls (measured)."""

BATCH_CHARS_MAX = 4 * 1024 * 1024
"""Most characters of raw in a transaction, or one record, inserted as well as removed (what is removed is
wiped, so it is written too); keeps the log at a few megabytes."""

WAITING_RECORDS_MAX = 200_000
"""Most records that may wait to be written: a few seconds of the highest load that one node can take in."""

WAITING_CHARS_MAX = 128 * 1024 * 1024
"""Most characters of raw that may wait to be written. They are no copies, the store holds them anyway."""

V = TypeVar("V")


class Batch(NamedTuple):
    """What goes into one transaction.

    Attributes:
        adds: records to insert, each with its number, by key.
        drops: the lengths of the raws of rows to remove, by key.
        seq: int, everything up to this number is safe once the batch is.
    """

    adds: dict[bytes, tuple[int, Record]]
    drops: dict[bytes, int]
    seq: int


class Line:
    """What waits to be written, in order.

    Args:
        seq: int, everything up to this number has been written.

    Attributes:
        seq: int, the latest number.
        records_max, chars_max: int, how much may wait.
    """

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self.records_max = WAITING_RECORDS_MAX
        self.chars_max = WAITING_CHARS_MAX
        self._adds: dict[bytes, tuple[int, Record]] = {}  # in order of number
        self._drops: dict[bytes, int] = {}
        self._losers: dict[bytes, dict[bytes, int]] = {}  # like _drops, by winners not written yet
        self._winners: dict[bytes, bytes] = {}  # of each of these losers
        self._again: set[bytes] = set()  # those of _adds that may have a row already
        self._in_flight: Batch | None = None
        self._chars = 0  # of the records that wait or are in flight

    def __len__(self) -> int:
        """How many records wait to be inserted or are in flight."""
        return len(self._adds) + (len(self._in_flight.adds) if self._in_flight else 0)

    def number(self, record: Record) -> int:
        """Return the number of a record that waits or is in flight; 0 for any other."""
        entry = self._adds.get(record.key)
        if entry is None and self._in_flight is not None:
            entry = self._in_flight.adds.get(record.key)
        return 0 if entry is None else entry[0]

    @property
    def empty(self) -> bool:
        """Whether nothing waits; something may be in flight."""
        return not (self._adds or self._drops)

    @property
    def full_batch(self) -> bool:
        """Whether as many records wait as go into a transaction."""
        return len(self._adds) >= BATCH_RECORDS_MAX

    @property
    def room(self) -> tuple[int, int]:
        """How many records, and how many characters of raw, may be added whatever they are."""
        return self.records_max - len(self), self.chars_max - self._chars

    def has_room(self, record: Record) -> bool:
        """Tell whether `record` may be added; when nothing waits, any may."""
        waiting = len(self)
        return not waiting or (waiting < self.records_max and self._chars + len(record.raw) <= self.chars_max)

    def add(self, seq: int, record: Record) -> None:
        """Put a record at the end, which is number `seq` (int, greater than all before)."""
        winner = self._winners.pop(record.key, None)
        if winner is not None:
            del self._losers[winner][record.key]
        if winner is not None or self._drops.pop(record.key, None) is not None:
            self._again.add(record.key)
        self._adds[record.key] = (seq, record)
        self._chars += len(record.raw)
        self.seq = seq

    def drop(self, record: Record, winner: Record | None = None) -> None:
        """Have a record's row removed, or take the record out of the line.

        Args:
            winner: what replaces it and is added next: the row is removed after that has been written.
        """
        gone = self._take_losers(record.key)
        waiting = self._adds.pop(record.key, None)
        if waiting is not None:
            self._chars -= len(record.raw)
        if waiting is None or record.key in self._again:
            self._again.discard(record.key)
            gone[record.key] = len(record.raw)
        if winner is None:
            self._drops |= gone
        else:
            self._losers.setdefault(winner.key, {}).update(gone)
            self._winners.update(dict.fromkeys(gone, winner.key))

    def _take_losers(self, winner: bytes) -> dict[bytes, int]:
        """Return what waits to be removed until the record of this key is written; it no longer does."""
        losers = self._losers.pop(winner, {})
        for key in losers:
            del self._winners[key]
        return losers

    def take(self, removals_first: bool = False) -> Batch:
        """Take the next batch. It must be ended by `done` or `put_back` before the next one.

        Args:
            removals_first: take no records as long as there are removals.
        """
        drops = _first(self._drops, lambda chars: chars)
        adds = {} if removals_first and drops else _first(self._adds, lambda entry: len(entry[1].raw))
        for key in drops:
            del self._drops[key]
        for key in adds:
            del self._adds[key]
        following = next(iter(self._adds.values()), None)
        self._in_flight = Batch(adds, drops, self.seq if following is None else following[0] - 1)
        return self._in_flight

    def done(self) -> None:
        """The batch has been written."""
        if self._in_flight is not None:
            self._chars -= sum(len(record.raw) for _, record in self._in_flight.adds.values())
            self._again.difference_update(self._in_flight.adds.keys() - self._adds.keys())
            for key in self._in_flight.adds:
                self._drops |= self._take_losers(key)
            self._in_flight = None

    def put_back(self) -> None:
        """The batch could not be written: it waits again, but for what has changed meanwhile."""
        if self._in_flight is None:
            return
        adds, drops, _ = self._in_flight
        self._in_flight = None
        # What left meanwhile need not be written; what left and came again stands further back.
        there = (self._drops, self._winners, self._adds)
        kept = {k: entry for k, entry in adds.items() if not any(k in line for line in there)}
        self._chars -= sum(len(entry[1].raw) for k, entry in adds.items() if k not in kept)
        self._adds = kept | self._adds
        self._again.update(key for key in drops if key in self._adds)
        self._drops = {k: chars for k, chars in drops.items() if k not in self._adds} | self._drops


def _first(line: dict[bytes, V], chars: Callable[[V], int]) -> dict[bytes, V]:
    """Return as much of the beginning of `line` as goes into a transaction."""
    first: dict[bytes, V] = {}
    total = 0
    for key, entry in islice(line.items(), BATCH_RECORDS_MAX):
        total += chars(entry)
        if first and total > BATCH_CHARS_MAX:
            break
        first[key] = entry
    return first
