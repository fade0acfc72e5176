"""The node: one clock for everything, the desk for clients and for the cluster, the sweep, the end."""

import itertools
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from cluster.exports import Desk, Now
from eventbus import BusClosed, RecordExpired, RecordStored
from node.config import gather, load
from node.exports import Answer, Node
from node.node import SWEEP_RECORDS, SWEEP_S_MAX
from tests.node.desks import PEER, T0, make, wire
from validator import Record

HOUR_MS = 3_600_000


class Clock:
    """Both clocks of a node: trio's for timers, and a wall clock set by the test.

    Attributes:
        wall_ms: what the wall clock shows.
        goes: whether it goes on from there as trio's clock does.
    """

    def __init__(self) -> None:
        self.wall_ms = T0
        self.goes = False

    def __call__(self) -> Now:
        """Read both."""
        now_s = trio.current_time() if trio.lowlevel.in_trio_run() else 0.0
        return Now(now_s, self.wall_ms + round(now_s * 1000) * self.goes)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def node(clock: Clock, tmp_path: Path) -> Node:
    """A node that seeks nobody, with records that live an hour."""
    none = tmp_path / "none.toml"
    none.touch()
    settings = {"multicast": ["off"], "ttl": ["1h"], "name": ["amber"]}
    return Node(load(gather(settings, {}, none)), clock)


@asynccontextmanager
async def running(node: Node) -> AsyncGenerator[None]:
    """Run a node for as long as the block lasts; its end must be its own."""
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        yield
        node.close()


def post(node: Node, count: int, raw: str = "x") -> list[Record]:
    """Post records that are all stored."""
    made: list[Record] = []
    for i in range(count):
        submission = node.submit(f"{i:05}", raw, None)
        assert submission.answer is Answer.STORED
        assert submission.record is not None
        made.append(submission.record)
    return made


# --- one clock ------------------------------------------------------------------------------------------


def test_every_way_of_reading_ends_at_the_same_moment(node: Node, clock: Clock) -> None:
    """At the last millisecond by all ways, at the end by none, swept or not."""
    (record,) = post(node, 1)

    def seen() -> list[bool]:
        return [
            node.get(record.id) is not None,
            bool(node.listing(b"")),
            bool(node.arrivals(0, 10)),
            bool(node.lookup([record.digest])),
            node.life_left_ms(record) > 0,
        ]

    assert seen() == [True] * 5
    clock.wall_ms = T0 + HOUR_MS - 1
    assert seen() == [True] * 5
    assert node.life_left_ms(record) == 1
    clock.wall_ms += 1
    assert seen() == [False] * 5


def test_tags_change_with_what_is_held_and_with_nothing_else(node: Node, clock: Clock) -> None:
    """By an arrival and by an end, swept or not; that of the living does not tell nodes or orders apart."""
    empty = node.living_tag()
    assert node.living_tag() == empty
    seen = {node.arrivals_tag()}
    (record,) = post(node, 1)
    assert node.arrivals_tag() == node.arrivals_tag()
    assert node.living_tag() == node.living_tag() != empty
    seen.add(node.arrivals_tag())
    clock.wall_ms = T0 + HOUR_MS - 1
    assert node.arrivals_tag() in seen
    clock.wall_ms += 1
    assert node.arrivals_tag() not in seen  # over, and not dropped yet
    assert node.living_tag() == empty
    other = Node(node.config, clock)
    clock.wall_ms = T0
    other.admit([wire(record)], PEER)
    assert other.living_tag() == node.living_tag()
    assert other.arrivals_tag() != node.arrivals_tag()


def test_records_of_clients_and_of_peers_come_through_one_desk(node: Node, clock: Clock) -> None:
    """Stamped by the node's clock, judged by the node's clock, announced with where they came from."""
    (mine,) = post(node, 1)
    theirs, old = make("theirs", time_stamp=T0 - 5), make("old", time_stamp=T0 - HOUR_MS)
    result = node.admit([wire(theirs), wire(old), wire(mine)], PEER)
    assert (result.stored, result.ignored, result.known) == ([theirs.digest], [old.digest], [mine.digest])
    assert node.listing(b"") == [theirs, mine]
    assert [record for _, record in node.arrivals(0, 10)] == [mine, theirs]
    assert node.admission_totals()["accepted"] == node.admission_totals()["relayed"] == 1
    assert mine.time_stamp == node.wall_ms() == T0


def test_what_peers_must_agree_on_is_the_chain_and_the_life(node: Node) -> None:
    """Nodes that would judge differently do not link."""
    assert node.rules == "size+time+md5 ttl=3600000ms"


def test_every_start_has_a_name_of_its_own(node: Node, clock: Clock) -> None:
    """A restarted node numbers its arrivals anew, so its cursors must not pass for the old ones."""
    again = Node(node.config, clock)
    assert again.id != node.id
    assert again.boot != node.boot
    assert len(node.boot) == 12
    assert node.name == again.name == "amber"


