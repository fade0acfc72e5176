"""A scripted peer on a real socket: says exactly what a test wants said, and hears the answer."""

import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from typing import ClassVar, Self

import trio

from cluster.codec import FrameReader, encode
from cluster.messages import PROTOCOL_MAX, PROTOCOL_MIN, Hello, Message, Ready
from node.config import gather, load
from node.exports import Config, Node


def config(*flags: tuple[str, str]) -> Config:
    """A node's settings for tests: loopback, any port, no beacons, with `flags` on top."""
    given = {"multicast": ["off"], "cluster": ["peer-test"], "name": ["tested"]}
    return load(gather(given | {key: [text] for key, text in flags}, {}, None))


@contextlib.asynccontextmanager
async def running(settings: Config) -> AsyncGenerator[Node, None]:
    """Run a node without HTTP for the length of the block."""
    node = Node(settings)
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        try:
            yield node
        finally:
            for peer in ScriptedPeer.connected:
                await trio.aclose_forcefully(peer.stream)
            ScriptedPeer.connected.clear()
        with trio.fail_after(5):
            node.close()
            await node.cluster.finished.wait()


class ScriptedPeer:
    """One connection to a node's peer port; `running` closes it in the end."""

    connected: ClassVar[list["ScriptedPeer"]] = []

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._reader = FrameReader()
        self._messages: list[Message] = []
        self.connected.append(self)

    @classmethod
    async def connect(cls, node: Node) -> Self:
        """Connect; say nothing yet."""
        return cls(await trio.open_tcp_stream("127.0.0.1", node.cluster.port))

    @classmethod
    async def linked(cls, node: Node) -> Self:
        """Connect and shake hands as the node's only peer; the link is up when this returns."""
        peer = await cls.connect(node)
        await peer.link(node)
        await until(lambda: len(node.cluster.links) == 1, "linked")
        return peer

    async def say(self, *messages: Message) -> None:
        """Send messages."""
        await self.stream.send_all(b"".join(map(encode, messages)))

    async def hear(self) -> Message | None:
        """Wait for the next message; None when the node closed the connection."""
        while not self._messages:
            try:
                data = await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self._messages += self._reader.feed(bytes(data))
        return self._messages.pop(0)

    async def link(self, node: Node, number: int = 1, /, **changes: object) -> Hello:
        """Shake hands as a good peer; returns the node's hello."""
        await self.say(hello(node, number, **changes))
        answer = await self.hear()
        assert isinstance(answer, Hello), answer
        await self.say(Ready())
        return answer


def hello(node: Node, number: int = 1, /, **changes: object) -> Hello:
    """What a fitting peer would say of itself, with `changes`."""
    fields: dict[str, object] = {
        "protocol_min": PROTOCOL_MIN,
        "protocol_max": PROTOCOL_MAX,
        "features": ["unknown-feature"],
        "node_id": number.to_bytes(16, "big"),
        "incarnation": 1,
        "cluster": node.config.cluster,
        "name": f"scripted-{number}",
        "port": 1,
        "http": "",
        "rules": node.rules,
        "records": 0,
        "wall_ms": time.time_ns() // 1_000_000,
    }
    return Hello(**(fields | changes))  # type: ignore[arg-type]  # the tests give bad values on purpose


async def until(condition: Callable[[], bool], what: str, timeout_s: float = 5.0) -> None:
    """Wait until a condition holds."""
    with trio.move_on_after(timeout_s):
        while not condition():  # noqa: ASYNC110 - conditions of a running node have no event to wait for
            await trio.sleep(0.005)
        return
    raise AssertionError(f"not within {timeout_s:g} s: {what}")
