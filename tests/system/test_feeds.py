"""Feeds of real nodes: some subscribers deaf, and a subscriber whose node dies, restarts and is slow."""

import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress

import pytest

from scripts.benches.fanout import Subscriber, connected
from tests.api.nodes import lone_node, rss_mb
from tests.processes import NodeProcess, cluster, wait_until

LONG = bool(os.environ.get("DAYFLY_TEST_LONG"))
READERS, DEAF = 45, 5
RECORDS = 30_000
MORE_MB_MAX = 64
"""What all of it may take, the records themselves included."""

SUBSCRIBE = json.dumps({"op": "subscribe", "batch": 200}).encode()


def read_all(subscribers: list[Subscriber], count: int) -> None:
    """Read until each subscriber has so many records; all bytes are kept."""
    for one in subscribers:
        while one.records < count:
            data = one.socket.recv(1 << 18)
            assert data, "a reader that reads was cut"
            one.data.append(data)
            one.records += data.count(b"#")


@pytest.mark.skipif(not LONG, reason="10 s of waiting; the short form is in tests/api/test_stream.py")
def test_the_deaf_are_cut_and_all_others_get_everything_in_order() -> None:
    """5 of 50 never read: they are cut by the deadline of a write, counted, and cost next to no memory."""
    with lone_node() as node, connected(node.port, "/v1/ws", READERS + DEAF, SUBSCRIBE) as all_:
        readers = all_[:READERS]
        before_mb = rss_mb(node)
        for one in readers:
            one.socket.settimeout(20)
        reading = threading.Thread(target=_read_together, args=(readers, RECORDS))
        reading.start()
        lines = [{"id": f"r-{n:08d}", "raw": f"#{n:08d}" + "x" * 1000} for n in range(RECORDS)]
        for start in range(0, RECORDS, 2000):
            batch = "\n".join(map(json.dumps, lines[start : start + 2000]))
            answer = node.ask("POST", "/v1/records", batch, content_type="application/x-ndjson")
            assert answer.body.count(b'"status":201') == 2000
        posted_s = time.monotonic()
        reading.join(60)
        assert [one.records for one in readers] == [RECORDS] * READERS
        for one in readers:
            assert one.numbers() == list(range(RECORDS))
        more_mb = rss_mb(node) - before_mb
        wait_until(lambda: node.get("/v1/node")["feeds"]["cut"] == {"ws": DEAF}, "all deaf are cut", 15)
        assert time.monotonic() - posted_s < 15 + 20
        assert more_mb < MORE_MB_MAX
        assert node.get("/v1/node")["feeds"]["open"] == {"ws": READERS}


def _read_together(readers: list[Subscriber], count: int) -> None:
    threads = [threading.Thread(target=read_all, args=([one], count)) for one in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Follower:
    """A client that follows one node's stream whatever happens to it, and knows records by their ids.

    Attributes:
        ids: in the order in which they were first seen.
        resets: int, how often it was told to begin again.
        slow: Event, while cleared it does not read.
    """

    def __init__(self, node: NodeProcess) -> None:
        self._node = node
        self.ids: dict[str, None] = {}
        self.resets = 0
        self.connections = 0
        self.reads = threading.Event()
        self.reads.set()
        self._cursor = "all"
        self._socket = socket.socket()
        self._socket.close()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @contextmanager
    def following(self) -> Generator[None]:
        """Follow for the length of the block."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self.reads.set()
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._thread.join(20)

    def _run(self) -> None:
        while not self._stop.is_set():
            with suppress(OSError, http.client.HTTPException, ValueError):
                self._follow()
            self._stop.wait(0.05)

    def _follow(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._node.port, timeout=20)
        try:
            connection.connect()
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            self._socket = connection.sock
            connection.request(
                "GET", f"/v1/stream?since={self._cursor}", headers={"Accept": "application/x-ndjson"}
            )
            answer = connection.getresponse()
            self.connections += 1
            while not self._stop.is_set() and (line := answer.readline()).endswith(b"\n"):
                self.reads.wait()
                event = json.loads(line)
                self.resets += event["event"] == "reset"
                if event["event"] == "record":
                    self.ids[event["id"]] = None
                self._cursor = event["cursor"]
        finally:
            connection.close()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM] if LONG else [signal.SIGKILL])
def test_a_follower_misses_nothing_when_its_node_dies_and_comes_back_and_when_it_is_slow(end: int) -> None:
    """Records come through another node meanwhile; ids tell what has been seen."""
    with cluster() as c:
        one, two = c.start(2)
        follower, posted = Follower(one), [0]

        def post(count: int) -> None:
            two.post_batch([f"raw {posted[0] + i}" + "x" * 300 for i in range(count)], f"p{posted[0]}-")
            posted[0] += count

        with follower.following():
            post(300)
            wait_until(lambda: len(follower.ids) == posted[0], "the follower has what was posted")
            follower.reads.clear()
            post(5000)
            follower.reads.set()
            wait_until(lambda: len(follower.ids) == posted[0], "the slow follower has all")
            assert (follower.resets, follower.connections) == (0, 1)
            one.signal(end)
            assert one.process is not None
            one.process.wait(10)
            post(300)
            one.start()
            post(300)
            wait_until(
                lambda: len(follower.ids) == posted[0], "the follower has all of the restarted node", 30
            )
            assert follower.resets >= 1
            post(50)
            wait_until(lambda: len(follower.ids) == posted[0], "and what comes then")
