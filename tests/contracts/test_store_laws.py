"""What every store promises whatever comes in whatever order: generated records, clocks and readers."""

from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import Held, Store, Stored, StoreFull, StoreLimits
from tests.contracts.stores import (
    LIMITS,
    MINUTE_MS,
    T0,
    TTL_MS,
    MakeStore,
    every_store,
    make_record,
    snapshot,
)
from validator import Record

conflicting = st.lists(
    st.builds(
        make_record, st.sampled_from("abc"), st.integers(T0, T0 + 3), st.sampled_from(["x", "yy", "zzz"])
    ),
    min_size=1,
    max_size=14,
)


@every_store
@given(records=conflicting, data=st.data())
def test_any_order_and_repetition_of_records_ends_in_the_same_state(
    make: MakeStore, records: list[Record], data: st.DataObject
) -> None:
    """The merge is commutative, associative and idempotent: the smallest key of each id stays."""
    again = data.draw(st.permutations(records + data.draw(st.lists(st.sampled_from(records)))))
    smallest = {r.id: min((o for o in records if o.id == r.id), key=lambda o: o.key) for r in records}
    for offered in (records, again):
        with closing(make(TTL_MS, LIMITS)) as store:
            for record in offered:
                store.add(record, T0)
            assert snapshot(store, T0) == sorted(smallest.values(), key=lambda r: r.key)
            assert {r.id: store.get(r.id, T0) for r in records} == smallest
            assert store.statistics().bytes == sum(r.size_bytes for r in smallest.values())


@every_store
@given(slices=st.lists(conflicting, max_size=3), first_stays=st.booleans(), data=st.data())
def test_records_offered_together_fare_as_one_by_one(
    make: MakeStore, slices: list[list[Record]], first_stays: bool, data: st.DataObject
) -> None:
    """The same answers, refusals for want of room included, the same numbers and the same state."""
    limits = StoreLimits(data.draw(st.integers(1, 4)), data.draw(st.integers(70, 200)))
    with closing(make(TTL_MS, limits)) as together, closing(make(TTL_MS, limits)) as alone:
        for number, some in enumerate(slices):
            later_ms = number * TTL_MS
            wall_ms = T0 + 2 + later_ms  # most of the slice before is over
            records = [make_record(r.id, r.time_stamp + later_ms, r.raw) for r in some]
            answers = together.add_many(records, wall_ms, first_stays)
            for record, answer in zip(records, answers, strict=True):
                if isinstance(answer, StoreFull):
                    with pytest.raises(StoreFull) as refused:
                        alone.add(record, wall_ms, first_stays)
                    assert refused.value.args == answer.args
                else:
                    assert alone.add(record, wall_ms, first_stays) == answer
            assert together.arrivals(0, wall_ms, 99) == alone.arrivals(0, wall_ms, 99)
            assert (held := together.statistics()) == alone.statistics()
            assert held.records <= limits.records_max
            assert held.bytes <= limits.bytes_max
            assert snapshot(together, wall_ms) == snapshot(alone, wall_ms)


@every_store
def test_one_record_that_is_over_has_nothing_stored_of_those_offered_with_it(make: MakeStore) -> None:
    """It is the caller's fault, and whoever catches it knows what is held: what was before."""
    with closing(make(TTL_MS, LIMITS)) as store:
        with pytest.raises(ValueError, match="life ended"):
            store.add_many([make_record("new"), make_record("over", T0 - TTL_MS)], T0)
        assert store.add_many([make_record("edge", T0 - TTL_MS + 1)], T0) == [Stored(1)]
        assert store.add_many([], T0) == []


