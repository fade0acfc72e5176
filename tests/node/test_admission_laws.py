"""What holds at the desk in every order of events: one winner, one bell, no immortal record."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from eventbus import RecordStored, RecordSuperseded
from node.admission import RUN_AHEAD_MS_MAX
from tests.node.desks import MINUTE_MS, T0, Desk, make
from validator import FUTURE_MS_MAX, Record

TTL_MS = 30 * MINUTE_MS
SKEW_MS_MAX = 10 * MINUTE_MS

ids = st.sampled_from("abc")
raws = st.sampled_from(["x", "y", "z"])
skews = st.integers(-SKEW_MS_MAX, SKEW_MS_MAX)


@dataclass(frozen=True)
class Post:
    """A client posts."""

    id: str
    raw: str


@dataclass(frozen=True)
class Take:
    """A peer sends a record stamped by a clock that is off by `skew_ms`, `age_ms` ago."""

    id: str
    raw: str
    skew_ms: int
    age_ms: int


@dataclass(frozen=True)
class Pass:
    """Time passes, or the clock is set: up to ten minutes either way."""

    ms: int


@dataclass(frozen=True)
class Sweep:
    """The node drops what is over."""


edges = st.sampled_from([0, 1, TTL_MS - 1, TTL_MS, TTL_MS + 1, -FUTURE_MS_MAX, -FUTURE_MS_MAX - 1])
steps = st.one_of(
    st.builds(Post, ids, raws),
    st.builds(Take, ids, raws, skews, edges | st.integers(0, 2 * TTL_MS)),
    st.builds(Pass, skews | st.just(TTL_MS) | st.just(TTL_MS - 1)),
    st.builds(Sweep),
)


def check_what_is_readable(desk: Desk) -> None:
    """Nothing can be read at or past its end, by any way of reading, and each id once."""
    readable = desk.records()
    assert all(r.time_stamp + desk.ttl_ms > desk.wall_ms for r in readable)
    assert len({r.id for r in readable}) == len(readable)
    assert [r for _, r in desk.store.arrivals(0, desk.wall_ms, 1000) if r not in readable] == []
    for record in [desk.store.get(id, desk.wall_ms) for id in "abc"]:
        assert record is None or record in readable


def do(desk: Desk, step: Post | Take | Pass | Sweep) -> None:
    match step:
        case Post():
            desk.post_any(step.id, step.raw)
        case Take():
            desk.take(make(step.id, step.raw, desk.wall_ms + step.skew_ms - step.age_ms))
        case Pass():
            desk.wall_ms += step.ms
        case Sweep():
            desk.store.expire(desk.wall_ms, 1000)


@given(st.lists(steps, max_size=40))
def test_no_record_is_readable_past_its_end_and_none_is_immortal(
    story: list[Post | Take | Pass | Sweep],
) -> None:
    """Whatever order and clock records came by: the end is the end, and in the end nothing is left."""
    desk = Desk(ttl_ms=TTL_MS)
    latest_ms = desk.wall_ms
    for step in story:
        do(desk, step)
        latest_ms = max(latest_ms, desk.wall_ms)
        check_what_is_readable(desk)
    desk.wall_ms = latest_ms + max(FUTURE_MS_MAX, RUN_AHEAD_MS_MAX) + TTL_MS
    assert desk.records() == []
    desk.store.expire(desk.wall_ms, 1000)
    left = desk.store.statistics()
    assert (left.records, left.bytes) == (0, 0)


@given(st.lists(steps, max_size=40))
def test_the_bell_rings_exactly_once_for_every_new_record(story: list[Post | Take | Pass | Sweep]) -> None:
    """One RecordStored for each record that enters the store, in order, and none for any other."""
    desk = Desk(ttl_ms=TTL_MS)
    for step in story:
        held = {r.digest for r in desk.records()}
        seq = desk.store.statistics().seq
        do(desk, step)
        told = [e for e in desk.heard(RecordStored) if isinstance(e, RecordStored)]
        assert [e.seq for e in told] == list(range(seq + 1, desk.store.statistics().seq + 1))
        fresh = {r.digest for r in desk.records()} - held
        if isinstance(step, Post | Take):
            assert {e.record.digest for e in told} == fresh
        else:
            assert told == []


@given(st.data(), st.permutations(range(12)))
def test_any_order_of_arrival_leaves_the_same_records(data: st.DataObject, order: list[int]) -> None:
    """The merge is commutative, associative and idempotent: only the set of records counts."""
    times = st.integers(T0 - 2, T0 + 2)
    records = [make(data.draw(ids), data.draw(raws), data.draw(times)) for _ in range(6)]
    straight, shuffled = Desk(), Desk()
    straight.take(*records)
    shuffled.take(*(records[i % 6] for i in order))
    smallest = {id: min((r.key for r in records if r.id == id), default=None) for id in "abc"}
    assert {r.key for r in straight.records()} == {key for key in smallest.values() if key}
    assert shuffled.records() == straight.records()


@given(
    st.lists(st.tuples(ids, raws, st.booleans()), max_size=8),
    st.integers(-30_000, 30_000),
)
def test_two_nodes_that_took_different_raws_agree_after_an_exchange(
    posts: list[tuple[str, str, bool]], skew_ms: int
) -> None:
    """One winner for each id on both, the smaller key; every loser is reported where it was held."""
    desks = Desk(), Desk(wall_ms=T0 + skew_ms)
    accepted: list[list[Record]] = [[], []]
    for id, raw, second in posts:
        record = desks[second].post_any(id, raw)
        if record is not None and record not in accepted[second]:
            accepted[second].append(record)
    offered = [list(reversed(d.records())) for d in desks]
    desks[0].take(*offered[1], *offered[1])
    desks[1].take(*offered[0])
    assert desks[0].records() == desks[1].records()
    for id in "abc":
        claims = sorted((r for rs in accepted for r in rs if r.id == id), key=lambda r: r.key)
        assert [r for r in desks[0].records() if r.id == id] == claims[:1]
    for desk, mine in zip(desks, accepted, strict=True):
        lost = {e.loser.key for e in desk.heard(RecordSuperseded) if isinstance(e, RecordSuperseded)}
        assert {r.key for r in mine if r not in desk.records()} <= lost
