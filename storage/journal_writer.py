"""The thread that writes the journal: what has gathered goes into the file in one transaction.

Callers say what came (`add`) and what went (`drop`) and never wait. The thread takes what there is,
commits it, and says up to which number everything is safe.

When a commit fails, everything it held goes back in line and is tried again, with growing pauses, until
there is room; meanwhile `trouble` says why. A full disk can still make room by itself: removals go first
and alone, because they need little space and free pages for what follows.

Between commits the thread keeps house: it removes what an earlier run left, gives space back, and wipes the
log of what was removed. That may wait, so when it fails it is only tried again later.
"""

import contextlib
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping

from storage.journal_file import JournalFile, NoRoom, is_full
from storage.journal_line import BATCH_CHARS_MAX, BATCH_RECORDS_MAX, Batch, Line
from validator import Record

COMMIT_EVERY_S = 0.002
"""Least time between the beginnings of two commits. Our choice: a commit costs 150 us of CPU beside the sync
(measured), so a stream of single records is grouped; the first after a quiet time does not wait."""

RETRY_S_MIN = 0.1
RETRY_S_MAX = 2.0
"""Pause after a failed commit, doubling from the first to the second: who made room sees it used at once."""

CHORES_PAUSE_S = 2.0
"""Pause of the housekeeping after it has failed. Our choice: that of commits at their most."""

WIPE_EVERY_S = 60.0
"""Least time between two emptyings of the log, each of which syncs the journal. Our choice: a text whose life
is over is on the disk for a minute more at most, and a node where texts end all the time hardly notices."""


