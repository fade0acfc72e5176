"""The index against the plainest thing that does the same: a sorted list."""

# pyright: reportPrivateUsage=false

import gc
import hashlib
import random
from bisect import bisect_left
from typing import cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from storage import Index
from storage.index import CHUNK_KEYS_MAX
from validator import KEY_BYTES

DIGESTS = [bytes(32), b"\xff" * 32, *(hashlib.sha256(bytes([n])).digest() for n in range(6))]
"""Few, so that keys meet again; the extremes, so that sums carry and wrap."""


def join_key(time_stamp: int, digest: bytes) -> bytes:
    return time_stamp.to_bytes(8, "big") + digest


keys = st.builds(join_key, st.integers(0, 12), st.sampled_from(DIGESTS))
bounds = st.one_of(keys, st.just(b""), st.builds(join_key, st.integers(0, 14), st.just(b"")))


def make_key(time_stamp: int, n: int = 0) -> bytes:
    return join_key(time_stamp, hashlib.sha256(n.to_bytes(8, "big")).digest())


def plain_sum(some: list[bytes]) -> int:
    return sum(int.from_bytes(key[8:], "little") for key in some) % 2**256


class IndexMachine(RuleBasedStateMachine):
    """Do the same to an index of tiny chunks and to a sorted list, and compare every answer."""

    @initialize(chunk=st.integers(2, 12), open_chunks=st.integers(1, 3))
    def begin(self, chunk: int, open_chunks: int) -> None:
        self.chunk = chunk
        self.index = Index(chunk, open_chunks)
        self.model: list[bytes] = []

    @rule(some=st.sets(keys, min_size=1, max_size=20))
    def extend_one_by_one(self, some: set[bytes]) -> None:
        for key in some.difference(self.model):
            self.index.extend((key,))
        self.model = sorted({*self.model, *some})

    @rule(some=st.sets(keys, max_size=40))
    def extend(self, some: set[bytes]) -> None:
        self.index.extend([key for key in some if key not in self.model])
        self.model = sorted({*self.model, *some})

    @rule(key=keys)
    def discard(self, key: bytes) -> None:
        assert self.index.discard(key) == (key in self.model)
        self.model = [k for k in self.model if k != key]

    @rule(data=st.data())
    def discard_some_it_holds(self, data: st.DataObject) -> None:
        for _ in range(data.draw(st.integers(0, len(self.model)))):
            self.discard(self.model[data.draw(st.integers(0, len(self.model) - 1))])
            self.holds_the_same()

    @rule(count=st.integers(1, 20))
    def discard_from_the_front(self, count: int) -> None:
        for key in self.model[:count]:
            assert self.index.discard(key)
        del self.model[:count]

    @rule(key=bounds, count=st.integers(-1, 30))
    def look_up(self, key: bytes, count: int) -> None:
        assert self.index.rank(key) == bisect_left(self.model, key)
        assert self.index.after(key, count) == [k for k in self.model if k > key][: max(count, 0)]

    @rule(lower=bounds, upper=bounds, data=st.data())
    def look_through_a_window(self, lower: bytes, upper: bytes, data: st.DataObject) -> None:
        window = self.index.window(lower, upper)
        inside = [k for k in self.model if lower <= k < upper]
        assert len(window) == len(inside)
        key = data.draw(bounds)
        assert window.rank(key) == bisect_left(inside, key)
        begin = data.draw(st.integers(0, len(inside)))
        end = data.draw(st.integers(begin, len(inside)))
        assert window.keys(begin, end) == inside[begin:end]
        assert window.sum_ids(begin, end) == plain_sum(inside[begin:end])

    @invariant()
    def holds_the_same(self) -> None:
        assert len(self.index) == len(self.model)
        assert self.index.first() == (self.model[0] if self.model else None)
        assert self.index.keys(0, len(self.model)) == self.model
        assert self.index.sum_ids(0, len(self.model)) == plain_sum(self.model)

    @invariant()
    def wastes_no_chunks(self) -> None:
        assert len(self.index._chunks) <= 2 * len(self.model) / (self.chunk // 2 + 1) + 1


IndexMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=30)
test_an_index_answers_like_a_sorted_list = IndexMachine.TestCase


