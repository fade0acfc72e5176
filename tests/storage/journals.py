"""What the tests of the journal share."""

# pyright: reportPrivateUsage=false

import math
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from storage import JournalStore, StoreLimits, open_store
from storage.journal_writer import JournalWriter
from validator import Record, sign

ROOT = Path(__file__).resolve().parent.parent.parent
T0 = 1_800_000_000_000
TTL_MS = 24 * 3600 * 1000
PATIENCE_S = 60.0
"""How long to wait for what must come; only a failing test waits so long."""


def make_record(n: int, raw: str = "", id: str = "", time_stamp: int | None = None) -> Record:
    text = raw or f"record number {n}"
    return Record.of(id or f"{n:032x}", text, sign(text), T0 + n if time_stamp is None else time_stamp)


def open_journal(path: Path, wall_ms: int = T0, limits: StoreLimits | None = None) -> JournalStore:
    store = open_store(TTL_MS, limits, path, wall_ms)
    assert isinstance(store, JournalStore)
    return store


def held(store: JournalStore, wall_ms: int = T0) -> list[Record]:
    return store.page(b"", wall_ms, 10_000_000)


def add(store: JournalStore, *records: Record) -> None:
    """Add records and wait until they are on the disk."""
    for record in records:
        store.add(record, T0)
    wait_durable(store.writer, store.statistics().seq)


def wait_for(condition: Callable[[], object]) -> None:
    """Look until it is so."""
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.001)


def wait_durable(writer: JournalWriter, seq: int) -> None:
    """Wait until everything up to a number is on the disk."""
    wait_for(lambda: writer.durable_seq >= seq)


def wait_clean(writer: JournalWriter) -> None:
    """Wait until the file holds what the store does, and what is free has been given back."""

    def is_clean() -> bool:
        with writer._lock:
            at_work = writer._begun_s < math.inf
            return not (at_work or writer._has_work() or writer._bound or writer._spare)

    wait_for(is_clean)


def copy_as_after_a_crash(source: Path, target: Path) -> None:
    """Copy a directory whose store is open and idle: what a kill at this moment would leave."""
    target.mkdir()
    for name in ("journal.sqlite", "journal.sqlite-wal"):
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


class Watch:
    """Wait for a condition that the writer thread brings about."""

    def __init__(self, store: JournalStore) -> None:
        self._changed = threading.Condition()
        store.writer.on_change = self._notify

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def wait(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE_S)
