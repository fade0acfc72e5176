"""From the file to the store: read the journal at the start, and rescue what is whole if it is damaged.

Every row is verified by its own digest and offered to the store like any other record, so the rules of
the store decide what stays, in whatever order rows are found. If anything is wrong, all intact rows are
read from the raw bytes, a new journal is written from what the store then holds, and the damaged one is
kept under another name.
"""

import contextlib
import gc
import sqlite3
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from storage.base import Stored, StoreFull
from storage.data_dir import DataDir, StoreUnusable
from storage.journal_file import JournalFile, error_code
from storage.journal_format import JournalDamaged, JournalTooNew, check_header, create_journal
from storage.memory import MemoryStore
from storage.salvage import Found, RawJournal, parse_row
from storage.write_ahead_log import WriteAheadLog
from validator import Record, key_bound

PROGRESS_ROWS = 10_000
"""Rows between two calls of `progress`: some tenths of a second."""

PAGE_RECORDS = 1_000

NOT_DAMAGE = {
    sqlite3.SQLITE_BUSY: "another program has it open",
    sqlite3.SQLITE_LOCKED: "another program has it open",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_NOMEM: "memory is short",
    sqlite3.SQLITE_FULL: "no space is left on its device",
}
"""Errors of SQLite that say nothing about the file."""

Progress = Callable[[int, int], None]
"""Called with how many rows have been read and how many there are; the total is 0 if it is not known."""


@dataclass(frozen=True, slots=True)
class JournalReport:
    """What came back from the journal at the start.

    Attributes:
        path: where the journal is.
        restored: int, records that are held again.
        expired: int, rows whose life looks over; they are removed from the file later (`HIDDEN_KEPT_S`).
        superseded: int, rows that lost against another of the same id.
        left_out: int, records for which the store's limits leave no room; they stay in the file, or in the
            damaged one.
        damage: str, what was wrong with the file, in words; empty if nothing was.
        damaged_path: Path | None, where the damaged file now is, with its log beside it.
        unreadable: int, records of which only a part was found: at least so many are lost from here.
    """

    path: Path
    restored: int
    expired: int = 0
    superseded: int = 0
    left_out: int = 0
    damage: str = ""
    damaged_path: Path | None = None
    unreadable: int = 0


@dataclass(slots=True)
class Restored:
    """An open journal that matches the store, but for what is still to be written.

    Attributes:
        file: the journal. bound: all its rows that the store was not given have keys below; empty if there
            are none.
        adds: records that the store holds and the file lacks. drops: those for which it is the other way.
        report: as above.
    """

    file: JournalFile
    bound: bytes
    adds: list[Record]
    drops: list[Record]
    report: JournalReport


@dataclass(slots=True)
class _Replay:
    """Offer records to a store and count what becomes of them."""

    store: MemoryStore
    wall_ms: int
    ttl_ms: int
    progress: Progress
    total: int = 0
    done: int = 0
    expired: int = 0
    superseded: int = 0
    left_out: int = 0
    bound: bytes = b""
    unreadable: set[bytes] = field(default_factory=set[bytes])
    drops: list[Record] = field(default_factory=list[Record])

    def offer(self, records: list[Record]) -> list[Record]:
        """Return those records that are now held and were not before."""
        new: list[Record] = []
        for record, answer in zip(records, self.store.add_many(records, self.wall_ms), strict=True):
            if isinstance(answer, StoreFull):
                self.left_out += 1
                self.bound = max(self.bound, record.key + b"\0")  # the next key: its row is below
                continue
            if isinstance(answer, Stored):
                new.append(record)
                loser = answer.loser
            else:
                loser = None if answer.holder.key == record.key else record
            if loser is not None:
                self.superseded += 1
                self.drops.append(loser)
        return new

    def read(self, file: JournalFile, bound: bytes) -> None:
        """Offer all rows from `bound` on. Raises JournalDamaged at the first that is not as written."""
        self.expired, self.total = file.count(bound)
        self.bound = bound if self.expired else b""
        last, some = b"", list[Record]()
        for n, row in enumerate(file.rows(bound)):
            record = parse_row(*row)
            if record is None:
                raise JournalDamaged(f"row {n + 1} is not what was written")
            if record.key <= last:  # a page that stands in the place of another; SQLite's check passes it
                raise JournalDamaged(f"row {n + 1} is out of order")
            last = record.key
            some.append(record)
            if n % PROGRESS_ROWS == 0:
                self.offer(some)
                some.clear()
                self.progress(n, self.total)
        self.offer(some)
        self.progress(self.total, self.total)

    def salvage(self, found: Found) -> None:
        """Offer what the raw bytes hold, many of it for the second time."""
        key, record = found
        if self.lives(int.from_bytes(key[:8], "big")) and not self.store.has(key[8:]):
            if record is None:
                self.unreadable.add(key)
            else:
                self.offer([record])
            self.done += 1
            if self.done % PROGRESS_ROWS == 0:
                self.progress(self.done, 0)

    def lives(self, time_stamp: int) -> bool:
        return time_stamp + self.ttl_ms > self.wall_ms


