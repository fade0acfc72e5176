"""A lone node with a data directory, clients that load it and remember what was acknowledged, small disks."""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from storage.journal_format import create_journal
from tests.mounts import mounted
from tests.processes import NodeProcess, free_port, wait_until
from tests.storage.journals import make_record
from validator import sign

CLIENTS = 6
BATCH_LINES = 40


def durable_node(data_dir: Path, *options: str) -> NodeProcess:
    """Describe a node that keeps its records in `data_dir` and seeks nobody; it is not started yet."""
    port = free_port()
    arguments = ["--http", f"127.0.0.1:{port}", "--multicast", "off", "--log-format", "json"]
    return NodeProcess([*arguments, "--data-dir", str(data_dir), *options], port)


@contextlib.contextmanager
def running(node: NodeProcess) -> Generator[NodeProcess]:
    """Start a node; it answers when the block begins and is killed when it ends."""
    try:
        yield wait_answers(node.start())
    finally:
        node.kill()
        node.log.unlink(missing_ok=True)


def wait_answers(node: NodeProcess) -> NodeProcess:
    """Wait until a node answers; it need not be ready."""
    wait_until(partial(_answers, node), f"the node on {node.port} answers", 60)
    return node


def wait_peers(node: NodeProcess, count: int) -> None:
    """Wait until a node that answers has so many links."""
    wait_until(lambda: node.get("/v1/node")["peers_up"] == count, f"{node.port} has {count} peers")


def _answers(node: NodeProcess) -> bool:
    assert node.process is not None
    assert node.process.poll() is None, f"the node ended: {node.log.read_text()}"
    with contextlib.suppress(OSError, http.client.HTTPException):
        return node.ask("GET", "/healthz").status == 200
    return False


def log_lines(node: NodeProcess, event: str) -> list[dict[str, Any]]:
    """Return the lines a node has logged whose event begins with `event`."""
    lines = [json.loads(line) for line in node.log.read_text().splitlines()]
    return [line for line in lines if line["event"].startswith(event)]


def ended(node: NodeProcess, timeout_s: float = 30.0) -> tuple[int, str]:
    """Start a node that cannot run; return its exit code and what it said."""
    node.start()
    try:
        assert node.process is not None
        return node.process.wait(timeout_s), node.log.read_text()
    finally:
        node.kill()
        node.log.unlink(missing_ok=True)


class Load:
    """Clients that post without end, each in its own way, until the node is gone.

    Attributes:
        posted: what was sent, by id. acknowledged: ids of what the node said it holds.
    """

    def __init__(self, node: NodeProcess, name: str) -> None:
        self.posted: dict[str, str] = {}
        self.acknowledged: list[str] = []
        self._node = node
        self._threads = [
            threading.Thread(target=self._post, args=(f"{name}-{number}", number))
            for number in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        """Wait until all clients have found the node gone."""
        for thread in self._threads:
            thread.join(60)

    def _post(self, name: str, number: int) -> None:
        way = (self._seed, self._plain, self._batch)[number % 3]
        connection = http.client.HTTPConnection("127.0.0.1", self._node.port, timeout=30)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            count = 0
            while True:
                ids = [f"{name}-{n}" for n in range(count, count + (BATCH_LINES if number % 3 == 2 else 1))]
                self.posted |= {id: f"raw of {id} " + "é" * (len(ids) * count % 300) for id in ids}
                way(connection, ids)
                self.acknowledged += ids
                count += len(ids)

    def _ask(self, connection: http.client.HTTPConnection, path: str, body: str, kind: str) -> bytes:
        method = "PUT" if path.startswith("/v1/records/") else "POST"
        connection.request(method, path, body.encode(), {"content-type": kind})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status not in (200, 201):
            raise AssertionError(f"{path}: {answer.status} {content!r}")
        return content

    def _seed(self, connection: http.client.HTTPConnection, ids: list[str]) -> None:
        raw = self.posted[ids[0]]
        record = {"id": ids[0], "raw": raw, "signature": sign(raw)}
        self._ask(connection, "/postNewData", json.dumps(record), "application/json")

    def _plain(self, connection: http.client.HTTPConnection, ids: list[str]) -> None:
        self._ask(connection, f"/v1/records/{ids[0]}", self.posted[ids[0]], "text/plain")

    def _batch(self, connection: http.client.HTTPConnection, ids: list[str]) -> None:
        lines = "\n".join(json.dumps({"id": id, "raw": self.posted[id]}) for id in ids)
        content = self._ask(connection, "/v1/records", lines, "application/x-ndjson")
        assert [json.loads(line)["status"] for line in content.splitlines()] == [201] * len(ids)


def fill_journal(data_dir: Path, count: int) -> None:
    """Make a data directory as of a node that was stopped just now.

    Its records have 150 bytes: an id and a signature of 32, a raw of 86.
    """
    first_ms = time.time_ns() // 1_000_000 - count
    records = (make_record(n, f"{n} ".ljust(86, "x"), time_stamp=first_ms + n) for n in range(count))
    create_journal(data_dir / "journal.sqlite", records)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of eight megabytes."""
    path = tmp_path / "disk"
    path.mkdir()
    with mounted(path, "size=8m"):
        yield path
