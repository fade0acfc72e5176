"""What feeds read, without a server: places, runs, notices, and what is shared."""

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from api.cursor import Position, make_cursor, parse_since
from api.feed import (
    NOTICES_MAX,
    RUN_BYTES,
    RUN_OVERHEAD_BYTES,
    RUN_RECORDS,
    RUNS_BYTES_MAX,
    SOURCES_MAX,
    Feed,
    Notices,
    Runs,
)
from api.feeds import Feeds
from api.forms import Frames, Lines, Raws, text_frame
from api.jsonsocket import NAME_CHARS_MAX
from cluster.exports import WireRecord
from eventbus import PeerUp, RecordExpired
from node.exports import Node
from tests.api.live import make_node, post
from validator import ID_BYTES_MAX, RAW_BYTES_MAX


def following(node: Node, since: str = "all", prefix: str = "") -> tuple[Runs, Feed]:
    """Make a feed of raws."""
    runs = Runs(node)
    return runs, Feed(runs, parse_since(since, node.boot, node.wall_ms(), 0), prefix, Raws())


async def test_readers_at_one_place_get_the_same_bytes() -> None:
    """Not equal ones: the very object, made once for each form and prefix."""
    node = make_node()
    post(node, "x", "a")
    runs, first = following(node)
    second, other = Feed(runs, Position(), "", Raws()), Feed(runs, Position(), "a", Raws())
    one, two, three = first.take(), second.take(), other.take()
    assert one is not None
    assert one is two
    assert three is not None
    assert one is not three
    assert one.data == three.data == text_frame(b"x")


async def test_runs_are_shared_up_to_so_many_bytes() -> None:
    """At the limit a later reader gets every one of them; with one byte more the oldest is made anew."""
    spare = RUN_OVERHEAD_BYTES + len(text_frame(bytes(RAW_BYTES_MAX))) - RAW_BYTES_MAX
    runs_max = RUNS_BYTES_MAX // RAW_BYTES_MAX
    for more, made_anew in ((0, 0), (1, 1)):
        node = make_node()
        runs, feed = following(node)
        for _ in range(runs_max - 1):
            post(node, "x" * RAW_BYTES_MAX)
        post(node, "x" * (RAW_BYTES_MAX - runs_max * spare + more))
        made, later = list(iter(feed.take, None)), Feed(runs, Position(), "", Raws())
        assert (later.take() is not made[0], len(made)) == (made_anew, runs_max)
        assert sum(run is not one for run, one in zip(iter(later.take, None), made[1:], strict=True)) == (
            (runs_max - 1) * made_anew  # each that is made anew takes the place of the next
        )


async def test_the_largest_run_there_can_be_is_shared() -> None:
    """Texts and a name of the feed that JSON writes six times as long, and the longest ids."""
    node, form = make_node(), Frames("\x01" * NAME_CHARS_MAX, 1)
    size = (RUN_BYTES - 1) // (RUN_RECORDS - 1)
    for number in range(RUN_RECORDS):
        last = number == RUN_RECORDS - 1
        post(node, "\x01" * (RAW_BYTES_MAX if last else size), f"{number}".ljust(ID_BYTES_MAX, '"'))
    runs = Runs(node)
    runs.notices.add([RecordExpired(post(node, "x", '"' * ID_BYTES_MAX))] * RUN_RECORDS)
    one, two = (Feed(runs, Position(), "", form).take() for _ in range(2))
    assert one is not None
    assert one is two
    assert one.records == RUN_RECORDS


