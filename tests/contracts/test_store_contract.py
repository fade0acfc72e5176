"""What every store promises, one example at a time. The laws are in test_store_laws.py."""

from contextlib import closing

import pytest

from storage import Held, Stored, StoreFull, StoreLimits
from tests.contracts.stores import LIMITS, T0, TTL_MS, MakeStore, every_store, make_record, snapshot
from validator import Record


@every_store
def test_a_smaller_key_replaces_the_holder_and_names_the_loser(make: MakeStore) -> None:
    """The loser is reported and gone from every view; the winner has a new number."""
    early, late = make_record("a", T0), make_record("a", T0 + 1, "other")
    with closing(make(TTL_MS, LIMITS)) as store:
        assert store.add(late, T0) == Stored(1, None)
        assert store.add(early, T0) == Stored(2, late)
        assert store.get("a", T0) == early
        assert not store.has(late.digest)
        assert store.has(early.digest)
        assert store.by_digest(late.digest, T0) is None
        assert store.by_digest(early.digest, T0) == early
        assert store.arrivals(0, T0, 10) == [(2, early)]
        assert store.window(b"", b"\xff").keys(0, 1) == [early.key]


@every_store
def test_a_larger_or_equal_key_changes_nothing_and_names_the_holder(make: MakeStore) -> None:
    """The same record again, or a later one of the same id, finds the id held."""
    early, late = make_record("a", T0), make_record("a", T0 + 1, "other")
    with closing(make(TTL_MS, LIMITS)) as store:
        store.add(early, T0)
        before = store.statistics()
        assert store.add(late, T0) == Held(early)
        assert store.add(early, T0) == Held(early)
        assert store.statistics() == before
        assert snapshot(store, T0) == [early]


@every_store
def test_where_the_first_is_to_stay_even_a_smaller_key_finds_the_id_held(make: MakeStore) -> None:
    """Nobody has seen the new record, so no other node can prefer it; an ended life still frees the id."""
    early, late = make_record("a", T0), make_record("a", T0 + 1, "other")
    with closing(make(TTL_MS, LIMITS)) as store:
        store.add(late, T0)
        assert store.add(early, T0, first_stays=True) == Held(late)
        assert snapshot(store, T0) == [late]
        new = make_record("a", T0 + TTL_MS)
        assert store.add(new, T0 + TTL_MS + 1, first_stays=True) == Stored(2, None)


@every_store
def test_a_holder_whose_life_is_over_counts_as_absent(make: MakeStore) -> None:
    """An id is free again at the end of its record's life, swept or not, and nobody lost."""
    old, new = make_record("a", T0), make_record("a", T0 + TTL_MS)
    with closing(make(TTL_MS, LIMITS)) as store:
        store.add(old, T0)
        assert store.add(new, T0 + TTL_MS - 1) == Held(old)
        assert store.add(new, T0 + TTL_MS) == Stored(2, None)
        assert not store.has(old.digest)
        assert store.statistics().records == 1


@every_store
def test_a_record_already_over_is_never_stored(make: MakeStore) -> None:
    """The last millisecond of life is good enough; the end is not."""
    record = make_record("a", T0)
    with closing(make(TTL_MS, LIMITS)) as store:
        with pytest.raises(ValueError, match="life ended"):
            store.add(record, T0 + TTL_MS)
        assert store.statistics().records == 0
        assert store.add(record, T0 + TTL_MS - 1) == Stored(1, None)


@every_store
def test_no_view_shows_a_record_at_its_end(make: MakeStore) -> None:
    """Alive at end - 1 ms, gone at the end, in every view that depends on life and without a sweep."""
    record = make_record("a", T0)
    with closing(make(TTL_MS, LIMITS)) as store:
        store.add(record, T0)
        for wall_ms, seen in ((T0 + TTL_MS - 1, [record]), (T0 + TTL_MS, [])):
            assert snapshot(store, wall_ms) == seen
            assert [r for _, r in store.arrivals(0, wall_ms, 10)] == seen
            assert [r for r in (store.get("a", wall_ms),) if r] == seen
            assert [r for r in (store.by_digest(record.digest, wall_ms),) if r] == seen
        assert store.has(record.digest)
        assert store.expire(T0 + TTL_MS - 1, 10) == []
        assert store.expire(T0 + TTL_MS, 10) == [record]
        assert not store.has(record.digest)