def restore(
    directory: DataDir, store: MemoryStore, ttl_ms: int, wall_ms: int, progress: Progress
) -> Restored:
    """Fill an empty store from the journal in `directory` and return the journal, open.

    Raises:
        StoreUnusable: the file cannot be used and is not damaged (its text says why), or there is no room
            to write a new one in place of a damaged one. The directory is as before.
    """
    replay = _Replay(store, wall_ms, ttl_ms, progress)
    try:
        aside = directory.swap(wall_ms)  # a repair that was cut off in its last steps
        log = WriteAheadLog(directory.log_bytes())
        if not directory.journal.exists() and not log.data:
            create_journal(directory.journal, ())
        try:
            behind = _behind(directory, log)  # before SQLite has the file: see there
            with _no_collection():
                file = _read(directory, replay, log)
            new = replay.offer([r for r in behind if replay.lives(r.time_stamp)])
            damage = "a repair was cut off and has been finished now" if aside else ""
        except JournalDamaged as exc:
            new, damage = [], str(exc)
            file, aside = _rescue(directory, replay, log, damage)
            replay.drops.clear()
    except StoreUnusable:
        raise
    except (JournalTooNew, OSError) as exc:
        raise StoreUnusable(f"the journal {directory.journal} cannot be used: {exc}") from exc
    except sqlite3.Error as exc:
        reason = NOT_DAMAGE.get(error_code(exc), str(exc))
        raise StoreUnusable(f"the journal {directory.journal} cannot be used: {reason}") from exc
    report = JournalReport(
        path=directory.journal,
        restored=store.statistics().records,
        expired=replay.expired,
        superseded=replay.superseded,
        left_out=replay.left_out,
        damage=damage,
        damaged_path=aside,
        unreadable=sum(not store.has(key[8:]) for key in replay.unreadable),
    )
    return Restored(file, replay.bound, new, replay.drops, report)


def _read(directory: DataDir, replay: _Replay, log: WriteAheadLog) -> JournalFile:
    """Open the journal and read it as SQLite sees it.

    Raises:
        JournalDamaged: anything about it is not as it was written.
        JournalTooNew, OSError, sqlite3.Error: it cannot be used for a reason that is not damage.
    """
    try:
        check_header(directory.journal)
    except FileNotFoundError as exc:
        raise JournalDamaged("it is missing, only its log is there") from exc
    if log.complete > log.intact:
        raise JournalDamaged(f"its log is damaged after frame {log.intact} of {log.complete}")
    file = None
    try:
        file = JournalFile(directory.journal)
        file.check()
        replay.read(file, key_bound(replay.wall_ms - replay.ttl_ms + 1))
    except BaseException as exc:
        # What closing does to the file is harmless: the log, which is intact, is copied into it.
        if file is not None:
            file.close()
        if isinstance(exc, sqlite3.DatabaseError) and error_code(exc) not in NOT_DAMAGE:
            raise JournalDamaged(str(exc)) from exc
        raise
    return file


def _behind(directory: DataDir, log: WriteAheadLog) -> list[Record]:
    """Return the records that lie whole in the log behind its last transaction.

    They were never acknowledged, but there is no reason to lose them: peers may have them. Nothing but
    SQLite may open the file once SQLite has: whoever in a process closes a file gives up all locks the
    process has on it (POSIX, fcntl), and another program could then take the log from under the node.
    """
    with RawJournal(directory.journal, log) as raw:
        return [record for _, record in raw.logged_rows(log.unfinished) if record is not None]


def _rescue(
    directory: DataDir, replay: _Replay, log: WriteAheadLog, damage: str
) -> tuple[JournalFile, Path | None]:
    """Read what is whole from the raw bytes, and put a new journal in the place of the damaged one."""
    with RawJournal(directory.journal, log) as raw:
        for found in chain(raw.rows(), raw.logged_rows(log.pages)):
            replay.salvage(found)
    try:
        create_journal(directory.restored, _records(replay.store, replay.wall_ms))
    except (sqlite3.Error, OSError) as exc:
        size_mb = replay.store.statistics().bytes * 2 // 1_000_000 + 1
        raise StoreUnusable(
            f"the journal {directory.journal} is damaged ({damage}), and a new one with what is whole in it,"
            f" {size_mb} MB or less, cannot be written beside it: {exc}"
        ) from exc
    aside = directory.swap(replay.wall_ms)
    return JournalFile(directory.journal), aside


@contextlib.contextmanager
def _no_collection() -> Generator[None]:
    """Keep the garbage collector out: records hold no references, and its passes cost a sixth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _records(store: MemoryStore, wall_ms: int) -> Iterator[Record]:
    after = b""
    while page := store.page(after, wall_ms, PAGE_RECORDS):
        yield from page
        after = page[-1].key