async def test_a_run_ends_with_its_number_of_records_or_the_record_that_fills_it() -> None:
    """At the limit it is one run, one beyond it are two."""
    node = make_node()
    _, feed = following(node)
    for size in (RUN_RECORDS, RUN_RECORDS + 1):
        for _ in range(size):
            post(node, "x")
        counts = [run.records for run in iter(feed.take, None)]
        assert counts == ([size] if size == RUN_RECORDS else [RUN_RECORDS, 1])
    for raw_bytes in (RUN_BYTES // 2, RUN_BYTES // 2, 1):
        post(node, "x" * raw_bytes)
    assert [run.records for run in iter(feed.take, None)] == [2, 1]


async def test_what_is_not_wanted_moves_the_cursor_and_is_not_sent() -> None:
    """So that a reader who comes back does not make the node look through it again."""
    node = make_node()
    _, feed = following(node, prefix="b")
    post(node, "1", "a")
    run = feed.take()
    assert run is not None
    assert (run.data, run.records) == (b"", 0)
    assert feed.cursor == make_cursor(node.boot, 1, 0)
    assert feed.take() is None


async def test_who_comes_too_late_for_notices_is_told_how_many_are_gone() -> None:
    """At the limit none are, one more and one is; records are never among them."""
    node = make_node()
    record = post(node, "x", "a")
    runs = Runs(node)
    feed = Feed(runs, Position(1), "", Lines())
    runs.notices.add([RecordExpired(record)] * NOTICES_MAX)
    assert b"skipped" not in b"".join(run.data for run in iter(feed.take, None))
    late = Feed(runs, Position(1), "", Lines())
    runs.notices.add([PeerUp("00", "amber")] * (NOTICES_MAX + 1))
    told = b"".join(run.data for run in iter(late.take, None)).splitlines()
    cursor = make_cursor(node.boot, 1, 0)
    assert told[0] == b'{"event":"skipped","notices":1,"cursor":"%b"}' % cursor.encode()
    assert len(told) == 1 + NOTICES_MAX


@given(st.lists(st.integers(0, 9)), st.integers(1, 5), st.integers(1, 4))
def test_every_notice_is_read_once_or_counted_as_gone(added: list[int], kept: int, at_once: int) -> None:
    """Whatever the reader's pace."""
    notices, read, gone, number, total = Notices(kept), 0, 0, 0, 0
    for count in added:
        notices.add([PeerUp("", "")] * count)
        total += count
        found, lost, number = notices.after(number, at_once)
        read, gone = read + len(found), gone + lost
        assert len(found) <= at_once
    while number < notices.newest:
        found, lost, number = notices.after(number, at_once)
        read, gone = read + len(found), gone + lost
    assert read + gone == total


async def test_records_in_one_frame_are_at_most_as_many_as_were_asked_for() -> None:
    """Exactly so many, then a frame for the rest, and every record once."""
    node = make_node()
    runs = Runs(node)
    for number in range(21):
        post(node, f"#{number}")
    run = Feed(runs, Position(), "", Frames("f", 10)).take()
    assert run is not None
    frames = run.data.split(b'"event":"records"')[1:]
    assert [frame.count(b"#") for frame in frames] == [10, 10, 1]


async def test_nothing_is_kept_when_nobody_reads() -> None:
    """No notice is noted, no run is held, and the bus's buffer stays empty."""
    node = make_node()
    feeds = Feeds(node)
    with feeds.open("sse", "127.0.0.1"):
        post(node, "x")
        post(node, "y")
        assert len(feeds._subscription.take()) == 1  # pyright: ignore[reportPrivateUsage]
    post(node, "z")
    node.bus.publish(PeerUp("", ""))
    assert feeds._subscription.take() == []  # pyright: ignore[reportPrivateUsage]


async def test_a_record_names_its_source_if_it_came_while_somebody_followed() -> None:
    """`here` or the peer's id, for the latest so many; nothing for what was there before."""
    node = make_node()
    feeds = Feeds(node)
    post(node, "before")
    with feeds.open("ws", "127.0.0.1"):
        post(node, "posted")
        theirs = WireRecord("theirs", "x", "9dd4e461268c8034f5c8564e155c67a6", node.wall_ms())
        node.admit([theirs], "ab" * 16)
        run = feeds.follow(Position(), "", Lines()).take()
        assert run is not None
        lines = [json.loads(line) for line in run.data.splitlines()]
        assert [line.get("source") for line in lines] == [None, "here", "ab" * 16]
    runs = Runs(node)
    for seq in range(SOURCES_MAX + 5):
        runs.arrived(seq, "")
    assert len(runs._sources) == SOURCES_MAX  # pyright: ignore[reportPrivateUsage]


async def test_a_position_only_moves_forward() -> None:
    """Cursors of one feed grow, run by run."""
    node = make_node()
    _, feed = following(node)
    for number in range(3 * RUN_RECORDS):
        post(node, str(number))
    places = [run.place.seq for run in iter(feed.take, None)]
    assert places[-1] == 3 * RUN_RECORDS
    assert all(before < after for before, after in pairwise(places))