@every_store
def test_a_clock_set_back_brings_nothing_back(make: MakeStore) -> None:
    """What was removed stays removed; if a peer still has it, it arrives anew under a new number, once."""
    record = make_record("a", T0)
    with closing(make(TTL_MS, LIMITS)) as store:
        store.add(record, T0)
        assert store.expire(T0 + TTL_MS, 10) == [record]
        assert snapshot(store, T0) == []
        assert store.get("a", T0) is None
        assert store.arrivals(0, T0, 10) == []
        assert store.add(record, T0) == Stored(2, None)
        assert store.arrivals(0, T0, 10) == [(2, record)]


@every_store
def test_a_store_full_of_records_refuses_and_keeps_all(make: MakeStore) -> None:
    """records_max fit, one more does not; a replacement and the same record again still do."""
    records = [make_record(id, T0 + 5) for id in "abc"]
    with closing(make(TTL_MS, StoreLimits(records_max=3))) as store:
        for record in records:
            store.add(record, T0)
        before = store.statistics()
        with pytest.raises(StoreFull, match="at most 3 records") as refused:
            store.add(make_record("d", T0 + 1), T0)
        assert (refused.value.limit, refused.value.limit_max) == ("records", 3)
        assert store.statistics() == before
        assert snapshot(store, T0) == sorted(records, key=lambda r: r.key)
        assert store.add(records[0], T0) == Held(records[0])
        assert store.add(make_record("b", T0), T0) == Stored(4, records[1])


@every_store
def test_a_store_full_of_bytes_refuses_at_the_exact_byte(make: MakeStore) -> None:
    """bytes_max fit to the byte; one byte more, also in a winner over a smaller loser, does not."""
    first, second = make_record("a", T0 + 5, "x" * 50), make_record("b", T0 + 5, "y" * 50)
    bytes_max = first.size_bytes + second.size_bytes
    with closing(make(TTL_MS, StoreLimits(bytes_max=bytes_max))) as store:
        store.add(first, T0)
        with pytest.raises(StoreFull, match=f"at most {bytes_max} bytes") as refused:
            store.add(make_record("b", T0 + 5, "y" * 51), T0)
        assert (refused.value.limit, refused.value.limit_max) == ("bytes", bytes_max)
        assert store.add(second, T0) == Stored(2, None)
        assert store.statistics().bytes == bytes_max
        with pytest.raises(StoreFull):
            store.add(make_record("b", T0, "z" * 51), T0)
        assert store.get("b", T0) == second
        assert store.add(make_record("b", T0, "z" * 50), T0) == Stored(3, second)
        assert store.statistics().bytes == bytes_max


@every_store
def test_bytes_are_counted_in_utf8(make: MakeStore) -> None:
    """A limit of n bytes holds n bytes of text, however many characters they are."""
    record = make_record("a", T0, "é" * 10)
    with closing(make(TTL_MS, StoreLimits(bytes_max=1 + 20 + 32 - 1))) as store, pytest.raises(StoreFull):
        store.add(record, T0)
    with closing(make(TTL_MS, StoreLimits(bytes_max=1 + 20 + 32))) as store:
        assert store.add(record, T0) == Stored(1, None)


