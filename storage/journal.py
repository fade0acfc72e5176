"""The store that survives: memory holds the truth and answers everything, a journal follows it.

`add` puts the record into memory and tells a writer thread, which commits what has gathered in one
transaction; whoever must know that a record is safe waits for `durable_seq` to reach its number. The
journal is told of every record that comes and of every one that goes, so that file and memory hold the
same as soon as the thread has caught up.

When the disk is full or fails, memory goes on: records already taken in (peers may have them by then) stay
and wait in line, and `trouble` says why. Who takes records from clients refuses them while there is
trouble; records from peers are taken until the line is full, then refused like in a full store, and
fetched from the peers later. When the disk has room again the line is written and all is well without a
restart.

Rows that look over at the start are not shown, and stay in the file for a while: the clock may be wrong.
Rows for which lower limits left no room stay hidden too, until their life is over.
"""

import time
from collections.abc import Mapping

from storage.base import StoreFull, StoreLimits
from storage.data_dir import DataDir
from storage.journal_writer import JournalWriter
from storage.memory import MemoryStore
from storage.restore import JournalReport, Progress, restore
from validator import Record, key_bound

HIDDEN_KEPT_S = 600.0
"""How long rows that look over at the start stay in the file; then, and again after each such time, all rows
that memory was not given are judged. Our choice: a machine that starts with a wrong clock hears the time from
its network within a minute or two, and ten minutes more on the disk are little beside a life of a day."""


class JournalBehind(StoreFull):
    """Too much waits to be written to the journal. Nothing was stored.

    Attributes:
        limit: `journal`. limit_max: int, how many records may wait.
    """

    def __init__(self, waiting: int, waiting_max: int, trouble: str) -> None:
        super().__init__("journal", waiting_max)
        why = trouble or "it is behind; try again soon"
        self.args = (f"{waiting} records wait to be written to the journal: {why}",)


class JournalStore(MemoryStore):
    """Hold records in memory and in a journal. Implements `Store`; every read is that of `MemoryStore`.

    Opening reads the journal, which takes about ten seconds for a million records and blocks.

    Args:
        ttl_ms, limits: as in `MemoryStore`.
        directory: the data directory, claimed; the store releases it, also when opening fails.
        wall_ms: int, Unix milliseconds now; rows whose life is over by then do not come back, and are removed
            if they still look so after `HIDDEN_KEPT_S`, when `expire` is called.
        progress: called on this thread with the rows read so far and their total (0: not known).

    Raises:
        StoreUnusable: the journal cannot be used; its text names the path and says why.
        ValueError: `ttl_ms` is less than 1 (the caller's fault).
    """

    def __init__(
        self,
        ttl_ms: int,
        limits: StoreLimits | None,
        directory: DataDir,
        wall_ms: int,
        progress: Progress = lambda done, total: None,
    ) -> None:
        self._directory = directory
        self._writer: JournalWriter | None = None
        self._hidden_below = b""  # in the file there may be rows below this key that memory was not given
        self._judged_s = time.monotonic()
        try:
            super().__init__(ttl_ms, limits)
            restored = restore(directory, self, ttl_ms, wall_ms, progress)
        except BaseException:  # an interrupted start must not leave the directory claimed either
            directory.release()
            raise
        self.report: JournalReport = restored.report
        """What came back at the start."""
        first_new = self._seq - len(restored.adds) + 1  # what the file lacks was offered last
        self._writer = JournalWriter(restored.file, durable_seq=first_new - 1)
        self._hidden_below = restored.bound
        last = restored.adds[-1] if restored.adds else None  # every winner that is no row yet is in by then
        for record in restored.drops:
            self._writer.drop(record, last)
        for seq, record in enumerate(restored.adds, first_new):
            if self.has(record.digest):  # not replaced by one further on
                self._writer.add({seq: record})

    @property
    def trouble(self) -> str:
        """Why nothing can be written at the moment; see `Store.trouble`."""
        return self.writer.trouble

    @property
    def writer(self) -> JournalWriter:
        """The journal's writer: `durable_seq`, `waiting`, `on_change`."""
        assert self._writer is not None  # set once the journal has been read
        return self._writer

    def expire(self, wall_ms: int, count_max: int) -> list[Record]:
        """Remove what is over, and what still is of the rows hidden at the start; see `Store.expire`."""
        expired = super().expire(wall_ms, count_max)
        # Only when nothing in memory is over: its rows are removed one by one.
        if self._hidden_below and len(expired) < count_max:
            now_s = time.monotonic()
            if now_s >= self._judged_s + HIDDEN_KEPT_S:
                self._judged_s = now_s
                self._drop_hidden(key_bound(wall_ms - self._ttl_ms + 1))
        return expired

    def close(self) -> None:
        """Write what waits and let go of the directory.

        Raises:
            OSError: some records could not be written and are lost with this process. All is released.
        """
        lost = self.writer.close()
        self._directory.release()
        if lost:
            raise OSError(f"{lost} records could not be saved: {self.writer.trouble}")

    def _drop_hidden(self, living_from: bytes) -> None:
        """Have those rows removed that were hidden at the start and are over now."""
        self.writer.drop_below(min(living_from, self._hidden_below))
        if living_from >= self._hidden_below:
            self._hidden_below = b""

    # --- told by MemoryStore of every change ------------------------------------------------------------

    def _room(self) -> tuple[int, int]:
        records_left, bytes_left = super()._room()
        if self._writer is None:
            return records_left, bytes_left
        line_records, line_chars = self._writer.line.room  # a text is never shorter in bytes
        return min(records_left, line_records), min(bytes_left, line_chars)

    def _make_room(self, record: Record, loser: Record | None, wall_ms: int) -> None:
        writer = self._writer
        if writer is not None and not writer.line.has_room(record):
            raise JournalBehind(len(writer.line), writer.line.records_max, writer.trouble)
        super()._make_room(record, loser, wall_ms)

    def _insert(self, run: Mapping[int, Record], run_bytes: int) -> None:
        super()._insert(run, run_bytes)
        if self._writer is not None and run:
            self._writer.add(run)

    def _remove(self, record: Record, winner: Record | None = None) -> None:
        super()._remove(record, winner)
        if self._writer is not None:
            self._writer.drop(record, winner)
