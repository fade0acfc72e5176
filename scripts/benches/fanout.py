"""What it costs a node to deliver each record to many subscribers over WebSockets.

Subscribers are plain sockets that one loop reads and counts, spread over addresses of loopback because a
node bounds the feeds of one. The records come in NDJSON batches over one connection. Each raw holds one
`#` and its number, so a delivery is counted by one byte wherever a read ends; two subscribers keep all
they got, and it must be every record once, in order. The clock runs from the first byte posted to the
last delivery.

Beside it the same is done by a bare server: hypercorn and wsproto, one queue and one task per subscriber,
a send per delivery, and nothing validated or stored.
"""

import json
import re
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from api.forms import text_frame
from scripts.benches.machine import cpu_s, rss_mb
from scripts.benches.nodes import Client
from scripts.benches.report import Figures, Step
from tests.processes import ROOT, cluster, free_port, wait_until

BATCH_RECORDS = 1_000
PER_ADDRESS = 40
"""Subscribers on one address; a node takes 48."""

RAW_FILLING = "x" * 60
"""What makes the posted record about 150 bytes long, as in the other measurements."""

BARE_BYTES = 360
"""Length of one message of the bare server: a node's `record` event for such a record."""

CPU_TICK_S = 0.01
"""The least CPU time that the kernel tells of a process."""

TIMEOUT_S = 120.0

FANOUT_REQUIRED = {100: {"wall_us_per_delivery": 1e6 / 150_000}}
"""By subscribers, of the batched case: 150,000 deliveries a second."""

_HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@dataclass
class Subscriber:
    """One subscriber's socket, how many records came, and all bytes if it is one of those that keep them."""

    socket: socket.socket
    keeps: bool
    records: int = 0
    data: list[bytes] = field(default_factory=list[bytes])

    def numbers(self) -> list[int]:
        """Return the numbers of the records in the order in which they came."""
        return [int(n) for n in re.findall(rb"#(\d{8})", b"".join(self.data))]


def measure_fanout(subscribers: int, records: int, batch: int, size: int, step: Step) -> Figures:
    """Run one round against a node.

    Args:
        batch: most records in a frame; 0 for raws of `/websocket`.
        size: records in one post.
    """
    with cluster("--connections-max", str(subscribers * 2)) as made:
        step("starting", 0.0)
        node = made.start(1)[0]
        subscribe = json.dumps({"op": "subscribe", "batch": batch}).encode() if batch else b""
        with connected(node.port, "/v1/ws" if batch else "/websocket", subscribers, subscribe) as all_:
            bodies = [_body(start, min(size, records - start)) for start in range(0, records, size)]
            client = Client(node.port)

            def publish() -> None:
                for body in bodies:
                    client.send("POST", "/v1/records", body, "application/x-ndjson")
                    client.receive()

            figures = _deliver(all_, records, node.pid, publish, step)
            client.close()
    return figures


def measure_bare(subscribers: int, records: int, step: Step) -> Figures:
    """Run one round against a bare WebSocket server."""
    step("starting", 0.0)
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "scripts.benches.stock_server", "sockets", str(port)], cwd=ROOT
    )
    try:
        wait_until(lambda: _listens(port), "the bare server listens")
        with connected(port, "/out", subscribers) as all_, connected(port, "/in", 1) as (publisher,):
            frames = b"".join(_masked(_line(number)) for number in range(records))
            return _deliver(all_, records, server.pid, lambda: publisher.socket.sendall(frames), step)
    finally:
        server.kill()
        server.wait()


def _deliver(
    all_: Sequence[Subscriber], records: int, pid: int, publish: Callable[[], None], step: Step
) -> Figures:
    """Publish, and read until every subscriber has every record."""
    before_s, before_mb = cpu_s(pid), rss_mb(pid)
    began_s = time.monotonic()
    publisher = threading.Thread(target=publish, daemon=True)
    publisher.start()
    peak_mb = _read(all_, records, pid, step)
    span_s, used_s = time.monotonic() - began_s, max(cpu_s(pid) - before_s, CPU_TICK_S)
    publisher.join(TIMEOUT_S)
    for one in (all_[0], all_[-1]):
        if one.numbers() != list(range(records)):
            raise AssertionError("a subscriber did not get every record once and in order")
    deliveries = records * len(all_)
    return {
        "wall_us_per_delivery": span_s * 1e6 / deliveries,
        "cpu_us_per_delivery": used_s * 1e6 / deliveries,
        "deliveries_per_s": deliveries / span_s,
        "deliveries_per_cpu_s": deliveries / used_s,
        "records_per_s": records / span_s,
        "rss_mb_more": peak_mb - before_mb,
    }


def _read(all_: Sequence[Subscriber], records: int, pid: int, step: Step) -> float:
    """Read from all until each has so many records; return the most memory the server took meanwhile.

    Raises:
        AssertionError: it took too long, or a subscriber was cut.
    """
    peak_mb, looked_s, deadline_s = 0.0, 0.0, time.monotonic() + TIMEOUT_S
    waiting, counted = len(all_), 0
    with selectors.DefaultSelector() as selector:
        for subscriber in all_:
            selector.register(subscriber.socket, selectors.EVENT_READ, subscriber)
        while waiting:
            if (now_s := time.monotonic()) > looked_s + 0.2:
                looked_s, peak_mb = now_s, max(peak_mb, rss_mb(pid))
                step("delivering", counted / records / len(all_))
                if now_s > deadline_s:
                    raise AssertionError(f"{waiting} subscribers lack records after {TIMEOUT_S:g} s")
            for key, _ in selector.select(1.0):
                one: Subscriber = key.data
                data = one.socket.recv(1 << 18)
                if not data:
                    raise AssertionError("a subscriber was cut")
                if one.keeps:
                    one.data.append(data)
                found = data.count(b"#")
                counted += found
                one.records += found
                if one.records == records:
                    selector.unregister(one.socket)
                    waiting -= 1
    return peak_mb


@contextmanager
def connected(port: int, path: str, count: int, said: bytes = b"") -> Generator[list[Subscriber]]:
    """Open WebSockets, say something on each, and wait for the answer to that."""
    with ExitStack() as open_:
        all_: list[Subscriber] = []
        for number in range(count):
            source = (f"127.0.0.{2 + number // PER_ADDRESS}", 0)
            made = socket.create_connection(("127.0.0.1", port), TIMEOUT_S, source)
            open_.callback(made.close)
            all_.append(Subscriber(made, keeps=number in (0, count - 1)))
            made.sendall(_HANDSHAKE.format(path=path).encode() + b"")
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += made.recv(1)
            if b" 101 " not in head:
                raise AssertionError(f"no WebSocket: {head!r}")
            if said:
                made.sendall(_masked(said))
                if b"subscribed" not in (answer := made.recv(4096)):
                    raise AssertionError(f"not subscribed: {answer!r}")
        yield all_


def _masked(payload: bytes) -> bytes:
    """Make a client's frame, masked with zeros."""
    frame = text_frame(payload)
    head = len(frame) - len(payload)
    return frame[:1] + bytes((frame[1] | 0x80,)) + frame[2:head] + bytes(4) + payload


def _body(start: int, count: int) -> bytes:
    return b"\n".join(
        json.dumps({"id": f"fan-{n:08d}", "raw": f"#{n:08d}{RAW_FILLING}"}).encode()
        for n in range(start, start + count)
    )


def _line(number: int) -> bytes:
    """Make what the bare server passes on: as long as what a node tells of such a record."""
    return f"#{number:08d}".encode().ljust(BARE_BYTES, b"x")


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False
