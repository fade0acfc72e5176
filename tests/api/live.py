"""A node with its HTTP server in this process, and clients of its feeds over real sockets."""

import json
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import trio
from hypercorn.typing import ASGIFramework

from api import FeedLimits, Feeds, HttpLimits, ServerStatistics, create_app
from api.access import Access
from node.config import gather, load
from node.exports import Answer, Node
from tests.api.rawhttp import HANDSHAKE, RawClient, Running, frame, running
from validator import Record


def handshake(path: str, *headers: str) -> bytes:
    """Write a WebSocket handshake."""
    lines = "".join(f"\r\n{header}" for header in headers)
    request = HANDSHAKE.replace(b" /ws ", f" {path} ".encode())
    return request.replace(b"\r\n\r\n", f"{lines}\r\n\r\n".encode())


def make_node(**settings: str) -> Node:
    """Make a node that seeks nobody."""
    given = {"multicast": ["off"]} | {name: [value] for name, value in settings.items()}
    with tempfile.NamedTemporaryFile(suffix=".toml") as none:
        return Node(load(gather(given, {}, Path(none.name))))


def post(node: Node, raw: str, id: str | None = None) -> Record:
    """Post a record that is stored."""
    submission = node.submit(id, raw, None)
    assert submission.answer is Answer.STORED
    assert submission.record is not None
    return submission.record


@dataclass
class WebSocket:
    """A client's end of one WebSocket."""

    client: RawClient

    async def message(self) -> tuple[int, bytes]:
        """Receive one frame: its opcode and payload. Pings are answered and passed over."""
        while True:
            first, size = await self.client.take(2)
            assert first & 0x80
            if size >= 126:
                size = int.from_bytes(await self.client.take(2 if size == 126 else 8), "big")
            payload = bytes(await self.client.take(size))
            if first & 0x0F != 9:
                return first & 0x0F, payload
            await self.client.say(frame(payload, 10))

    async def text(self) -> str:
        """Receive a text message."""
        opcode, payload = await self.message()
        assert opcode == 1, payload
        return payload.decode()

    async def json(self) -> dict[str, Any]:
        """Receive an object."""
        return cast("dict[str, Any]", json.loads(await self.text()))

    async def closed(self) -> tuple[int, str]:
        """Receive the close frame: its code and reason."""
        opcode, payload = await self.message()
        assert opcode == 8, payload
        return int.from_bytes(payload[:2], "big"), payload[2:].decode()

    async def say(self, **asked: object) -> None:
        """Send an object."""
        await self.client.say(frame(json.dumps(asked).encode()))

    async def ask(self, **asked: object) -> dict[str, Any]:
        """Send an object and receive the next."""
        await self.say(**asked)
        return await self.json()


@dataclass
class Live:
    """A node with its feeds and its server."""

    node: Node
    feeds: Feeds
    server: Running

    async def websocket(self, path: str, *headers: str, **how: Any) -> WebSocket:
        """Open a WebSocket."""
        client = await self.server.client(**how)
        await client.say(handshake(path, *headers))
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        return WebSocket(client)

    async def get(self, target: str, *headers: str, **how: Any) -> RawClient:
        """Send a GET; nothing is received yet."""
        client = await self.server.client(**how)
        lines = "".join(f"{header}\r\n" for header in headers)
        await client.say(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode())
        return client

    async def stream(self, query: str = "", *headers: str, **how: Any) -> "Lines":
        """Follow `/v1/stream` as NDJSON; returns when the feed has begun."""
        client = await self.get(f"/v1/stream{query}", "Accept: application/x-ndjson", *headers, **how)
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        lines = Lines(client)
        assert (await lines.event())["event"] == "keepalive"
        return lines


@dataclass
class Lines:
    """A client that follows a stream of NDJSON."""

    client: RawClient
    text: bytes = b""

    async def event(self) -> dict[str, Any]:
        """Receive the next event."""
        while b"\n" not in self.text:
            size = int(await self.client.until(b"\r\n"), 16)
            self.text += (await self.client.take(size + 2))[:size]
            assert size, "the stream has ended"
        line, _, self.text = self.text.partition(b"\n")
        return cast("dict[str, Any]", json.loads(line))

    async def events(self, count: int) -> list[dict[str, Any]]:
        """Receive so many events."""
        return [await self.event() for _ in range(count)]


@asynccontextmanager
async def live(
    limits: HttpLimits | None = None,
    feed_limits: FeedLimits | None = None,
    access: Access | None = None,
    **settings: str,
) -> AsyncGenerator[Live]:
    """Run a node's server for the length of the block."""
    node = make_node(**settings)
    feeds = Feeds(node, feed_limits)
    limits = limits or HttpLimits()
    app = create_app(feeds, limits, ServerStatistics(), access)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feeds.run)
        async with running(cast("ASGIFramework", app), limits, access) as server:
            yield Live(node, feeds, server)
            feeds.close()
        node.close()
