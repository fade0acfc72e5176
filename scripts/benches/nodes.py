"""Node processes with a stopwatch, and a client that costs next to nothing."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Self

from scripts.benches import stopwatch_node
from tests.processes import ROOT, Cluster, NodeProcess, free_port

RECORD_BYTES = 150
"""One record as JSON `{"id", "raw", "signature"}`: what the other systems were measured with."""

TIMEOUT_S = 20.0


class StopwatchNode(NodeProcess):
    """A node process that notes when it stored each record."""

    @property
    def stamps_file(self) -> Path:
        """Where the process writes its notes."""
        return self.log.with_suffix(".stamps")

    def start(self) -> Self:
        """Start the process; does not wait for it."""
        command = [sys.executable, str(stopwatch_node.__file__), str(self.stamps_file), "up", *self.arguments]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DAYFLY_")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self


class StopwatchCluster(Cluster):
    """A cluster of such nodes."""

    def add(self, *options: str, multicast: bool = True) -> NodeProcess:
        """Start one more node; does not wait for it."""
        port = free_port()
        arguments = ["--http", f"127.0.0.1:{port}", "--cluster", self.name, "--log-format", "json"]
        arguments += ["--multicast", self.group if multicast else "off", *self.options, *options]
        node = StopwatchNode(arguments, port).start()
        self.nodes.append(node)
        return node

    def stamps(self) -> list[dict[bytes, int]]:
        """Stop all nodes; return for each digest to the instant of storing (monotonic nanoseconds)."""
        stopwatches = [node for node in self.nodes if isinstance(node, StopwatchNode)]
        for node in stopwatches:
            node.signal(signal.SIGTERM)
        for node in stopwatches:
            assert node.process is not None
            node.process.wait(TIMEOUT_S)
        return [stopwatch_node.read_stamps(node.stamps_file) for node in stopwatches]

    def close(self) -> None:
        """End all processes and remove what they wrote."""
        super().close()
        for node in self.nodes:
            if isinstance(node, StopwatchNode):
                node.stamps_file.unlink(missing_ok=True)


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
