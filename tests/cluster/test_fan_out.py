"""Who talks to all never waits: a peer without room costs those after it nothing."""

import trio

from cluster.messages import Ping, Pong, Push
from cluster.outbox import EAGER_BYTES_MAX
from tests.cluster.peer import ScriptedPeer, config, running, until

RAW_BYTES = 60_000
"""Just below the size from which on records are announced."""

TIMEOUT_S = 8.0
"""Far more than a push takes, even on a busy machine."""


async def test_a_peer_without_room_holds_up_nobody_after_it() -> None:
    """The first peer reads nothing and its outbox gets full; the second has every record at once."""
    async with running(config()) as node:
        deaf, good = await ScriptedPeer.connect(node), await ScriptedPeer.connect(node)
        await deaf.link(node, 1)
        await until(lambda: len(node.cluster.links) == 1, "the deaf one is linked")
        await good.link(node, 2)
        await until(lambda: len(node.cluster.links) == 2, "both linked")
        engine, after = node.cluster.engine, 0
        for number in range(5 * EAGER_BYTES_MAX // RAW_BYTES):
            node.submit(f"r{number}", "x" * RAW_BYTES, None)
            with trio.move_on_after(TIMEOUT_S) as waiting:
                await pushed(good, f"r{number}")
            assert not waiting.cancelled_caught, f"r{number} was not pushed"
            after += engine.statistics().degraded_total > 0
            if after == 5:
                break

        assert after == 5, "the deaf one's outbox was never full"


async def pushed(peer: ScriptedPeer, id: str) -> None:
    """Read until a record is pushed, answering pings meanwhile."""
    while True:
        message = await peer.hear()
        assert message is not None, "the node closed the link"
        if isinstance(message, Push) and id in {r.id for r in message.records}:
            return
        if isinstance(message, Ping):
            await peer.say(Pong(message.seq, message.wall_ms, 0, 0, message.fingerprint))
