"""What one posted record costs a server that is busy with 64 connections: a node, or a stock framework.

Server and load generator are processes of their own; the CPU is that of the server's process alone, as
the kernel counts it. A node does all its work in that time: it validates, stores and sends on to its
peers, and at the end all nodes must hold every record. The frameworks only parse and answer.
"""

import json
import subprocess
import sys
import tempfile
from contextlib import suppress
from http.client import HTTPException

from scripts.benches.nodes import bench_cluster
from scripts.benches.report import Figures, Step
from tests.processes import ROOT, NodeProcess, free_port, wait_until

WARM_UP_POSTS = 1_000
"""Posts before the count: every connection has been used some 15 times, and every path been taken."""

LOAD_TIMEOUT_S = 300.0

POSTS_REQUIRED = {"cpu_us_per_request_ratio": 0.6, "p99_to_p50": 3.0}
SAVED_POSTS_REQUIRED = {"cpu_us_per_request_ratio": 0.75, "p99_to_p50": 3.0}
"""What is promised of a node with two peers, beside the stock framework that does nothing: without a data
directory, and with one, where each answer waits for the commit."""


def measure_stock(kind: str, connections: int, posts: int, step: Step) -> Figures:
    """Run one round against a framework: `kind` is `quart` or `asgi`."""
    step("starting", 0.0)
    port = free_port()
    command = [sys.executable, "-m", "scripts.benches.stock_server", kind, str(port)]
    server = subprocess.Popen(command, cwd=ROOT)
    try:
        node = NodeProcess([], port, process=server)
        wait_until(lambda: _answers(node), f"the {kind} server answers")
        step("posting", 0.3)
        return load_posts(port, connections, posts, server.pid)
    finally:
        server.kill()
        server.wait()


def measure_node(count: int, connections: int, posts: int, step: Step, *, data_dir: bool = False) -> Figures:
    """Run one round against one of `count` nodes, which has a data directory if wanted.

    Raises:
        AssertionError: a post was refused, or did not reach every node.
    """
    with tempfile.TemporaryDirectory(prefix="dayfly-bench-") as folder, bench_cluster() as made:
        step("starting", 0.0)
        made.add(*(["--data-dir", folder] if data_dir else []))
        nodes = made.start(count - 1)
        step("posting", 0.3)
        figures = load_posts(nodes[0].port, connections, posts, nodes[0].pid)
        held = WARM_UP_POSTS + posts
        wait_until(lambda: all(n.records == held for n in nodes), f"every node holds {held} records")
        return figures


def load_posts(port: int, connections: int, posts: int, pid: int) -> Figures:
    """Post to a server, whose process is `pid`, from a process of its own.

    Raises:
        AssertionError: a post was refused.
    """
    arguments = [str(n) for n in (port, connections, WARM_UP_POSTS, posts, pid)]
    ended = subprocess.run(
        [sys.executable, "-m", "scripts.benches.load", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        timeout=LOAD_TIMEOUT_S,
        check=False,
    )
    if ended.returncode:
        raise AssertionError("the load generator failed; its own words are above")
    figures: dict[str, float] = json.loads(ended.stdout)
    return figures


def _answers(server: NodeProcess) -> bool:
    with suppress(OSError, HTTPException):
        return server.ask("GET", "/").status > 0
    return False
