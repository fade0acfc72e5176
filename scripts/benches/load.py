"""Many keep-alive connections that post records one after the other, in a process of their own.

    python -m scripts.benches.load PORT CONNECTIONS WARM_UP COUNT PID

Every connection sends its next request when the last one is answered. The requests are made before the
first is sent, and an answer is looked at no closer than its length and an "ok" in it, so that a request costs
this process about a tenth of what it costs a server. Prints one JSON object: what COUNT requests after
WARM_UP others took, and the CPU that process PID used meanwhile.
"""

import json
import re
import select
import socket
import sys
import time
from collections.abc import Iterator

from scripts.benches.machine import cpu_s
from scripts.benches.nodes import raw_of
from scripts.benches.report import percentile
from validator import sign

TIMEOUT_S = 20.0

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Connection:
    """One connection: a socket, what has come of an answer, and when its request was sent."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = b""
        self._sent_ns = 0

    def send(self, request: bytes) -> None:
        """Send one request; the kernel's buffer holds it."""
        self._data = b""
        self._sent_ns = time.perf_counter_ns()
        self.socket.sendall(request)

    def receive(self) -> int | None:
        """Take what has come; return how long the request took, in ns, or None while the answer is not whole.

        Raises:
            AssertionError: the answer is not the one expected, or the connection is over.
        """
        data = self.socket.recv(65536)
        self._data += data
        head = self._data.find(b"\r\n\r\n")
        length = _LENGTH.search(self._data) if head >= 0 else None
        if data and (length is None or len(self._data) < head + 4 + int(length[1])):
            return None
        if not self._data.startswith(b"HTTP/1.1 200 ") or b'"ok"' not in self._data[head:]:
            raise AssertionError(f"a post was answered with {self._data[:200]!r}")
        return time.perf_counter_ns() - self._sent_ns


def requests(port: int, count: int) -> Iterator[bytes]:
    """Make posts of records of 150 bytes, no two alike."""
    for number in range(count):
        raw = raw_of(name := f"load-{number:07d}")
        body = json.dumps({"id": name, "raw": raw, "signature": sign(raw)}).encode()
        head = f"POST /postNewData HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
        yield f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def run(port: int, connections: int, warm_up: int, count: int, pid: int) -> dict[str, float]:
    """Send `warm_up + count` requests; return figures of the last `count`."""
    waiting = list(requests(port, warm_up + count))
    waiting.reverse()
    ready = select.epoll()
    opened: dict[int, Connection] = {}
    for _ in range(connections):
        connection = Connection(port)
        opened[connection.socket.fileno()] = connection
        ready.register(connection.socket, select.EPOLLIN)
        connection.send(waiting.pop())
    taken_ns: list[float] = []
    start_s = server_s = own_s = 0.0
    while len(taken_ns) < warm_up + count:
        for number, _ in ready.poll(TIMEOUT_S) or [(0, 0)]:
            taken = opened[number].receive()
            if taken is None:
                continue
            taken_ns.append(taken)
            if len(taken_ns) == warm_up:
                start_s, server_s, own_s = time.monotonic(), cpu_s(pid), time.process_time()
            if waiting:
                opened[number].send(waiting.pop())
    span_s, server_s, own_s = time.monotonic() - start_s, cpu_s(pid) - server_s, time.process_time() - own_s
    counted = taken_ns[warm_up:]
    p50_ms, p99_ms = percentile(counted, 50) / 1e6, percentile(counted, 99) / 1e6
    return {
        "cpu_us_per_request": server_s * 1e6 / count,
        "requests_per_s": count / span_s,
        "p50_ms": p50_ms,
        "p99_ms": p99_ms,
        "p99_to_p50": p99_ms / p50_ms,
        "load_cpu_us_per_request": own_s * 1e6 / count,
    }


if __name__ == "__main__":
    print(json.dumps(run(*map(int, sys.argv[1:]))))
