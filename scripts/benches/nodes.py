"""Node processes with a stopwatch, and a client that costs next to nothing."""

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cluster.key import SECRET_BYTES, ClusterKey
from scripts.benches import stopwatch_node
from scripts.benches.machine import cpu_s
from tests.processes import ROOT, Cluster, NodeProcess, free_port
from validator import sign

RECORD_BYTES = 150
"""One record as JSON `{"id", "raw", "signature"}`: what the other systems were measured with."""

TIMEOUT_S = 20.0


PROFILE = "BENCH_PROFILE"
"""Environment variable that names a folder: the nodes of `http`, `batch`, `throughput` and `catchup` write
there, as `<HTTP port>.txt`, where their CPU time went (`profiled_node`)."""


class WatchedNode(NodeProcess):
    """A node process that notes something about itself: `program` is started in place of `dayfly`."""

    program = Path(stopwatch_node.__file__)

    @property
    def notes_file(self) -> Path:
        """Where the process writes its notes."""
        return self.log.with_suffix(".notes")

    def start(self) -> Self:
        """Start the process; does not wait for it."""
        command = [sys.executable, str(self.program), str(self.notes_file), "up", *self.arguments]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DAYFLY_")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self

    def stop(self) -> None:
        """Tell the process to end, and wait until it has: its notes are written then."""
        assert self.process is not None
        self.signal(signal.SIGTERM)
        self.process.wait(TIMEOUT_S)


class ProfiledNode(WatchedNode):
    """A node process that tells where its CPU time went, in the folder named by `PROFILE`."""

    program = Path(__file__).with_name("profiled_node.py")

    @property
    def notes_file(self) -> Path:
        """Where the process writes its tables."""
        return Path(os.environ[PROFILE]).resolve() / f"{self.port}.txt"

    def kill(self) -> None:
        """Let it write its tables, then make sure that it is gone."""
        self.stop()
        super().kill()


class StopwatchNode(WatchedNode):
    """A node process that notes when it stored each record."""


class BenchCluster(Cluster):
    """A cluster of node processes of one kind."""

    kind: type[NodeProcess] = NodeProcess

    def add(self, *options: str, multicast: bool = True) -> NodeProcess:
        """Start one more node; does not wait for it."""
        port = free_port()
        arguments = ["--http", f"127.0.0.1:{port}", "--cluster", self.name, "--log-format", "json"]
        arguments += ["--multicast", self.group if multicast else "off", *self.options, *options]
        node = self.kind(arguments, port).start()
        self.nodes.append(node)
        return node


class StopwatchCluster(BenchCluster):
    """A cluster of nodes with stopwatches."""

    kind = StopwatchNode

    def stamps(self) -> list[dict[bytes, int]]:
        """Stop all nodes; return for each digest to the instant of storing (monotonic nanoseconds)."""
        stopwatches = [node for node in self.nodes if isinstance(node, StopwatchNode)]
        for node in stopwatches:
            node.stop()
        return [stopwatch_node.read_stamps(node.notes_file) for node in stopwatches]

    def close(self) -> None:
        """End all processes and remove what they wrote."""
        super().close()
        for node in self.nodes:
            if isinstance(node, StopwatchNode):
                node.notes_file.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Totals:
    """What all nodes together have done since they started; `cpu_each_s`: CPU seconds of each."""

    records_in: int
    duplicates: int
    asked: int
    degraded: int
    cpu_each_s: list[float]

    @classmethod
    def read(cls, nodes: Sequence[NodeProcess]) -> "Totals":
        """Ask every node for its counters."""
        gossip = [node.get("/v1/node")["gossip"] for node in nodes]
        return cls(
            sum(g["records_in_total"] for g in gossip),
            sum(g["duplicate_total"] for g in gossip),
            sum(g["asked_total"] for g in gossip),
            sum(g["degraded_total"] for g in gossip),
            [cpu_s(node.pid) for node in nodes],
        )

    @property
    def cpu_s(self) -> float:
        """CPU time of all nodes."""
        return sum(self.cpu_each_s)


@contextlib.contextmanager
def bench_cluster(*options: str) -> Generator[BenchCluster, None, None]:
    """Make a cluster whose nodes do not outlive the block, profiled if `PROFILE` is set."""
    made = BenchCluster(*options)
    made.kind = ProfiledNode if PROFILE in os.environ else NodeProcess
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def key_options(encrypted: bool) -> Generator[tuple[str, ...], None, None]:
    """Give the options that make a cluster's links encrypted, or none; the key is of no use afterwards."""
    if not encrypted:
        yield ()
        return
    with tempfile.NamedTemporaryFile("w", prefix="dayfly-", suffix=".key") as file:
        file.write(ClusterKey(os.urandom(SECRET_BYTES)).line)
        file.flush()
        yield ("--key-file", file.name)


class Client:
    """One keep-alive connection to a node's HTTP port: about 30 µs of ours per request."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._host = f"127.0.0.1:{port}"

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def send(self, method: str, path: str, body: bytes = b"", mimetype: str = "application/json") -> None:
        """Send one request; its answer must be received before the next one."""
        head = f"{method} {path} HTTP/1.1\r\nhost: {self._host}\r\n"
        if body:
            head += f"content-type: {mimetype}\r\ncontent-length: {len(body)}\r\n"
        self._socket.sendall(head.encode() + b"\r\n" + body)

    def receive(self) -> tuple[int, bytes]:
        """Wait for the answer; return its status and body. Raises ConnectionError when there is none."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(n[15:]) for n in lines if n.startswith(b"content-length:")), 0)
        while len(body) < length:
            body += self._more()
        return int(lines[0].split()[1]), body

    def _more(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("the node closed the connection")
        return data


def raw_of(name: str) -> str:
    """Make a raw that fills the record called `name` up to `RECORD_BYTES`."""
    filled = json.dumps({"id": name, "raw": "", "signature": "0" * 32})
    seed = hashlib.sha256(name.encode()).hexdigest() * 3
    return seed[: max(RECORD_BYTES - len(filled), 1)]


def batch_of(name: str, first: int, count: int) -> bytes:
    """Make an NDJSON batch of `count` signed records, numbered from `first`, each of `RECORD_BYTES`."""
    lines: list[str] = []
    for i in range(first, first + count):
        id = f"{name}-{i:07d}"
        raw = raw_of(id)
        lines.append(json.dumps({"id": id, "raw": raw, "signature": sign(raw)}) + "\n")
    return "".join(lines).encode()
