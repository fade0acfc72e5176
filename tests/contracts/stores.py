"""The stores put to the contract and what its tests share. To add a store: one line in `STORES`."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from storage import DataDir, JournalStore, MemoryStore, Store, StoreLimits
from validator import Record, sign

MakeStore = Callable[[int, StoreLimits], Store]


FAST_DIR = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - made by mkdtemp
"""A file system in memory where there is one: a thousand stores need no disk to sync to."""


class MirroredStore(JournalStore):
    """A journalled store in a directory of its own, which compares file and memory when it is closed."""

    def __init__(self, ttl_ms: int, limits: StoreLimits) -> None:
        self._path = Path(tempfile.mkdtemp(prefix="dayfly-contract-", dir=FAST_DIR))
        super().__init__(ttl_ms, limits, DataDir(self._path), T0)

    def close(self) -> None:
        """Close, see that the file holds exactly what memory holds, and remove it."""
        held = self.window(b"", b"\xff" * 41)
        keys = held.keys(0, len(held))
        super().close()
        with sqlite3.connect(self._path / "journal.sqlite") as file:
            rows = [key for (key,) in file.execute("SELECT key FROM record ORDER BY key")]
        file.close()
        shutil.rmtree(self._path)
        assert rows == keys


STORES: dict[str, MakeStore] = {
    "memory": MemoryStore,
    "journal": MirroredStore,
}

every_store = pytest.mark.parametrize("make", STORES.values(), ids=STORES.keys())

T0 = 1_800_000_000_000
MINUTE_MS = 60_000
TTL_MS = 24 * 60 * MINUTE_MS
LIMITS = StoreLimits()


def make_record(id: str, time_stamp: int = T0, raw: str = "hello") -> Record:
    return Record.of(id, raw, sign(raw), time_stamp)


def snapshot(store: Store, wall_ms: int) -> list[Record]:
    return store.page(b"", wall_ms, 1_000_000)