@pytest.mark.parametrize("order", ["oldest first", "newest first", "shuffled"])
def test_an_index_of_the_real_chunk_size_keeps_ranks_and_sums_in_any_order(order: str) -> None:
    """Counts and sums stay right through thousands of splits, merges and partial rebuilds."""
    rng = random.Random(7)
    model = [make_key(t, t) for t in range(6_000)]
    queue = {"oldest first": model, "newest first": model[::-1], "shuffled": rng.sample(model, len(model))}
    index = Index()
    for key in queue[order]:
        index.extend((key,))
    for key in rng.sample(model, 5_000):
        assert index.discard(key)
        model.remove(key)
        assert index.rank(model[-1]) == len(model) - 1
    for _ in range(200):
        begin, end = sorted(rng.choices(range(len(model) + 1), k=2))
        assert index.keys(begin, end) == model[begin:end]
        assert index.sum_ids(begin, end) == plain_sum(model[begin:end])
        assert index.rank(model[begin - 1]) == (begin - 1) % len(model)
    assert len(index._chunks) <= 2 * len(model) / (CHUNK_KEYS_MAX // 2 + 1) + 1


def test_keys_added_in_order_fill_their_chunks() -> None:
    """Appending in time order leaves full chunks behind, not half-full ones."""
    index = Index(chunk_keys_max=10)
    for t in range(100):
        index.extend((make_key(t),))
    assert len(index._chunks) == 10


def test_only_a_few_chunks_are_lists_the_garbage_collector_walks_through() -> None:
    """Chunks at rest are out of the collector's sight, so its pauses do not grow with the store."""

    def lists_of_keys() -> int:
        gc.collect()
        count = 0
        for some in gc.get_objects():
            first: object = next(iter(cast("list[object]", some)), None) if type(some) is list else None
            count += isinstance(first, bytes) and len(first) == KEY_BYTES
        return count

    before = lists_of_keys()
    index = Index(chunk_keys_max=8, open_chunks_max=5)
    for t in range(400):
        index.extend((make_key(t * 7 % 400, t),))
    assert len(index._chunks) >= 50
    assert lists_of_keys() - before <= 5 + 1  # the open chunks and the one list of their lowest keys


def test_a_bound_may_be_a_bare_time_stamp() -> None:
    """Eight bytes of time are a bound below every key of that millisecond and above all before."""
    index = Index()
    for t in (5, 6, 7):
        index.extend((make_key(t),))
    assert index.rank((6).to_bytes(8, "big")) == 1
    assert index.window((6).to_bytes(8, "big"), (7).to_bytes(8, "big")).keys(0, 1) == [make_key(6)]


@pytest.mark.parametrize(("begin", "end"), [(-1, 1), (2, 1), (0, 4), (0, 1_000)])
def test_ranks_outside_the_set_are_refused(begin: int, end: int) -> None:
    """A range that is not within the set is the caller's error, never a silent other range."""
    index = Index()
    for t in range(3):
        index.extend((make_key(t),))
    with pytest.raises(ValueError, match="not within"):
        index.keys(begin, end)
    with pytest.raises(ValueError, match="not within"):
        index.sum_ids(begin, end)


def test_a_window_does_not_reach_beyond_its_bounds() -> None:
    """Ranks that are good for the index but not for the window are refused."""
    index = Index()
    for t in range(10):
        index.extend((make_key(t),))
    window = index.window(make_key(2), make_key(5))
    assert len(window) == 3
    with pytest.raises(ValueError, match="not within"):
        window.keys(0, 4)
    with pytest.raises(ValueError, match="not within"):
        window.sum_ids(-1, 2)


def test_a_window_is_refused_once_the_index_has_changed() -> None:
    """A stale window says so; one opened before a change that changed nothing is still good."""
    index = Index()
    index.extend((make_key(1),))
    window = index.window(b"", make_key(9))
    assert not index.discard(make_key(2))
    assert window.keys(0, 1) == [make_key(1)]
    index.extend((make_key(2),))
    for use in (lambda: window.keys(0, 1), lambda: window.sum_ids(0, 1), lambda: window.rank(b"")):
        with pytest.raises(RuntimeError, match="changed"):
            use()
