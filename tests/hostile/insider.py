"""A member of the cluster that means harm: it shakes hands as it should and then sends what it likes.

Also a program of its own, so that it does not slow down the test that watches: `python -m
tests.hostile.insider PORT RULES CLUSTER PER_S RAW_BYTES` floods a node with valid records, prints a line
when it begins, and how many it sent in how many seconds when its standard input ends.
"""

import contextlib
import secrets
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Generator
from typing import Self

from cluster.codec import FrameReader, encode
from cluster.messages import (
    PROTOCOL_MAX,
    PROTOCOL_MIN,
    Bye,
    Hello,
    Message,
    Ping,
    Pong,
    Push,
    Ready,
    WireRecord,
)
from tests.processes import NodeProcess
from validator import sign

BATCH = 100
"""Records in one frame of a flood."""


_doors: dict[int, tuple[int, str, str]] = {}
"""By process: the peer port, and the rules and cluster that a hello must name. Asked of each node once: a
thousand attackers who ask first are a test of `/v1/node`."""


class Insider:
    """One link to a node's peer port, made with plain blocking calls; a context manager."""

    def __init__(self, port: int, rules: str, cluster: str, node_id: bytes | None = None) -> None:
        self.node_id = node_id or secrets.token_bytes(16)
        self.hello = Hello(
            PROTOCOL_MIN,
            PROTOCOL_MAX,
            [],
            self.node_id,
            1,
            cluster,
            "insider",
            1,
            "",
            rules,
            0,
            time.time_ns() // 1_000_000,
        )
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._reader = FrameReader()

    @classmethod
    def to(cls, node: NodeProcess) -> Self:
        """Connect to a node; nothing is said yet."""
        if node.pid not in _doors:
            view = node.get("/v1/node")
            _doors[node.pid] = int(view["peer"].rpartition(":")[2]), view["rules"], view["cluster"]
        return cls(*_doors[node.pid])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        # A reset: what the node still sends must not keep the port busy for a minute.
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def link(self) -> Self:
        """Shake hands as a good peer; the link is up when this returns."""
        self.socket.sendall(encode(self.hello))
        self._wait_for(Hello)
        self.socket.sendall(encode(Ready()) + encode(Ping(1, self.hello.wall_ms, 0, 0, 0, 0, bytes(16))))
        self._wait_for(Pong)
        return self

    def _wait_for(self, kind: type[Message]) -> None:
        heard: list[Message] = []
        while not any(isinstance(message, kind) for message in heard):
            heard = self.hear()
            assert heard, f"closed before a {kind.__name__}"

    def hear(self) -> list[Message]:
        """Wait for messages; none when the node has closed the connection, or has nothing whole to say."""
        try:
            return list(self._reader.feed(self.socket.recv(65536)))
        except ConnectionError:
            return []

    @contextlib.contextmanager
    def repeating(self, frame: bytes) -> Generator[None, None, None]:
        """Send a frame again and again, and read what comes, as fast as the node takes it."""
        over, data = threading.Event(), frame * max(1, 60_000 // len(frame))

        def send() -> None:
            with contextlib.suppress(OSError):
                while not over.is_set():
                    self.socket.sendall(data)

        def drain() -> None:
            with contextlib.suppress(OSError):
                while self.socket.recv(1 << 20):
                    pass

        tasks = [threading.Thread(target=send), threading.Thread(target=drain)]
        for task in tasks:
            task.start()
        try:
            yield
        finally:
            over.set()
            self.socket.shutdown(socket.SHUT_RDWR)
            for task in tasks:
                task.join()

    def ended(self) -> str | None:
        """Wait until the node ends the link; return the code of its goodbye, None without one."""
        code = None
        with contextlib.suppress(ConnectionError):
            while data := self.socket.recv(65536):
                for message in self._reader.feed(data):
                    code = message.code if isinstance(message, Bye) else code
        return code


def batch(first: int, raw_bytes: int, count: int = BATCH) -> Push:
    """Make valid records, all new."""
    stamp = time.time_ns() // 1_000_000
    raws = [f"{n:010}".ljust(raw_bytes, "x") for n in range(first, first + count)]
    prefix = secrets.token_hex(4)
    return Push([WireRecord(f"{prefix}-{i}", raw, sign(raw), stamp) for i, raw in enumerate(raws)])


def main(port: int, rules: str, cluster: str, per_s: int, raw_bytes: int) -> None:
    """Flood until standard input ends, or the node ends the link."""
    with Insider(port, rules, cluster) as insider:
        insider.link()
        print("begun", flush=True)
        sent, began = 0, time.monotonic()
        while True:
            wait_s = max(began + sent / per_s - time.monotonic(), 0)
            readable = select.select([sys.stdin, insider.socket], [], [], wait_s)[0]
            if sys.stdin in readable or (readable and not insider.socket.recv(65536)):
                break
            if not readable:
                insider.socket.sendall(encode(batch(sent, raw_bytes)))
                sent += BATCH
        print(sent, time.monotonic() - began, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
