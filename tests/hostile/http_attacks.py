"""What is done to a node in these tests: clients that mutate, dawdle or do not read, and an honest one."""

import json
import os
import statistics
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

import trio

from tests.api.nodes import rss_mb
from tests.api.rawhttp import RawClient
from tests.hostile.http_storm import BASIC, RECORDS
from tests.processes import NodeProcess

LONG = os.environ.get("DAYFLY_TEST_LONG", "") not in ("", "0")
"""Whether the tests take as long as their descriptions say, and not just as long as shows the point."""

PER_ADDRESS = 60
"""Connections of an attack from one address: fewer than the node's 64, so that more than that come in all."""


HONEST = "127.0.9.9"
"""Where the client that behaves comes from: an address that no attack has used up."""


SLOW_PER_S = 200
"""New connections of an attack in a second: as many as slowhttptest makes."""

REFUSED_WITHIN_S = 0.5
"""A connection that ends sooner was refused; no time limit of the node is that short."""


def open_files(node: NodeProcess) -> int:
    """Count a node's file descriptors."""
    return len(os.listdir(f"/proc/{node.pid}/fd"))


def address(number: int) -> str:
    """Return the source address of an attack's connection: each of 127.0.1.x has `PER_ADDRESS`."""
    return f"127.0.1.{number // PER_ADDRESS + 1}"


@dataclass
class Held:
    """What a node holds at one moment, to compare with later."""

    pid: int
    files: int
    rss_mb: float

    @classmethod
    def by(cls, node: NodeProcess) -> "Held":
        """Look at a node."""
        return cls(node.pid, open_files(node), rss_mb(node))


@dataclass
class Honest:
    """Posts of a client that behaves, and what it was answered.

    Attributes:
        statuses: of all posts. waits_s: from each one's due time to its answer.
    """

    statuses: list[int | str] = field(default_factory=list[int | str])
    waits_s: list[float] = field(default_factory=list[float])

    def assert_served(self, p99_ms_max: float) -> None:
        """Every post was stored, and 99 of 100 were answered in time."""
        assert [status for status in self.statuses if status != 201] == []
        slowest = [round(wait_s * 1000) for wait_s in sorted(self.waits_s)[-20:]]
        assert self.p99_ms <= p99_ms_max, f"the slowest took {slowest} ms"

    @property
    def p99_ms(self) -> float:
        """Of the waits."""
        return statistics.quantiles(self.waits_s, n=100)[-1] * 1000

    async def post(self, port: int, number: int) -> None:
        """Post one record on a connection of its own."""
        began = time.monotonic()
        body = json.dumps({"raw": f"honest {number}"}).encode()
        head = RECORDS + BASIC + b"Content-Type: application/json\r\nConnection: close\r\n"
        try:
            client = await RawClient.connect(port, HONEST)
            try:
                answer = await client.ask(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
                self.statuses.append(answer.status)
            finally:
                await trio.aclose_forcefully(client.stream)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError, AssertionError) as error:
            self.statuses.append(repr(error))
        self.waits_s.append(time.monotonic() - began)


@asynccontextmanager
async def honest_posts(port: int, per_s: float) -> AsyncGenerator[Honest]:
    """Post `per_s` records a second for the length of the block, each on time whatever became of the last."""
    made = Honest()

    async def keep_posting() -> None:
        for number in range(1_000_000):
            posts.start_soon(made.post, port, number)
            await trio.sleep(1 / per_s)

    async with trio.open_nursery() as posts, trio.open_nursery() as clock:
        clock.start_soon(keep_posting)
        yield made
        clock.cancel_scope.cancel()


# --- slow clients ---------------------------------------------------------------------------------------


@dataclass
class Slow:
    """Connections of one attack.

    Attributes:
        made: how many were connected. refused: how many of them were closed before they could do anything.
    """

    made: int = 0
    refused: int = 0

    async def run(self, way: str, port: int, number: int) -> None:
        """Be slow in one way until the node has enough of it."""
        client = await RawClient.connect(port, address(number), 4096 if way == "read" else None)
        self.made += 1
        began = time.monotonic()
        try:
            with suppress(trio.BrokenResourceError):
                await _WAYS[way](client)
            self.refused += time.monotonic() - began < REFUSED_WITHIN_S
        finally:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(client.stream)


async def _slow_head(client: RawClient) -> None:
    await client.stream.send_all(b"GET /v1/node HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    await _drip(client, b"X-a: b\r\n")


async def _slow_body(client: RawClient) -> None:
    await client.stream.send_all(RECORDS + b"Content-Length: 8192\r\n\r\n")
    await _drip(client, b"a")


async def _slow_read(client: RawClient) -> None:
    """Ask again and again for what is large and read a few bytes of it now and then."""
    ask = b"GET /listAllRecentData HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    await client.stream.send_all(ask * 20)
    while await client.stream.receive_some(32):  # noqa: ASYNC110 - slowness is what it is for
        await trio.sleep(1)


async def _drip(client: RawClient, piece: bytes) -> None:
    """Send a piece a second until the node hangs up."""

    async def read() -> None:
        with suppress(trio.BrokenResourceError):
            while await client.stream.receive_some():
                pass
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        with suppress(trio.BrokenResourceError):
            while True:
                await trio.sleep(1)
                await client.stream.send_all(piece)


_WAYS = {"head": _slow_head, "body": _slow_body, "read": _slow_read}


@asynccontextmanager
async def spread(port: int) -> AsyncGenerator[int]:
    """Pass connections on to a port, from an address for each `PER_ADDRESS` of them; give the port to use.

    For tools that know one address only: the node would let in the first 64 of it, and no probe after them.
    Little is held on the way, so that slow readers are slow ones.
    """
    numbers = count()

    async def pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in source:
                await sink.send_all(data)
            await sink.send_eof()

    async def pass_on(came: trio.SocketStream) -> None:
        came.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 4096)
        onward = (await RawClient.connect(port, address(next(numbers)), 4096)).stream
        async with came, onward, trio.open_nursery() as pumps:
            pumps.start_soon(pump, came, onward)
            pumps.start_soon(pump, onward, came)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, pass_on, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def log_lines(log: Path) -> int:
    """Count the lines a node has logged."""
    return log.read_text().count("\n")