@every_store
def test_a_full_store_makes_room_only_of_what_is_over(make: MakeStore) -> None:
    """The oldest dead go, as many as needed; the living never."""
    dead = [make_record(id, T0 + n) for n, id in enumerate("abc")]
    living = make_record("d", T0 + TTL_MS)
    wall_ms = T0 + TTL_MS + 2
    with closing(make(TTL_MS, StoreLimits(records_max=4))) as store:
        for record in (*dead, living):
            store.add(record, T0 + TTL_MS - 1)
        assert store.add(make_record("e", wall_ms), wall_ms) == Stored(5, None)
        assert store.statistics().records == 4
        assert [store.expire(wall_ms, 2), store.expire(wall_ms, 2)] == [dead[:2], dead[2:]]
        assert [r.id for r in snapshot(store, wall_ms)] == ["d", "e"]


@every_store
def test_what_is_over_and_gives_its_id_away_is_told_as_expired(make: MakeStore) -> None:
    """Once; and not if it has come again, after the clock was set back."""
    over = make_record("a", T0)
    with closing(make(TTL_MS, LIMITS)) as store:
        store.add(over, T0)
        assert store.add(make_record("a", T0 + TTL_MS), T0 + TTL_MS) == Stored(2, None)
        assert store.expire(T0 + TTL_MS, 10) == [over]
        assert store.expire(T0 + TTL_MS, 10) == []
        assert store.add(over, T0) == Stored(3, make_record("a", T0 + TTL_MS))
        assert store.add(make_record("a", T0 + TTL_MS), T0 + TTL_MS) == Stored(4, None)
        assert store.add(over, T0) == Stored(5, make_record("a", T0 + TTL_MS))
        assert store.expire(T0, 10) == []


@every_store
def test_a_record_larger_than_the_store_is_refused_at_once(make: MakeStore) -> None:
    """It could never fit, so not even the dead are removed for it."""
    with closing(make(TTL_MS, StoreLimits(bytes_max=100))) as store:
        store.add(make_record("a"), T0)
        with pytest.raises(StoreFull):
            store.add(make_record("b", T0 + TTL_MS, "x" * 100), T0 + TTL_MS)
        assert store.statistics().records == 1


@every_store
def test_pages_resume_after_the_last_key(make: MakeStore) -> None:
    """Pages of any size, end to end, are the whole listing in time order, also while the oldest die."""
    records = [make_record(f"r{n}", T0 + n) for n in range(25)]
    with closing(make(TTL_MS, LIMITS)) as store:
        for record in reversed(records):
            store.add(record, T0)
        for size in (1, 7, 25, 26):
            found: list[Record] = []
            while page := store.page(found[-1].key if found else b"", T0, size):
                assert len(page) <= size
                found += page
                assert len(found) <= len(records)
            assert found == records
        assert store.page(b"", T0, 0) == []
        assert store.page(b"", T0 + TTL_MS + 9, 3) == records[10:13]
        assert store.page(records[20].key, T0 + TTL_MS + 9, 3) == records[21:24]


@every_store
def test_a_reader_that_asks_for_nothing_gets_nothing(make: MakeStore) -> None:
    """A count of zero or less is an empty answer in every listing and removes nothing."""
    with closing(make(TTL_MS, LIMITS)) as store:
        store.add(make_record("a"), T0)
        for count in (0, -1):
            assert store.page(b"", T0, count) == []
            assert store.arrivals(0, T0, count) == []
            assert store.expire(T0 + TTL_MS, count) == []


@every_store
def test_a_window_shows_the_held_keys_between_two_bounds(make: MakeStore) -> None:
    """Reconciliation sees keys in order with ranks and sums, dead ones too if the bounds include them."""
    records = [make_record(f"r{n}", T0 + n) for n in range(10)]
    with closing(make(TTL_MS, LIMITS)) as store:
        for record in records:
            store.add(record, T0)
        window = store.window(records[2].key, records[8].key)
        assert len(window) == 6
        assert window.keys(0, 6) == [r.key for r in records[2:8]]
        assert window.rank(records[5].key) == 3
        total = sum(int.from_bytes(r.digest, "little") for r in records[2:8]) % 2**256
        assert window.sum_ids(0, 6) == total
        store.add(make_record("new"), T0)
        with pytest.raises(RuntimeError):
            window.keys(0, 6)
