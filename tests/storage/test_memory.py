"""What only the memory store promises: a log that stays small, and a known price for each record.

What it shares with every store is in tests/contracts.
"""

# pyright: reportPrivateUsage=false

import gc
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import MemoryStore, Stored, StoreLimits, open_store
from storage.arrivals import ArrivalLog
from validator import Record, sign

T0 = 1_800_000_000_000
TTL_MS = 24 * 3600 * 1000


def make_record(n: int, raw: str = "hello") -> Record:
    return Record.of(f"{n:032x}", raw, sign(raw), T0 + n)


@settings(max_examples=200)
@given(
    segment=st.integers(1, 5),
    count=st.integers(0, 30),
    steps=st.lists(st.one_of(st.none(), st.floats(0, 1, exclude_max=True)), min_size=10, max_size=60),
)
def test_the_log_answers_like_a_dict_and_stays_half_full(
    segment: int, count: int, steps: list[float | None]
) -> None:
    """Whatever is appended and removed, reading from any number is right and no segment is wasted."""
    log, model, seq = ArrivalLog(segment), dict[int, Record](), 0
    for step in [None] * count + steps:
        if step is None:
            seq += 2
            model[seq] = make_record(seq)
            log.extend({seq: model[seq]})
        elif model:
            gone = list(model)[int(step * len(model))]
            del log[gone], model[gone]
        assert len(log._segments) <= 2 * len(model) / (segment + 1) + 1
    for number, record in model.items():
        assert log[number] is record
    for after in range(-1, seq + 2):
        assert list(log.after(after)) == [(n, r) for n, r in model.items() if n > after]


@pytest.mark.parametrize("number", [0, 4, 6, 99])
def test_a_number_the_log_does_not_hold_is_a_key_error(number: int) -> None:
    """Numbers before, between, removed and after are all absent alike."""
    log = ArrivalLog(segment_records_max=2)
    for seq in (3, 5, 6, 8):
        log.extend({seq: make_record(seq)})
    del log[6]
    with pytest.raises(KeyError):
        log[number]
    with pytest.raises(KeyError):
        del log[number]


def test_a_record_costs_at_most_630_bytes_of_allocations() -> None:
    """With a 32-byte id and a 100-byte raw, record and tables together, before the allocator rounds up."""
    count = 40_000
    tracemalloc.start()
    try:
        store = MemoryStore(TTL_MS)
        for n in range(count):
            store.add(make_record(n, f"{n:0100}"), T0)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert store.statistics().records == count
    assert used / count < 630


def test_a_day_of_coming_and_going_adds_little_to_what_a_record_costs() -> None:
    """When as many go as come, tables do not double: at most 70 bytes more than in a store just filled."""
    count, ttl_ms = 10_000, 10_000
    tracemalloc.start()
    try:
        store = MemoryStore(ttl_ms)
        for n in range(count):
            store.add(make_record(n), T0 + n)
        filled, _ = tracemalloc.get_traced_memory()
        for n in range(count, 2 * count):
            store.expire(T0 + n, 10)
            store.add(make_record(n), T0 + n)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert store.statistics().records == count
    assert used - filled < 70 * count


def test_the_garbage_collector_sees_no_object_for_each_record() -> None:
    """Ten thousand records add few objects to a full collection, so it stays short at a million."""
    store = MemoryStore(TTL_MS)
    gc.collect()
    before = len(gc.get_objects())
    for n in range(10_000):
        store.add(make_record(n), T0)
    gc.collect()
    assert len(gc.get_objects()) - before < 1_000


def test_removed_records_leave_nothing_behind() -> None:
    """Memory returns when records go, also when they come and go for ever."""
    store = MemoryStore(ttl_ms=100)
    n = 0

    def churn(count: int) -> int:
        nonlocal n
        for _ in range(count):
            n += 1
            store.add(make_record(n), T0 + n)
            store.expire(T0 + n, 10)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        first = churn(5_000)
        last = churn(20_000)
    finally:
        tracemalloc.stop()
    assert store.statistics().records == 100
    assert last < first + 50_000


@pytest.mark.parametrize("ttl_ms", [0, -1])
def test_a_store_without_a_lifetime_is_refused(ttl_ms: int) -> None:
    """A lifetime below one millisecond is a mistake of the caller."""
    with pytest.raises(ValueError, match="ttl_ms"):
        open_store(ttl_ms)


def test_the_smallest_lifetime_and_limits_work() -> None:
    """One millisecond, one record and its bytes are enough for a store."""
    record = make_record(1)
    store = open_store(1, StoreLimits(records_max=1, bytes_max=record.size_bytes))
    assert store.add(record, record.time_stamp) == Stored(1)
    assert store.get(record.id, record.time_stamp) is record
    assert store.get(record.id, record.time_stamp + 1) is None


@pytest.mark.parametrize(("records_max", "bytes_max"), [(0, 1), (1, 0), (-1, -1)])
def test_limits_that_allow_nothing_are_refused(records_max: int, bytes_max: int) -> None:
    """A limit below one is a mistake of the caller."""
    with pytest.raises(ValueError, match="at least 1"):
        StoreLimits(records_max, bytes_max)
