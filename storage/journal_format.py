"""What a journal looks like: its table, its header, how one is made and how one is recognised.

A journal is made under another name and takes its own when it is complete, so there never is a half made
one. The version stands in two places of the header, so that a damaged one is not taken for a later one.
"""

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from storage.data_dir import create_private, partial_of, remove_partial, sync_directory
from storage.write_ahead_log import PAGE_BYTES
from validator import Record

SCHEMA_VERSION = 1

APPLICATION_ID = 0x44660000
""""Df" and the version once more: if the two places disagree, the header is damaged, not from the future."""

_TABLE = """
CREATE TABLE record (
    key BLOB PRIMARY KEY NOT NULL, id BLOB NOT NULL, raw BLOB NOT NULL, signature BLOB NOT NULL
) WITHOUT ROWID
"""


class JournalDamaged(Exception):
    """The file is not what was written; the text says what was noticed first."""


class JournalTooNew(Exception):
    """The file is sound and of a schema this program does not know."""


def check_header(path: Path) -> None:
    """See that a file begins like a journal, before SQLite acts on what it says there.

    Raises:
        JournalDamaged: it does not.
        JournalTooNew: a later program wrote it.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        header = file.read(100)
    version, application = header[60:64], header[68:72]
    number = int.from_bytes(version, "big")
    if (
        len(header) < 100
        or header[:20] != b"SQLite format 3\0" + PAGE_BYTES.to_bytes(2, "big") + b"\2\2"  # with a log
        or int.from_bytes(application, "big") != APPLICATION_ID + number
        or not number
    ):
        raise JournalDamaged("its header is not that of a Dayfly journal")
    if number > SCHEMA_VERSION:
        raise JournalTooNew(
            f"it has schema version {number}, this program knows versions up to {SCHEMA_VERSION}"
        )


def create_journal(path: Path, records: Iterable[Record]) -> None:
    """Write a new journal: complete under `path`, or not there at all.

    Args:
        path: where; a file of that name is replaced.
        records: what it holds, best in key order.

    Raises:
        sqlite3.Error, OSError: it could not be written. Nothing is left behind.
    """
    partial = partial_of(path)
    remove_partial(partial)
    try:
        os.close(create_private(partial))  # SQLite would make it for others to read; its log follows it
        _fill(partial, records)
        fd = os.open(partial, os.O_RDWR)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        partial.rename(path)
    except BaseException:  # interrupted or not, half a journal is not left behind
        remove_partial(partial)
        raise
    sync_directory(path.parent)


def _fill(path: Path, records: Iterable[Record]) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA synchronous = OFF")  # nobody knows the file yet; it is synced as a whole
        connection.execute("PRAGMA journal_mode = OFF").fetchall()
        connection.execute(_TABLE)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID + SCHEMA_VERSION}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO record VALUES (?, ?, ?, ?)",
            ((r.key, r.id.encode(), r.raw.encode(), r.signature.encode()) for r in records),
        )
        connection.execute("COMMIT")
        connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
    finally:
        connection.close()
