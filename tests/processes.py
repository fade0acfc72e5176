"""Real node processes for tests and benches: start, ask, kill, wait for a condition.

Every cluster gets a name, a multicast group's port and TCP ports of its own, so that runs beside each
other never meet.
"""

import contextlib
import errno
import fcntl
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 60.0

PORTS = range(20_000, 32_000)
"""Ports for nodes: outside the range that outgoing connections draw from."""

_CLAIMS = (Path(tempfile.gettempdir()) / f"dayfly-test-ports-{os.getuid()}").open("ab")
"""A byte for each port, locked by the test process that uses it: what was free a moment ago for one would
otherwise now and then be taken by another before it is used."""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM, count: int = 1) -> int:
    """Return a port, or the first of `count` neighbours, that was free a moment ago.

    No other process of these tests is given it before this one has ended.
    """
    while True:
        first = secrets.choice(PORTS)
        with contextlib.ExitStack() as probes:
            sockets = [probes.enter_context(socket.socket(socket.AF_INET, kind)) for _ in range(count)]
            try:
                fcntl.lockf(_CLAIMS, fcntl.LOCK_EX | fcntl.LOCK_NB, count, first)
                for port, probe in enumerate(sockets, first):
                    probe.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno in (errno.EACCES, errno.EADDRINUSE, errno.EAGAIN):
                    continue  # somebody has it
                raise
            return first


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 60.0) -> float:
    """Poll until `condition` holds; fail with `what` when it does not in time. Returns seconds waited.

    Asked less and less often: most conditions are requests, and a machine full of tests has no time for them.
    """
    start = time.monotonic()
    while not condition():
        waited_s = time.monotonic() - start
        if waited_s > timeout_s:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(min(0.01 + waited_s / 20, 0.1))
    return time.monotonic() - start


ANSWER_S_MAX = 60.0
"""How long a node may take to answer: generous, as many tests share the machine."""


@dataclass
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Decode the body."""
        return json.loads(self.body)


def _log_file() -> Path:
    """Make an empty file for what a node says."""
    with tempfile.NamedTemporaryFile(prefix="dayfly-", suffix=".log", delete=False) as file:
        return Path(file.name)


@dataclass
class NodeProcess:
    """One node in a process of its own. `prefix`: a command that starts it, such as `unshare --mount`."""

    arguments: list[str]
    port: int
    prefix: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    log: Path = field(default_factory=_log_file)

    @property
    def url(self) -> str:
        """The node's HTTP address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> Self:
        """Start the process; does not wait for it."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DAYFLY_")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "node", "up", *self.arguments],
                cwd=ROOT,
                env=environment | {"PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def ask(self, method: str, path: str, body: bytes | str | None = None, **headers: str) -> Answer:
        """Send one request. Header names are given with underscores."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S_MAX)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """GET a JSON document."""
        return self.ask("GET", path).json()

    def post(self, raw: str, id: str | None = None) -> dict[str, Any]:
        """Post a record; it must be accepted."""
        body = json.dumps({"raw": raw} | ({} if id is None else {"id": id}))
        answer = self.ask("POST", "/v1/records", body, content_type="application/json")
        assert answer.status in (200, 201), answer
        result: dict[str, Any] = answer.json()
        return result

    def post_batch(self, raws: list[str], prefix: str, **headers: str) -> None:
        """Post many records with ids `<prefix><number>`; all must be accepted. `headers`: as in `ask`."""
        for start in range(0, len(raws), 5000):
            lines = [
                json.dumps({"id": f"{prefix}{start + i}", "raw": raw})
                for i, raw in enumerate(raws[start : start + 5000])
            ]
            headers["content_type"] = "application/x-ndjson"
            answer = self.ask("POST", "/v1/records", "\n".join(lines), **headers)
            assert answer.status == 200, answer
            assert all(json.loads(line)["status"] == 201 for line in answer.body.splitlines())

    def listing(self) -> list[dict[str, str]]:
        """Read the original's listing."""
        records: list[dict[str, str]] = self.ask("POST", "/listAllRecentData").json()["data_list"]
        return records

    @property
    def answers(self) -> bool:
        """Whether the node says it is ready."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.ask("GET", "/readyz").status == 200
        return False

    @property
    def records(self) -> int:
        """How many records the node holds."""
        return int(self.get("/v1/node")["records"])

    @property
    def peers(self) -> list[dict[str, Any]]:
        """The node's linked peers."""
        return [p for p in self.get("/v1/peers")["peers"] if p["state"] in ("up", "suspect")]

    def wait_ready(self) -> Self:
        """Wait until the node is ready."""

        def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, f"the node ended: {self.log.read_text()}"
            return self.answers

        wait_until(ready, f"the node on {self.port} is ready", START_TIMEOUT_S)
        return self

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process as a power cut would, and wait until it is gone."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGKILL)
            self.process.wait()


class Cluster:
    """A few nodes that find each other by multicast on loopback, under a name of their own."""

    def __init__(self, *options: str) -> None:
        self.name = f"test-{secrets.token_hex(4)}"
        self.group = f"239.255.77.78:{free_port(socket.SOCK_DGRAM)}"
        self.options = options
        self.nodes: list[NodeProcess] = []

    def add(self, *options: str, multicast: bool = True) -> NodeProcess:
        """Start one more node; does not wait for it."""
        port = free_port()
        arguments = ["--http", f"127.0.0.1:{port}", "--cluster", self.name, "--log-format", "json"]
        arguments += ["--multicast", self.group if multicast else "off", *self.options, *options]
        node = NodeProcess(arguments, port).start()
        self.nodes.append(node)
        return node

    def start(self, count: int) -> list[NodeProcess]:
        """Start nodes and wait until each is linked with all others."""
        for _ in range(count):
            self.add()
        self.wait_linked()
        return self.nodes

    def wait_linked(self, timeout_s: float = 30.0) -> None:
        """Wait until every node is ready and linked with all others."""
        for node in self.nodes:
            node.wait_ready()
        others = len(self.nodes) - 1
        for node in self.nodes:
            wait_until(partial(_has_peers, node, others), f"{node.port} has {others} peers", timeout_s)

    def wait_equal(self, count: int, timeout_s: float = 20.0) -> float:
        """Wait until every node holds `count` records; their listings must then be the same."""
        waited_s = wait_until(
            lambda: all(n.records == count for n in self.nodes),
            f"every node holds {count} records: {[n.records for n in self.nodes]}",
            timeout_s,
        )
        first = self.nodes[0].listing()
        assert all(n.listing() == first for n in self.nodes[1:])
        return waited_s

    def close(self) -> None:
        """End all processes."""
        for node in self.nodes:
            node.kill()
            node.log.unlink(missing_ok=True)


def _has_peers(node: NodeProcess, count: int) -> bool:
    return len(node.peers) == count


@contextlib.contextmanager
def cluster(*options: str) -> Generator[Cluster, None, None]:
    """Make a cluster whose nodes do not outlive the block. `options`: given to every node."""
    made = Cluster(*options)
    try:
        yield made
    finally:
        made.close()
