"""What each operation of the store costs at a given size, per record and the longest single call.

In this process, no node and no sockets. Times are CPU time of this thread, so that others on the machine
count less; a pause of the garbage collector within a call counts with it.
"""

import gc
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from api.seed import encode_as_go
from node.node import SWEEP_RECORDS
from scripts.benches.nodes import raw_of
from scripts.benches.report import Figures, Step
from storage import MemoryStore, StoreLimits
from validator import Record, key_bound, sign

PAGE_RECORDS = 200
LOOKUPS = 10_000
T0 = 1_800_000_000_000
TTL_MS = 24 * 3600 * 1000
CALL_MS_MAX = 50.0

STORE_REQUIRED = {
    f"{name}_longest_ms": CALL_MS_MAX for name in ("add", "page", "list", "expire", "fingerprint", "gc")
}
"""No operation may hold the loop for longer."""

T = TypeVar("T")


class _Stopwatch:
    """Add up calls and remember the longest."""

    def __init__(self) -> None:
        self.total_s = self.longest_s = 0.0

    def run(self, call: Callable[[], T]) -> T:
        """Call and take the time."""
        start_s = time.thread_time()
        result = call()
        span_s = time.thread_time() - start_s
        self.total_s += span_s
        self.longest_s = max(self.longest_s, span_s)
        return result

    def figures(self, name: str, records: int) -> Figures:
        """Return the cost per record and the longest call."""
        per_record_us = self.total_s * 1e6 / records
        return {f"{name}_us": per_record_us, f"{name}_longest_ms": self.longest_s * 1000}


def measure_store(records: int, step: Step) -> Figures:
    """Run one round: fill a store, look up, page, list as HTTP does, take fingerprints, expire all."""
    gc.collect()
    gc.freeze()
    try:
        return _measure(records, step)
    finally:
        gc.unfreeze()


def _measure(records: int, step: Step) -> Figures:
    store = MemoryStore(TTL_MS, StoreLimits(records_max=records))
    spacing_ms = TTL_MS / 2 / records
    now_ms = T0 + TTL_MS // 2
    adds, gets, pages, lists, prints, collects, expires = (_Stopwatch() for _ in range(7))
    for i in range(records):
        if i % 1000 == 0:
            step("adding", i / records / 2)
        record = _record(i, T0 + int(i * spacing_ms))
        adds.run(partial(store.add, record, now_ms))
    step("reading", 0.5)
    for i in range(LOOKUPS):
        gets.run(partial(store.get, f"bench-{i * 7919 % records:07d}", now_ms))
    for page in _pages(store, now_ms, pages):
        lists.run(partial(_encode, page))
    for _ in range(10):  # each after a change near the oldest end, which costs most
        store.expire(T0 + TTL_MS, 1)
        prints.run(lambda: store.window(key_bound(T0), key_bound(now_ms)).sum_ids(1, len_of(store) - 1))
        collects.run(gc.collect)
    step("expiring", 0.8)
    while expires.run(partial(store.expire, now_ms + TTL_MS, SWEEP_RECORDS)):
        pass
    return {
        **adds.figures("add", records),
        **gets.figures("get", LOOKUPS),
        **pages.figures("page", records),
        **lists.figures("list", records),
        **expires.figures("expire", records),
        "fingerprint_longest_ms": prints.longest_s * 1000,
        "gc_longest_ms": collects.longest_s * 1000,
    }


def len_of(store: MemoryStore) -> int:
    """Count what a store holds."""
    return store.statistics().records


def _record(i: int, time_stamp: int) -> Record:
    name = f"bench-{i:07d}"
    raw = raw_of(name)
    return Record.of(name, raw, sign(raw), time_stamp)


def _pages(store: MemoryStore, now_ms: int, watch: _Stopwatch) -> Iterator[list[Record]]:
    """Yield all pages, timing how each is found."""
    after = b""
    while page := watch.run(partial(store.page, after, now_ms, PAGE_RECORDS)):
        yield page
        after = page[-1].key


def _encode(page: list[Record]) -> bytes:
    return b",".join([encode_as_go(record) for record in page])
