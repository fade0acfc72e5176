"""What a long listing costs a node when many read it at once, and whoever else asks meanwhile.

One node holds 1 KB records; clients ask for `/listAllRecentData` at the same moment, each over a connection
of its own, and read as fast as they can, in this process. A probe in another process asks for one record.
Then one asks again and again with the tag of what it has, and is told that it is the same.
"""

import selectors
import socket
import time

from scripts.benches.machine import cpu_s, rss_mb
from scripts.benches.memory import post_batches
from scripts.benches.probe import Probe
from scripts.benches.report import Figures, Step, percentile
from tests.processes import NodeProcess, cluster

RAW_BYTES = 1_000
AGAIN = 500
TIMEOUT_S = 300.0

LISTING_REQUIRED = {"incomplete": 0.0, "rss_grown_mb": 150.0, "probe_p99_ms": 50.0, "loop_cpu_max_ms": 50.0}
"""What is promised of 100,000 records read by 32 at once."""


class _Reader:
    """One client: counts what it reads."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.bytes = 0
        self._end = b""

    def ask(self) -> None:
        """Send the request; the connection ends with the answer."""
        head = b"GET /listAllRecentData HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
        self.socket.sendall(head)
        self.socket.setblocking(False)

    def read(self) -> bool:
        """Read what is there; return whether there may be more."""
        data = self.socket.recv(1 << 18)
        self.bytes += len(data)
        self._end = (self._end + data)[-16:]
        return bool(data)

    @property
    def complete(self) -> bool:
        """Whether the answer came to its end: the list's, then the last chunk's."""
        return b"]}\r\n0\r\n\r\n" in self._end


def measure_listing(records: int, readers: int, step: Step) -> Figures:
    """Run one round: fill a node, then let `readers` clients list everything at once."""
    with cluster() as made:
        step("starting a node", 0.0)
        (node,) = made.start(1)
        post_batches(node, records, step, RAW_BYTES)
        before_mb, cpu = rss_mb(node.pid), cpu_s(node.pid)
        with Probe(node.port) as probe:
            clients, peak_mb, span_s = _read_all(node, readers, step)
        used_s, lag = cpu_s(node.pid) - cpu, node.get("/v1/node")["loop_lag"]
        again_us = _ask_again(node)
    read_mb = sum(c.bytes for c in clients) / 1e6
    return {
        "incomplete": sum(not c.complete or c.bytes < records * RAW_BYTES for c in clients),
        "rss_before_mb": before_mb,
        "rss_grown_mb": peak_mb - before_mb,
        "seconds": span_s,
        "read_mb": read_mb,
        "cpu_us_per_mb": used_s * 1e6 / read_mb,
        "cpu_us_unchanged": again_us,
        "probe_p50_ms": percentile(probe.times_ms, 50),
        "probe_p99_ms": percentile(probe.times_ms, 99),
        "probe_max_ms": max(probe.times_ms),
        "loop_max_ms": lag["recent_ms"],
        "loop_cpu_max_ms": lag["cpu_max_ms"],
    }


def _ask_again(node: NodeProcess) -> float:
    """Ask for the listing with its tag, `AGAIN` times; return the node's CPU for one such answer, in µs."""
    tag = node.ask("HEAD", "/listAllRecentData").headers["etag"]
    cpu = cpu_s(node.pid)
    for _ in range(AGAIN):
        answer = node.ask("GET", "/listAllRecentData", if_none_match=tag)
        if (answer.status, answer.body) != (304, b""):
            raise AssertionError(f"what has not changed was answered with {answer.status}")
    return (cpu_s(node.pid) - cpu) * 1e6 / AGAIN


def _read_all(node: NodeProcess, readers: int, step: Step) -> tuple[list[_Reader], float, float]:
    """Let all read to the end; return them, the node's largest memory meanwhile in MB, and the seconds."""
    clients = [_Reader(node.port) for _ in range(readers)]
    start_s = looked_s = time.monotonic()
    peak_mb = rss_mb(node.pid)
    with selectors.DefaultSelector() as selector:
        for client in clients:
            client.ask()
            selector.register(client.socket, selectors.EVENT_READ, client)
        while selector.get_map():
            for key, _ in selector.select(1.0):
                if not key.data.read():
                    selector.unregister(key.fileobj)
                    key.data.socket.close()
            if time.monotonic() - looked_s > 0.1:
                looked_s = time.monotonic()
                peak_mb = max(peak_mb, rss_mb(node.pid))
                step("listing", 0.5)
            if looked_s - start_s > TIMEOUT_S:
                raise AssertionError(f"{len(selector.get_map())} listings did not end in {TIMEOUT_S:g} s")
    return clients, peak_mb, time.monotonic() - start_s