class Model:
    """The plainest store: a dict by id."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[int, Record]] = {}
        self.dropped: list[Record] = []
        self.seq = 0

    def add(self, record: Record, wall_ms: int) -> Stored | Held:
        loser = None
        if record.id in self.held and self.lives(self.held[record.id][1], wall_ms):
            loser = self.held[record.id][1]
            if loser.key <= record.key:
                return Held(loser)
        elif record.id in self.held:
            self.dropped.append(self.held[record.id][1])
        self.seq += 1
        self.held[record.id] = (self.seq, record)
        return Stored(self.seq, loser)

    def lives(self, record: Record, wall_ms: int) -> bool:
        return record.time_stamp + TTL_MS > wall_ms

    def expire(self, wall_ms: int, count_max: int) -> list[Record]:
        records = sorted((r for _, r in self.held.values()), key=lambda r: r.key)
        told: list[Record] = []
        while self.dropped and len(told) < count_max:
            if (record := self.dropped.pop(0)) not in records:
                told.append(record)
        over = [r for r in records if not self.lives(r, wall_ms)][: count_max - len(told)]
        for record in over:
            del self.held[record.id]
        return told + over

    def compare(self, store: Store, wall_ms: int) -> None:
        living = [(n, r) for n, r in sorted(self.held.values(), key=lambda e: e[0]) if self.lives(r, wall_ms)]
        by_key = sorted((r for _, r in living), key=lambda r: r.key)
        assert snapshot(store, wall_ms) == by_key
        assert store.arrivals(0, wall_ms, 1_000) == living
        for record in by_key:
            assert store.get(record.id, wall_ms) == record
            assert store.by_digest(record.digest, wall_ms) == record
        numbers = store.statistics()
        every = [r for _, r in self.held.values()]
        assert (numbers.records, numbers.seq) == (len(every), self.seq)
        assert numbers.bytes == sum(r.size_bytes for r in every)
        assert numbers.oldest_time_stamp == min((r.time_stamp for r in every), default=None)


skew_ms = st.integers(-10 * MINUTE_MS, 10 * MINUTE_MS)
step_ms = st.one_of(skew_ms, st.sampled_from([-TTL_MS, -1, 0, 1, TTL_MS // 2, TTL_MS, 3 * TTL_MS]))
actions = st.lists(
    st.one_of(
        st.tuples(st.just("add"), skew_ms, st.sampled_from("abcdef")),
        st.tuples(st.just("wait"), step_ms, st.none()),
        st.tuples(st.just("expire"), st.integers(0, 4), st.none()),
    ),
    max_size=40,
)


@every_store
@settings(max_examples=150)
@given(script=actions)
def test_a_store_answers_like_a_dict_under_any_clock(
    make: MakeStore, script: list[tuple[str, int, str | None]]
) -> None:
    """Skewed time stamps, clocks that leap and step back, partial sweeps; and nothing is immortal."""
    model, wall_ms = Model(), T0
    with closing(make(TTL_MS, LIMITS)) as store:
        for verb, number, id in script:
            if verb == "wait":
                wall_ms = max(wall_ms + number, 0)
            elif verb == "expire":
                assert store.expire(wall_ms, number) == model.expire(wall_ms, number)
            elif id is not None:
                record = make_record(id, max(wall_ms + number, 0), f"at {number}")
                assert store.add(record, wall_ms) == model.add(record, wall_ms)
            model.compare(store, wall_ms)
        end_ms = max((r.time_stamp for _, r in model.held.values()), default=0) + TTL_MS
        while swept := store.expire(end_ms, 2):
            assert swept == model.expire(end_ms, 2)
        assert (store.statistics().records, store.statistics().bytes) == (0, 0)
        assert len(store.window(b"", b"\xff" * 40)) == 0


@every_store
@given(
    script=st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abcdefgh"), st.integers(0, 3)), max_size=60)
)
def test_a_reader_of_arrivals_resumes_without_loss_or_doubles(
    make: MakeStore, script: list[tuple[int, str, int]]
) -> None:
    """A reader that reads a little now and then gets every number once and misses nothing that lives."""
    seen: list[tuple[int, Record]] = []
    stored: list[int] = []
    ttl_ms = 20
    with closing(make(ttl_ms, LIMITS)) as store:
        for now, (age, id, count) in enumerate(script, T0):
            answer = store.add(make_record(id, now - age), now)
            if isinstance(answer, Stored):
                stored.append(answer.seq)
            store.expire(now, 1)
            seen += store.arrivals(seen[-1][0] if seen else 0, now, count)
        now = T0 + len(script)
        for _ in script:  # enough to read all, and an end if the store never comes to one
            seen += store.arrivals(seen[-1][0] if seen else 0, now, 2)
        numbers = [n for n, _ in seen]
        assert numbers == sorted(set(numbers))
        assert stored == list(range(1, len(stored) + 1))
        assert set(store.arrivals(0, now, 1_000)) <= set(seen)
