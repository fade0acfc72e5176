"""The journal's file: SQLite with one table, whose rows are the records the store holds.

The key is the record's own (time stamp, digest), so rows lie in order of age, new ones are appended and
expired ones free whole pages at the front, which the next ones use again. Every row carries its own
digest in its key.

Settings: a write-ahead log, synced before a commit returns (a record is then safe from the end of the
process and of the machine); an exclusive lock, which also keeps SQLite from mapping shared memory, where
a full disk would kill the process instead of failing a call; deleted text is wiped, because it was
promised to be gone.
"""

import contextlib
import os
import sqlite3
from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from storage.journal_format import JournalDamaged
from storage.write_ahead_log import PAGE_BYTES
from validator import Record

FREE_PAGES_KEPT = 2_048
"""Free pages (16 MiB) the file keeps beside as many as are in use, before it gives some back to the disk."""

GIVE_BACK_PAGES = 256
"""Pages given back at a time: about 2 ms."""

LOG_PAGES = 500
"""Length of the log (4 MiB) from which on it is copied into the file. Our choice: half of SQLite's default
keeps it small beside `RESERVE_BYTES`, and commits are no slower (measured)."""

RESERVE_BYTES = 32 * 1024 * 1024
"""Space on the device that is left for removals, which must first be written themselves: otherwise a journal
that has filled its disk could never shrink. On a small device, an eighth of it."""

Row = tuple[object, object, object, object]
"""Key, id, raw and signature as they stand in the file, not yet verified."""


class NoRoom(Exception):
    """What is left of the device is kept for removals."""


class JournalFile:
    """An open journal. One thread at a time may use it.

    Args:
        path: an existing journal.

    Raises:
        sqlite3.Error: it cannot be opened, or is no database.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = self._connect()

    def _connect(self) -> sqlite3.Connection:
        # By URI because a plain path would make an empty journal where the file has been taken away.
        connection = sqlite3.connect(
            f"{self._path.as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=1.0,
        )
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON").fetchall()
            connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}").fetchall()
        except BaseException:  # interrupted or not, nobody is left to close it
            connection.close()
            raise
        return connection

    def check(self) -> None:
        """See that the file is sound in its structure: a third of a second for a million rows.

        Raises:
            JournalDamaged: it is not.
            sqlite3.DatabaseError: it is damaged so that SQLite cannot go on.
        """
        problem: str = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise JournalDamaged(" ".join(problem.split()))

    def count(self, bound: bytes) -> tuple[int, int]:
        """Count the rows with a key below `bound` (bytes) and those from it on."""
        counts = self._connection.execute(
            "SELECT count(*) FILTER (WHERE key < ?1), count(*) FILTER (WHERE key >= ?1) FROM record", (bound,)
        ).fetchone()
        return int(counts[0]), int(counts[1])

    def rows(self, bound: bytes) -> Iterator[Row]:
        """Yield the rows with a key from `bound` on, in key order."""
        yield from self._connection.execute("SELECT * FROM record WHERE key >= ? ORDER BY key", (bound,))

    def commit(self, adds: Sequence[Record], drops: Sequence[bytes]) -> None:
        """Remove and insert rows in one transaction; when this returns, it is on the disk.

        Args:
            adds: records, in any order; a row with the same key is replaced (it is the same record).
            drops: keys; those that are not there are passed over.

        Raises:
            sqlite3.Error, OSError: it could not be written. The file is as before.
            NoRoom: it was not tried. Removals alone are tried always.
        """
        if adds:
            self._check_room(adds)
        with self._transaction():
            self._connection.executemany("DELETE FROM record WHERE key = ?", [(key,) for key in drops])
            self._insert(adds)

    def drop_below(self, bound: bytes, count_max: int, bytes_max: int) -> bool:
        """Remove the first rows with a key below `bound`; return whether there may be more.

        Args:
            bound: bytes.
            count_max: int, most rows at a time. bytes_max: int, most bytes of raws, or one row.

        Raises:
            sqlite3.Error: as `commit`.
        """
        sizes = self._connection.execute(
            "SELECT key, length(raw) FROM record WHERE key < ? ORDER BY key LIMIT ?", (bound, count_max)
        ).fetchall()
        if not sizes:
            return False
        totals = list(accumulate(size for _, size in sizes))
        last = sizes[max(bisect_right(totals, bytes_max) - 1, 0)][0]
        with self._transaction():
            self._connection.execute("DELETE FROM record WHERE key <= ?", (last,))
        return True

    def give_back(self) -> bool:
        """Give some free pages back to the disk if there are too many; return whether it gave any."""
        free, pages = self._pragma("freelist_count"), self._pragma("page_count")
        if free <= FREE_PAGES_KEPT + (pages - free):
            return False
        self._connection.execute(f"PRAGMA incremental_vacuum({GIVE_BACK_PAGES})").fetchall()
        return True

    def empty_log(self) -> None:
        """Copy the log into the file and cut it off: what it held of rows since removed goes with it.

        Raises:
            sqlite3.Error: as `commit`.
        """
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def reason(self, exc: Exception) -> str:
        """Word an error for people."""
        if isinstance(exc, NoRoom):
            return f"{exc} on the device of {self._path}, which is kept for removals"
        if is_full(exc):
            return f"no space is left on the device of {self._path}"
        return f"{self._path} cannot be written: {exc}"

    def settle(self) -> None:
        """Copy the log into the file as far as possible, so that it can be written from its beginning."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint").fetchall()

    def reopen(self) -> None:
        """Open the file anew after an error that may have left the connection unusable."""
        self.close()
        self._connection = self._connect()

    def close(self) -> None:
        """Copy the log into the file, if that is possible, and let go of it."""
        with contextlib.suppress(sqlite3.Error):  # what is committed is in the log, where it is as safe
            self._connection.close()

    def _check_room(self, adds: Sequence[Record]) -> None:
        device = os.statvfs(self._path.parent)
        left_bytes = device.f_bavail * device.f_frsize
        reserve_bytes = min(RESERVE_BYTES, device.f_blocks * device.f_frsize // 8)
        if left_bytes >= reserve_bytes:
            return
        need_pages = 16 + sum(record.size_bytes + 100 for record in adds) * 2 // PAGE_BYTES
        if self._pragma("freelist_count") < need_pages:
            raise NoRoom(f"only {left_bytes / 1_000_000:.1f} MB are left")

    def _insert(self, records: Iterable[Record]) -> None:
        self._connection.executemany(
            "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?)",
            # Encoded here: binding a str would leave its UTF-8 form attached to it as long as it lives.
            ((r.key, r.id.encode(), r.raw.encode(), r.signature.encode()) for r in records),
        )

    @contextlib.contextmanager
    def _transaction(self) -> Generator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:  # whatever came between must not stay half done
            if self._connection.in_transaction:  # some errors have rolled it back already
                self._connection.execute("ROLLBACK")
            raise

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])


def error_code(exc: Exception) -> int:
    """Return SQLite's primary result code; 0 for errors that are not SQLite's own."""
    return getattr(exc, "sqlite_errorcode", 0) & 0xFF


def is_full(exc: Exception) -> bool:
    """Tell whether an error says that there is no room, and nothing else is wrong."""
    return isinstance(exc, NoRoom) or error_code(exc) == sqlite3.SQLITE_FULL
