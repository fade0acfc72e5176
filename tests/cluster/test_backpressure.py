"""A batch waits while peers are behind, never long, and never for one among four."""

import signal
import time

import msgspec
import trio

from api.batch import BATCH_SLICE
from api.operation import NDJSON
from api.records import answer_post
from cluster.backpressure import WAIT_S_MAX
from cluster.messages import Ack, Ping, Pong, Push
from cluster.window import ReceiveWindow
from node.exports import Node
from tests.cluster.peer import ScriptedPeer, config, running, until
from tests.processes import cluster

LARGE, SMALL = 8_000, 100
"""Raw bytes: two batches of `LARGE_LINES` of the large fill the kernel's buffers and an outbox."""

LARGE_LINES = 2_000

FILLING = 900
"""Large records in one body: 7 MB, more than the kernel's buffers and what a peer may have queued."""

LINES = 20 * BATCH_SLICE


def body(name: str, raw_bytes: int, lines: int = LINES) -> bytes:
    """A batch of records of this size."""
    raw = "x" * raw_bytes
    return b"\n".join(msgspec.json.encode({"id": f"{name}{n}", "raw": raw}) for n in range(lines))


async def linked(node: Node, number: int) -> ScriptedPeer:
    """Link one more scripted peer."""
    peer = await ScriptedPeer.connect(node)
    await peer.link(node, number)
    await until(lambda: len(node.cluster.links) == number, "linked")
    return peer


async def read(peer: ScriptedPeer, ids: set[str]) -> None:
    """Read all that comes, as a living peer does, note what was pushed and acknowledge it."""
    window = ReceiveWindow()
    while (message := await peer.hear()) is not None:
        if isinstance(message, Push):
            ids.update(r.id for r in message.records)
            if pushed := window.take(message.records):
                await peer.say(Ack(pushed))
        if isinstance(message, Ping):
            await peer.say(Pong(message.seq, message.wall_ms, 0, 0, message.fingerprint))


async def test_a_batch_is_posted_no_faster_than_the_peers_take_it() -> None:
    """The peer reads 64 KiB while 32 lines of 8 KB are posted; every record is pushed, none announced."""
    async with running(config()) as node, trio.open_nursery() as nursery:
        ids = set[str]()
        nursery.start_soon(read, await linked(node, 1), ids)
        await answer_post(node, body("a", LARGE, LARGE_LINES), NDJSON)
        await until(lambda: len(ids) == LARGE_LINES, "all are pushed")

        assert node.cluster.engine.statistics().degraded_total == 0
        nursery.cancel_scope.cancel()


async def test_a_batch_waits_for_what_the_kernel_has_taken_and_nobody_has_admitted() -> None:
    """The peer's socket swallows all of it at once; a slice waits all the same, until it gives up."""
    async with running(config()) as node:
        await linked(node, 1)
        begin_s = trio.current_time()
        await answer_post(node, body("a", 1, 15 * BATCH_SLICE), NDJSON)

        assert trio.current_time() - begin_s >= WAIT_S_MAX
        assert node.cluster.statistics().outbox_bytes == 0, "the kernel has taken it"


async def test_an_acknowledgement_of_what_was_never_pushed_costs_the_link() -> None:
    """It is banned like any peer that says what no node says."""
    async with running(config()) as node:
        peer = await linked(node, 1)
        await peer.say(Ack(1))
        await until(lambda: not node.cluster.links, "the link is gone")


async def test_one_deaf_peer_of_four_does_not_slow_a_batch() -> None:
    """Its outbox is full and it takes nothing; the other three read, and nobody waits for the one."""
    async with running(config()) as node, trio.open_nursery() as nursery:
        await linked(node, 1)
        for number in (2, 3, 4):
            nursery.start_soon(read, await linked(node, number), set[str]())
        for name in "ab":
            await answer_post(node, body(name, LARGE, LARGE_LINES), NDJSON)
        await until(lambda: node.cluster.engine.statistics().degraded_total > 0, "the outbox was full")
        begin_s = trio.current_time()
        await answer_post(node, body("c", SMALL), NDJSON)
        took_s = trio.current_time() - begin_s

        assert len(node.cluster.links) == 4
        assert took_s < LINES / BATCH_SLICE * WAIT_S_MAX / 2, "slices waited for the deaf one"
        nursery.cancel_scope.cancel()


def test_a_stopped_peer_holds_a_batch_up_once_and_loses_nothing() -> None:
    """The only peer takes nothing: one slice waits in vain, the others do not; all is there when it wakes."""
    with cluster() as c:
        first, second = c.start(2)
        second.signal(signal.SIGSTOP)
        first.ask("POST", "/v1/records", body("a", LARGE, FILLING), content_type=NDJSON)
        begin_s = time.monotonic()
        answer = first.ask("POST", "/v1/records", body("c", SMALL), content_type=NDJSON)
        took_s = time.monotonic() - begin_s
        second.signal(signal.SIGCONT)

        assert answer.body.count(b'"status":201') == LINES
        assert took_s < LINES / BATCH_SLICE * WAIT_S_MAX / 2, "each slice waited"
        c.wait_equal(FILLING + LINES)
