"""A server on a loopback port and a client that says exactly the bytes it is told to.

Ordinary clients cannot be made to misbehave; this one does nothing else.
"""

import os
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

import trio
from hypercorn.typing import ASGIFramework

from api.access import Access
from api.reply import Handler
from api.server import HttpLimits, ServerStatistics, serve

PATIENCE_S = 8.0
"""How long a test waits for something that must happen."""

GET = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def eventually(condition: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    """Wait until `condition` holds; fail at the deadline."""
    with trio.move_on_after(within_s):
        while not condition():  # noqa: ASYNC110 (the condition is no task's to announce)
            await trio.sleep(0.005)
        return
    raise AssertionError(f"did not come true within {within_s} s")


def open_files() -> int:
    """Count this process's file descriptors."""
    return len(os.listdir("/proc/self/fd"))


def post(body: bytes, path: str = "/echo", *more: bytes) -> bytes:
    """Write a POST with a content-length."""
    lines = (f"POST {path} HTTP/1.1".encode(), b"Host: 127.0.0.1", b"Content-Length: %d" % len(body), *more)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def frame(payload: bytes, opcode: int = 1, fin: bool = True) -> bytes:
    """Write a client's WebSocket frame of less than 64 KiB, masked with zeros."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([(0x80 if fin else 0) | opcode]) + length + bytes(4) + payload


@dataclass
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class RawClient:
    """One connection."""

    stream: trio.SocketStream
    buffer: bytearray = field(default_factory=bytearray)

    @classmethod
    async def connect(cls, port: int, source: str | None = None, receive_buffer: int | None = None) -> Self:
        """Connect to a port of 127.0.0.1, from another loopback address if told to."""
        socket = trio.socket.socket()
        if receive_buffer is not None:
            socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, receive_buffer)
        try:
            if source is not None:
                await socket.bind((source, 0))
            await socket.connect(("127.0.0.1", port))
        except BaseException:  # cancellation too
            socket.close()
            raise
        return cls(trio.SocketStream(socket))

    async def say(self, data: bytes) -> None:
        """Send bytes."""
        with trio.fail_after(PATIENCE_S):
            await self.stream.send_all(data)

    async def reset(self) -> None:
        """Leave without a goodbye."""
        self.stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await self.stream.aclose()

    async def more(self) -> bytes:
        """Receive something; b"" at the end of the connection or its reset."""
        with trio.fail_after(PATIENCE_S):
            try:
                data = bytes(await self.stream.receive_some())
            except trio.BrokenResourceError:
                return b""
        self.buffer += data
        return data

    async def rest(self) -> bytes:
        """Receive until the connection ends and return all that was not taken yet."""
        while await self.more():
            pass
        return bytes(self.buffer)

    async def until(self, mark: bytes) -> bytes:
        """Receive up to and including `mark`, and take it."""
        while mark not in self.buffer:
            if not await self.more():
                raise AssertionError(f"ended before {mark!r}: {bytes(self.buffer[:200])!r}")
        end = self.buffer.index(mark) + len(mark)
        taken = bytes(self.buffer[:end])
        del self.buffer[:end]
        return taken

    async def take(self, size: int) -> bytes:
        """Receive `size` bytes."""
        while len(self.buffer) < size:
            if not await self.more():
                raise AssertionError(f"ended after {len(self.buffer)} of {size} bytes")
        taken = bytes(self.buffer[:size])
        del self.buffer[:size]
        return taken

    async def answer(self, head_only: bool = False) -> Answer:
        """Receive one answer, by content-length or in chunks."""
        head = (await self.until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in head[1:] if line)}
        body = b""
        if headers.get("transfer-encoding") == "chunked" and not head_only:
            while size := int(await self.until(b"\r\n"), 16):
                body += (await self.take(size + 2))[:size]
            await self.until(b"\r\n")
        elif not head_only:
            body = await self.take(int(headers.get("content-length", "0")))
        return Answer(int(head[0].split()[1]), headers, body)

    async def ask(self, request: bytes) -> Answer:
        """Send a request and receive its answer."""
        await self.say(request)
        return await self.answer()


@dataclass
class Running:
    """A server that runs in this process."""

    port: int
    statistics: ServerStatistics
    ended: trio.Event
    _stop: trio.Event
    _clients: list[RawClient] = field(default_factory=list[RawClient])

    async def client(self, source: str | None = None, receive_buffer: int | None = None) -> RawClient:
        """Open a connection; the server's end closes it with the rest."""
        client = await RawClient.connect(self.port, source, receive_buffer)
        self._clients.append(client)
        return client

    async def answers(self) -> bool:
        """Whether a new connection is still served."""
        client = await self.client()
        answer = await client.ask(GET)
        await client.stream.aclose()
        return answer.status == 200

    async def all_closed(self) -> None:
        """Wait until no connection is open."""
        await eventually(lambda: self.statistics.connections_open == 0)

    async def stop(self) -> float:
        """Ask for the shutdown, wait for the end, and return how long it took in seconds."""
        began = trio.current_time()
        self._stop.set()
        with trio.fail_after(PATIENCE_S):
            await self.ended.wait()
        return trio.current_time() - began

    async def close_clients(self) -> None:
        """Close what the test left open."""
        for client in self._clients:
            await trio.aclose_forcefully(client.stream)


@asynccontextmanager
async def running(
    app: ASGIFramework,
    limits: HttpLimits | None = None,
    access: Access | None = None,
    tls: ssl.SSLContext | None = None,
    fast_routes: Mapping[bytes, Handler] | None = None,
) -> AsyncGenerator[Running]:
    """Run a server for the length of the block."""
    statistics, ended, stop = ServerStatistics(), trio.Event(), trio.Event()

    async def main(task_status: trio.TaskStatus[list[str]]) -> None:
        await serve(
            app,
            "127.0.0.1:0",
            limits or HttpLimits(),
            shutdown=stop.wait,
            access=access,
            tls=tls,
            statistics=statistics,
            fast_routes=fast_routes,
            task_status=task_status,
        )
        ended.set()

    async with trio.open_nursery() as nursery:
        urls = await nursery.start(main)
        server = Running(int(urls[0].rpartition(":")[2]), statistics, ended, stop)
        try:
            yield server
        finally:
            with trio.CancelScope(shield=True):
                await server.close_clients()
            stop.set()
