"""Where a watch goes on, what it leaves out, and what it may forget, without any node."""

import json
import time
from random import Random

import msgspec
import pytest

from node.following import (
    PURGE_LATE_MS,
    PURGE_SHARE,
    SAVED_MAX,
    Delivery,
    Following,
    Progress,
    Record,
    Seen,
    WatchState,
)
from node.watch import STATE_BYTES_MAX

A, B = "http://a", "http://b"


def record(
    id: str, raw: str = "raw", time_stamp: int = 1000, life_ms: int = 60_000, cursor: str = ""
) -> Record:
    """Make a record as a node shows it."""
    return Record(id, raw, "", time_stamp, time_stamp + life_ms, "", len(raw), cursor)


def line(event: str, cursor: str, of: Record | None = None) -> bytes:
    """Write one line of a stream."""
    fields = {} if of is None else {name: getattr(of, name) for name in of.__struct_fields__}
    return json.dumps(fields | {"event": event, "cursor": cursor}).encode()


def following(resume: WatchState | None = None) -> Following:
    """Follow two nodes from now on."""
    return Following([A, B], "now", resume, Random(7))


# --- what has been seen ---------------------------------------------------------------------------------


def test_the_same_id_and_raw_is_one_record_while_it_lives() -> None:
    """Also with another time, as when it was posted at two nodes at once; another raw is another record."""
    seen = Seen()
    assert seen.add(record("x", time_stamp=1000))
    assert not seen.add(record("x", time_stamp=1000))
    assert not seen.add(record("x", time_stamp=900))
    assert seen.add(record("x", "other"))
    assert seen.add(record("y"))


def test_what_is_posted_again_after_its_life_is_new() -> None:
    """At the very millisecond its life ends; of two times that claimed one life the shorter counts."""
    seen = Seen()
    seen.add(record("x", time_stamp=1000))
    seen.add(record("x", time_stamp=900))
    assert not seen.add(record("x", time_stamp=60_899))
    assert seen.add(record("x", time_stamp=60_900))
    assert not seen.add(record("x", time_stamp=60_900))


def test_what_is_remembered_is_bounded_by_life_and_by_number() -> None:
    """A day's records and no more; of too many those that came first go, never the latest."""
    seen = Seen(count_max=3)
    for i in range(4):
        seen.add(record(f"{i}"))
    assert len(seen) == 3
    assert not seen.add(record("3"))
    assert seen.add(record("0"))
    old = Seen()
    old.add(record("x", time_stamp=0, life_ms=10))
    old.add(record("y", time_stamp=10 + PURGE_LATE_MS))
    assert len(old) == 2
    old.add(record("z", time_stamp=11 + PURGE_LATE_MS))
    assert len(old) == 2


def test_what_goes_is_bounded_in_time_too() -> None:
    """A record that drives another out costs what it did before any had to go, and few are kept besides."""
    count = 30_000
    seen = Seen(count_max=count)
    some = [record(f"{i}") for i in range(4 * count)]
    took_s: list[float] = []
    for start in range(0, len(some), count):
        before_s = time.thread_time()
        for each in some[start : start + count]:
            seen.add(each)
        took_s.append(time.thread_time() - before_s)
        assert count <= len(seen) <= count + count // PURGE_SHARE
    assert max(took_s[1:]) < 4 * took_s[0], took_s


def test_all_that_is_over_goes_however_much_came_between() -> None:
    """A day of records ends while few come: a 64th as many drive out the rest."""
    seen = Seen()
    for i in range(6_400):
        seen.add(record(f"{i}", life_ms=10))
    for i in range(101):
        seen.add(record(f"new {i}", time_stamp=1011 + PURGE_LATE_MS))
    assert len(seen) <= 101


# --- where to go on -------------------------------------------------------------------------------------


def test_what_is_written_down_is_bounded_and_can_be_read_again() -> None:
    """The latest so many, exactly; with cursors of a hundred nodes they are a state that is taken again."""
    seen = Seen()
    for i in range(SAVED_MAX + 1):
        seen.add(record(f"{i}"))
    again = Seen()
    again.restore(seen.save())
    assert len(again) == SAVED_MAX
    assert not again.add(record("1"))
    assert again.add(record("0"))
    cursors = {f"https://{n:0>253}:65535": f"{n:0>12x}.{2**63}.{2**63}" for n in range(100)}
    assert len(msgspec.json.encode(WatchState(cursors, seen.save()))) < STATE_BYTES_MAX


def test_a_node_is_asked_from_its_own_cursor_another_from_the_latest_one() -> None:
    """A foreign cursor is answered from the beginning of the watch; one's own goes on where it was."""
    one = following()
    assert one.since == "now"
    one.begin("a.1", [record("held")])
    one.connected()
    assert one.take(line("record", "a.2", record("x"))).record == record("x", cursor="a.2")
    one.failed()
    assert (one.node, one.since) == (1, "a.2")
    one.connected()
    assert one.take(line("reset", "b.0")).record is None
    for again in ("held", "x"):
        assert one.take(line("record", "b.1", record(again))).record is None
    assert one.take(line("record", "b.2", record("y"))).record is not None
    one.failed()
    assert (one.node, one.since) == (0, "a.2")


def test_pauses_grow_once_all_have_failed_and_end_with_a_stream_that_lives() -> None:
    """Another node is asked at once; a first line alone, as a stopping node gives, is no sign of life."""
    one = following()
    pauses = [one.failed() for _ in range(20)]
    assert pauses[0] == 0
    assert 0.05 <= pauses[1] <= 0.1
    assert 2.5 <= pauses[-1] <= 5
    before = one.given_up
    one.connected()
    assert (before, one.given_up) == (True, False)
    one.take(line("keepalive", "a.0"))
    assert one.failed() >= 2.5
    one.connected()
    one.take(line("keepalive", "a.0"))
    one.take(line("keepalive", "a.0"))
    assert one.failed() == 0


@pytest.mark.parametrize("bad", [b"", b"{", b"[]", b'{"event":"record","cursor":"c"}', b'{"cursor":"c"}'])
def test_what_is_no_event_is_an_error_and_moves_nothing(bad: bytes) -> None:
    """Half a line, as a stream that is cut leaves it, is never taken for a whole one."""
    one = following()
    one.begin("a.1", [])
    with pytest.raises(ValueError):
        one.take(bad)
    assert one.since == "a.1"


# --- what has been dealt with ---------------------------------------------------------------------------


def test_a_state_never_passes_what_is_unfinished_and_knows_what_was_finished_beyond() -> None:
    """Whoever resumes gets the unfinished one again and not the one behind it that is done."""
    progress = Progress(None)
    deliveries = [Delivery(record(f"{i}"), A, f"a.{i}") for i in range(3)]
    for delivery in [Delivery(None, A, "a.start"), *deliveries]:
        progress.begin(delivery)
    assert progress.state().cursors == {A: "a.start"}
    progress.done(deliveries[1])
    assert progress.state().cursors == {A: "a.start"}
    resumed = following(progress.state())
    assert resumed.since == "a.start"
    resumed.connected()
    taken = [resumed.take(line("record", d.cursor, d.record)).record for d in deliveries]
    assert [r and r.id for r in taken] == ["0", None, "2"]
    progress.done(deliveries[0])
    assert progress.state().cursors == {A: "a.1"}


def test_a_state_of_other_nodes_still_says_where_the_watch_began() -> None:
    """Nodes may be renamed between two runs; a damaged state is refused."""
    assert following(WatchState({"http://gone": "g.7"})).since == "g.7"
    for damaged in ("?", "AAAA"):
        with pytest.raises(ValueError):
            following(WatchState({}, damaged))
