"""The stores put to the contract and what its tests share. To add a store: one line in `STORES`."""

from collections.abc import Callable

import pytest

from storage import MemoryStore, Store, StoreLimits
from validator import Record, sign

MakeStore = Callable[[int, StoreLimits], Store]

STORES: dict[str, MakeStore] = {
    "memory": MemoryStore,
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