class JournalWriter:
    """Write records to a journal from a thread of its own.

    `add` and `drop` are for one thread, everything else may be called from any.

    Args:
        file: the open journal; it belongs to this object from now on.
        durable_seq: int, everything up to this number is in the file already.

    Attributes:
        line: what waits to be written, and how much may.
        answer_s_max: float, a disk that has not answered for longer is trouble; without end by default.
        on_change: called on the writer thread whenever `durable_seq` or `trouble` has changed. It must
            return at once, raise nothing, and not use the writer but for its properties.
    """

    def __init__(self, file: JournalFile, durable_seq: int = 0) -> None:
        self.line = Line(durable_seq)
        self.answer_s_max = math.inf
        self.on_change: Callable[[], None] = lambda: None
        self._file = file
        self._bound = b""  # rows with keys below it are to be removed
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._idle = self._closing = False
        self._spare = True  # there may be free pages to give back
        self._wipe = False  # the log may hold what has been removed
        self._begun_s = math.inf  # when what the disk has been asked for was begun
        self._chores_after_s = self._wipe_after_s = 0.0
        self._durable_seq = durable_seq
        self._commits = 0
        self._trouble = ""
        self._retry_s = 0.0
        self._not_before_s = 0.0
        self._thread = threading.Thread(target=self._run, name="dayfly-journal", daemon=True)
        self._thread.start()

    # --- for the store ----------------------------------------------------------------------------------

    def add(self, records: Mapping[int, Record]) -> None:
        """Have records written, by number: ascending, and greater than all before."""
        with self._lock:
            for seq, record in records.items():
                self.line.add(seq, record)
                if record.key < self._bound:  # a clock set back: not to be taken for a row of the earlier run
                    self._bound = record.key
            self._wake()

    def drop(self, record: Record, winner: Record | None = None) -> None:
        """Have the row of `record` removed, or never written if it still waits; see `Line.drop`."""
        with self._lock:
            self.line.drop(record, winner)
            self._wake()

    def drop_below(self, bound: bytes) -> None:
        """Have rows of an earlier run that are over, those with keys below `bound`, removed at leisure."""
        with self._lock:
            self._bound = bound
            self._work.notify()  # a chore may be done now; commits wait as they did

    @property
    def durable_seq(self) -> int:
        """All records up to this number are on the disk, or gone again."""
        return self._durable_seq

    @property
    def waiting(self) -> int:
        """How many records are not on the disk yet."""
        with self._lock:
            return len(self.line)

    def waits_for(self, record: Record) -> int:
        """Return the number that `durable_seq` must reach for `record` to be safe; 0 if it is already."""
        with self._lock:
            return self.line.number(record)

    @property
    def trouble(self) -> str:
        """Why nothing can be written at the moment; empty when all is well."""
        late = time.monotonic() - self._begun_s > self.answer_s_max
        return self._trouble or (f"the disk has not answered for {self.answer_s_max:.0f} s" if late else "")

    @property
    def commits(self) -> int:
        """How many transactions have been committed."""
        return self._commits

    def close(self) -> int:
        """Write what waits, let go of the file, and return how many records could not be written."""
        with self._lock:
            self._closing = True
            self._work.notify()
        self._thread.join()
        self._file.close()
        return len(self.line)

    # --- the thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as exc:
            # Nobody may wait for a thread that is no more: say so, and let the interpreter report it.
            with self._lock:
                self._trouble = f"the writer thread has ended: {exc!r}"
            self.on_change()
            raise

    def _turn(self) -> bool:
        """Wait for work and do some of it; return whether there is a next turn."""
        with self._lock:
            self._wait_for_work()
            if self._closing and self.line.empty:
                return False
            batch = self.line.take(removals_first=bool(self._trouble) and not self._closing)
            self._begun_s = time.monotonic()
            self._not_before_s = self._begun_s + COMMIT_EVERY_S
        saved = self._save(batch)
        self._keep_house()
        return saved or not self._closing

    def _save(self, batch: Batch) -> bool:
        """Commit a batch; return whether it is safe."""
        try:
            if batch.adds or batch.drops:
                self._file.commit([record for _, record in batch.adds.values()], list(batch.drops))
        except (sqlite3.Error, OSError, NoRoom) as exc:
            self._fail(exc)
            return False
        self._finish(batch)
        return True

    def _keep_house(self) -> None:
        """Do a chore if one may be done now."""
        with self._lock:
            if self._closing or self._chore_wait_s() != 0:
                return
            bound, idle = self._bound, self.line.empty
            self._begun_s = time.monotonic()
        try:
            if bound:
                self._wipe = True
                if not self._file.drop_below(bound, BATCH_RECORDS_MAX, BATCH_CHARS_MAX):
                    self._forget(bound)
            elif self._spare:
                self._spare = self._file.give_back()
            elif idle:
                self._file.empty_log()
                self._wipe = False
                self._wipe_after_s = time.monotonic() + WIPE_EVERY_S
        except (sqlite3.Error, OSError) as exc:
            self._recover(exc)
            self._chores_after_s = time.monotonic() + CHORES_PAUSE_S
        late, self._begun_s = self.trouble != self._trouble, math.inf
        if late:
            self.on_change()

    def _chore_wait_s(self) -> float | None:
        """Return after how many seconds a chore may be done; None if there is none."""
        if not (self._bound or self._spare or self._wipe):
            return None
        after_s = self._chores_after_s
        if not (self._bound or self._spare):
            after_s = max(after_s, self._wipe_after_s)
        return max(after_s - time.monotonic(), 0.0)

    def _wake(self) -> None:
        if self._idle or self.line.full_batch:
            self._idle = False
            self._work.notify()

    def _wait_for_work(self) -> None:
        self._idle = True
        while not self._has_work() and (wait_s := self._chore_wait_s()) != 0:
            self._work.wait(wait_s)
        self._idle = False
        left_s = self._not_before_s - time.monotonic()
        if left_s > 0:
            self._work.wait_for(self._is_urgent, left_s)

    def _has_work(self) -> bool:
        unsaid = self.line.seq > self._durable_seq
        return not self.line.empty or unsaid or self._closing

    def _is_urgent(self) -> bool:
        return self._closing or (not self._trouble and self.line.full_batch)

    def _finish(self, batch: Batch) -> None:
        """Say that a batch is safe."""
        with self._lock:
            before = (self._durable_seq, self.trouble)
            self._begun_s = math.inf
            self.line.done()
            self._commits += bool(batch.adds or batch.drops)
            self._durable_seq = max(self._durable_seq, batch.seq)
            self._spare |= bool(batch.drops)
            self._wipe |= bool(batch.drops)
            if batch.adds or not len(self.line):
                self._trouble = ""
                if batch.adds or batch.drops:  # an empty batch says nothing about the disk
                    self._retry_s = 0.0
            changed = before != (self._durable_seq, self._trouble)
        if changed:
            self.on_change()

    def _fail(self, exc: Exception) -> None:
        """Say that nothing can be written, and why; what was in hand waits again."""
        self._recover(exc)
        with self._lock:
            self.line.put_back()
            self._begun_s = math.inf
            before, self._trouble = self._trouble, self._file.reason(exc)
            self._retry_s = min(max(self._retry_s * 2, RETRY_S_MIN), RETRY_S_MAX)
            self._not_before_s = time.monotonic() + self._retry_s
        if before != self._trouble:
            self.on_change()

    def _recover(self, exc: Exception) -> None:
        """Have the file ready for another try."""
        if is_full(exc):
            self._file.settle()
        else:
            with contextlib.suppress(sqlite3.Error):
                self._file.reopen()

    def _forget(self, bound: bytes) -> None:
        """Nothing is left of the earlier run's expired rows."""
        with self._lock:
            if self._bound == bound:
                self._bound = b""
            self._spare = True