def test_a_node_without_a_name_goes_by_its_id(tmp_path: Path) -> None:
    """Something to tell two nodes apart by."""
    none = tmp_path / "none.toml"
    none.touch()
    node = Node(load(gather({"multicast": ["off"]}, {}, none)), Clock())
    assert node.name == node.id.hex()[:8]


# --- the desk, for the cluster --------------------------------------------------------------------------


def test_a_node_is_a_desk(node: Node) -> None:
    """What the cluster asks for, by its digests and its keys."""
    desk: Desk = node
    records = post(node, 3)
    assert len(desk) == 3
    assert desk.has(records[0].digest)
    assert not desk.has(bytes(32))
    wanted = [records[2].digest, bytes(32), records[0].digest]
    assert desk.lookup(wanted) == [records[2], records[0]]
    window = desk.window(T0 + 1, T0 + 2)
    assert len(window) == 1
    assert len(desk.window(T0 + 2, T0)) == 0


# --- lifetime -------------------------------------------------------------------------------------------


async def test_what_is_over_is_dropped_and_announced_in_order(
    node: Node, clock: Clock, autojump_clock: trio.testing.MockClock
) -> None:
    """More than one slice at once: all go, oldest first, each told once; the living stay."""
    over = post(node, SWEEP_RECORDS + 5)
    clock.wall_ms = T0 + HOUR_MS // 2
    node.submit("living", "x", None)
    with node.bus.subscribe(RecordExpired) as subscription:
        async with running(node):
            clock.wall_ms = T0 + HOUR_MS + 2000
            told: list[Record] = []
            with trio.fail_after(2 * SWEEP_S_MAX):
                while len(told) < len(over):
                    told += [e.record for e in await subscription.receive() if isinstance(e, RecordExpired)]
            assert told == sorted(over, key=lambda r: r.key)
            assert len(node) == 1
            assert node.store_statistics().bytes == len("living") + 1 + 32


async def test_while_fifty_thousand_expire_at_once_others_are_served_between_the_slices(
    node: Node, clock: Clock
) -> None:
    """Who wants to post has a turn after two slices at most (trio shuffles those who are ready)."""
    post(node, 50_000)
    clock.wall_ms = T0 + HOUR_MS + 60_000
    held = [50_000]

    async def serve_others() -> None:
        while held[-1]:
            assert node.submit(None, "new", None).answer is Answer.STORED
            held.append(len(node) - len(held))
            await trio.lowlevel.checkpoint()

    async with running(node):
        with trio.fail_after(60):
            await serve_others()
    slices = [before - after for before, after in itertools.pairwise(held)]
    assert max(slices) <= 2 * SWEEP_RECORDS
    assert sum(slices) == 50_000


async def test_the_sweep_wakes_for_the_end_of_the_oldest_record(
    node: Node, clock: Clock, autojump_clock: trio.testing.MockClock
) -> None:
    """It sleeps until something is due, not on a beat: gone within milliseconds of its end."""
    clock.goes = True
    start_s = trio.current_time()
    node.submit("a", "x", None)
    with node.bus.subscribe(RecordExpired) as subscription:
        async with running(node):
            await subscription.receive()
            late_s = trio.current_time() - start_s - 3600
    assert 0 <= late_s < 0.05


async def test_a_clock_set_forward_is_noticed(
    node: Node, clock: Clock, autojump_clock: trio.testing.MockClock
) -> None:
    """However far off the next end seemed, the sweep looks again within seconds."""
    node.submit("a", "x", None)
    async with running(node):
        await trio.sleep(1)
        assert len(node) == 1
        clock.wall_ms += HOUR_MS
        await trio.sleep(SWEEP_S_MAX)
        assert len(node) == 0


async def test_close_ends_the_node_and_its_feeds(node: Node) -> None:
    """Subscribers get what was published and then the end; `run` returns by itself."""
    node.serving(["http://127.0.0.1:1"])
    with trio.fail_after(5):
        with node.bus.subscribe(RecordStored) as subscription:
            async with running(node):
                assert node.peer_address.startswith("127.0.0.1:")
                assert not node.peer_address.endswith(":0")
                (record,) = post(node, 1)
            assert await subscription.receive() == [RecordStored(1, record, "")]
            with pytest.raises(BusClosed):
                await subscription.receive()


async def test_a_node_alone_is_ready_after_its_grace_and_only_if_it_serves(
    node: Node, autojump_clock: trio.testing.MockClock
) -> None:
    """Ready means: clients can reach it, and it has caught up or there is nobody to catch up with."""

    def ready() -> bool:
        return node.ready

    async with running(node):
        assert not ready()
        node.serving(["http://127.0.0.1:1"])
        assert not ready()
        await trio.sleep(10)
        assert ready()
        node.serving([])
        assert not ready()
