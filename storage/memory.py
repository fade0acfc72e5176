"""The store in memory: a table by digest, a dict by id, the index by time and the arrival log.

Each record is held once and found four ways: by digest (peers and pages), by id (through its arrival number),
by time (the index of keys) and by arrival (the log). Nothing here makes an object per record that the
garbage collector has to visit, so its pauses stay short at a million records. The dict by id is cut into
shards like the one by digest, and for the same reasons.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from storage.arrivals import ArrivalLog
from storage.base import Held, Stored, StoreFull, StoreLimits, StoreStatistics
from storage.digests import SHARDS, DigestTable
from storage.index import Index, IndexWindow
from storage.sums import TIME_BYTES
from validator import Record


class MemoryStore:
    """Hold records in memory; they are gone with the process. Implements `Store`.

    Args:
        ttl_ms: int >= 1, how long a record lives from its time stamp, in milliseconds.
        limits: how much may be held.

    Raises:
        ValueError: `ttl_ms` is less than 1 (the caller's fault).
    """

    def __init__(self, ttl_ms: int, limits: StoreLimits | None = None) -> None:
        if ttl_ms < 1:
            raise ValueError(f"ttl_ms {ttl_ms} is less than 1")
        self._ttl_ms = ttl_ms
        self._limits = limits or StoreLimits()
        self._by_digest = DigestTable()
        self._seq_by_id: list[dict[str, int]] = [{} for _ in range(SHARDS)]
        self._index = Index()
        self._log = ArrivalLog()
        self._dropped = deque[Record]()  # were over and in the way: `expire` has still to tell of them
        self._bytes = 0
        self._seq = 0

    @property
    def trouble(self) -> str:
        """Return nothing: memory promises no more than it keeps; see `Store.trouble`."""
        return ""

    def add(self, record: Record, wall_ms: int, first_stays: bool = False) -> Stored | Held:
        """Offer a record; see `Store.add`."""
        answer = self.add_many((record,), wall_ms, first_stays)[0]
        if isinstance(answer, StoreFull):
            raise answer
        return answer

    def add_many(
        self, records: Sequence[Record], wall_ms: int, first_stays: bool = False
    ) -> list[Stored | Held | StoreFull]:
        """Offer records; see `Store.add_many`.

        Records of new ids for which there is room gather in a run, which goes into every table at once:
        for each of 100, 1.5 µs in place of 2.3 one by one (measured). Any other is looked at by itself.
        """
        self._check_alive(records, wall_ms)
        answers: list[Stored | Held | StoreFull] = []
        run: dict[int, Record] = {}  # by number: the object that the log gets too, an int has 32 bytes
        run_bytes = 0
        records_left, bytes_left = self._room()
        shards = self._seq_by_id
        for record in records:
            id, size_bytes, loser = record.id, record.size_bytes, None
            ids = shards[(hash(id) >> 24) % SHARDS]  # as `_ids`, without a call
            if id in ids or len(run) >= records_left or run_bytes + size_bytes > bytes_left:
                self._insert(run, run_bytes)  # this record may have to do with one of them
                run, run_bytes = {}, 0
                found: Held | StoreFull | Record | None
                try:
                    found = self._clear_the_way(record, wall_ms, first_stays)
                except StoreFull as full:
                    found = full.with_traceback(None)  # which would hold `answers`, in a circle
                records_left, bytes_left = self._room()
                if isinstance(found, Held | StoreFull):
                    answers.append(found)
                    continue
                loser = found
            seq = self._seq + len(run) + 1
            ids[id], run[seq] = seq, record
            run_bytes += size_bytes
            answers.append(Stored(seq, loser))
        self._insert(run, run_bytes)
        return answers

    def get(self, id: str, wall_ms: int) -> Record | None:
        """Return the living record of this id, or None."""
        record = self._holder(id)
        return None if record is None or self._is_over(record, wall_ms) else record

    def by_digest(self, digest: bytes, wall_ms: int) -> Record | None:
        """Return the living record of this digest, or None."""
        record = self._by_digest.get(digest)
        return None if record is None or self._is_over(record, wall_ms) else record

    def has(self, digest: bytes) -> bool:
        """Tell whether the record of this digest is held; see `Store.has`."""
        return self._by_digest.get(digest) is not None

    def expire(self, wall_ms: int, count_max: int) -> list[Record]:
        """Remove at most `count_max` records whose life is over, oldest first; see `Store.expire`."""
        told: list[Record] = []
        while self._dropped and len(told) < count_max:
            record = self._dropped.popleft()
            if not self.has(record.digest):  # else the clock was set back, and it came again
                told.append(record)
        return told + self._drop_over(wall_ms, count_max - len(told))

    def page(self, after: bytes, wall_ms: int, count_max: int) -> list[Record]:
        """Return living records in key order; see `Store.page`."""
        keys = self._index.after(max(after, self._living_from(wall_ms)), count_max)
        return self._records(keys)

    def arrivals(self, after_seq: int, wall_ms: int, count_max: int) -> list[tuple[int, Record]]:
        """Return living records in order of arrival; see `Store.arrivals`."""
        found: list[tuple[int, Record]] = []
        if count_max < 1:
            return found
        for entry in self._log.after(after_seq):
            if not self._is_over(entry[1], wall_ms):
                found.append(entry)
                if len(found) == count_max:
                    break
        return found

    def window(self, lower: bytes, upper: bytes) -> IndexWindow:
        """Return a view of the held keys in [lower, upper); see `Store.window`."""
        return self._index.window(lower, upper)

    def statistics(self) -> StoreStatistics:
        """Return counts and limits."""
        first = self._index.first()
        return StoreStatistics(
            records=len(self._index),
            bytes=self._bytes,
            records_max=self._limits.records_max,
            bytes_max=self._limits.bytes_max,
            oldest_time_stamp=None if first is None else int.from_bytes(first[:TIME_BYTES], "big"),
            seq=self._seq,
        )

    def close(self) -> None:
        """Do nothing: memory is released with the store itself."""

    def _is_over(self, record: Record, wall_ms: int) -> bool:
        return record.time_stamp + self._ttl_ms <= wall_ms

    def _drop_over(self, wall_ms: int, count_max: int) -> list[Record]:
        keys = self._index.after(b"", count_max)
        over = self._records(keys[: bisect_left(keys, self._living_from(wall_ms))])
        for record in over:
            self._remove(record)
        return over

    def _living_from(self, wall_ms: int) -> bytes:
        """Return a bound: keys of living records are greater, keys of those that are over smaller."""
        return max(wall_ms - self._ttl_ms + 1, 0).to_bytes(TIME_BYTES, "big")

    def _records(self, keys: list[bytes]) -> list[Record]:
        found = map(self._by_digest.get, [key[TIME_BYTES:] for key in keys])
        return [record for record in found if record is not None]  # every key of the index has its record

    def _holder(self, id: str) -> Record | None:
        seq = self._ids(id).get(id)
        return None if seq is None else self._log[seq]

    def _check_alive(self, records: Iterable[Record], wall_ms: int) -> None:
        """Raise ValueError if one of `records` is over."""
        oldest = min([record.key for record in records], default=None)
        if oldest is not None and oldest < self._living_from(wall_ms):
            end_ms = int.from_bytes(oldest[:TIME_BYTES], "big") + self._ttl_ms
            raise ValueError(f"the record's life ended at {end_ms}, it is {wall_ms}")

    def _clear_the_way(self, record: Record, wall_ms: int, first_stays: bool) -> Held | Record | None:
        """Make room for a record under its id and within the limits.

        Returns:
            the holder that stays; or the living record that had to go, None if there was none.
        """
        loser = self._holder(record.id)
        if loser is not None and self._is_over(loser, wall_ms):
            self._remove(loser)
            self._dropped.append(loser)
            loser = None
        if loser is not None and (first_stays or loser.key <= record.key):
            return Held(loser)
        self._make_room(record, loser, wall_ms)
        if loser is not None:
            self._remove(loser, record)
        return loser

    def _room(self) -> tuple[int, int]:
        """Return how many records, and how many bytes of them, fit without a further look."""
        return self._limits.records_max - len(self._index), self._limits.bytes_max - self._bytes

    def _make_room(self, record: Record, loser: Record | None, wall_ms: int) -> None:
        """Drop what is over, oldest first and only as far as needed, until `record` fits."""
        size_bytes = record.size_bytes
        if size_bytes > self._limits.bytes_max:
            raise StoreFull("bytes", self._limits.bytes_max)
        new_records, new_bytes = 1, size_bytes
        if loser is not None:
            new_records, new_bytes = 0, size_bytes - loser.size_bytes
        while True:
            if len(self._index) + new_records > self._limits.records_max:
                full = StoreFull("records", self._limits.records_max)
            elif self._bytes + new_bytes > self._limits.bytes_max:
                full = StoreFull("bytes", self._limits.bytes_max)
            else:
                return
            over = self._drop_over(wall_ms, 1)
            if not over:
                raise full
            self._dropped += over

    def _insert(self, run: Mapping[int, Record], run_bytes: int) -> None:
        """Put records, by the next numbers, everywhere but under their ids, where they are."""
        if not run:
            return
        self._by_digest.add(*run.values())
        self._index.extend([record.key for record in run.values()])
        self._log.extend(run)
        self._bytes += run_bytes
        self._seq += len(run)

    def _remove(self, record: Record, winner: Record | None = None) -> None:
        """Forget a record whose life is over, or which `winner` is about to replace."""
        self._by_digest.remove(record)
        del self._log[self._ids(record.id).pop(record.id)]
        self._index.discard(record.key)
        self._bytes -= record.size_bytes

    def _ids(self, id: str) -> dict[str, int]:
        """Return the dict `id` is in. A dict picks its slot by the low bits of the hash, so take others."""
        return self._seq_by_id[(hash(id) >> 24) % SHARDS]
