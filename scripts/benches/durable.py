"""What a journal costs a lone node: the same posts and batches, in memory and with a data directory."""

import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing

from scripts.benches.machine import cpu_s
from scripts.benches.nodes import Client, batch_of, raw_of
from scripts.benches.report import Figures, Step
from tests.processes import cluster
from validator import sign

BATCH_LINES = 1_000
BATCHES = 20
WARM_UP_POSTS = 5


def measure_durable(connections: int, posts: int, step: Step, *, journal: bool) -> Figures:
    """Run one round: `posts` to the original's route on each of `connections`, then `BATCHES` batches.

    All connections send one post each, then all read their answers: as many records wait for a commit as
    there are connections.
    """
    with ExitStack() as stack:
        options = []
        if journal:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dayfly-bench-"))
            options = ["--data-dir", folder]
        step("starting the node", 0.0)
        node = stack.enter_context(cluster()).add(*options, multicast=False).wait_ready()
        clients = [stack.enter_context(closing(Client(node.port))) for _ in range(connections)]
        _post(clients, WARM_UP_POSTS, "warm")
        step("posting", 0.2)
        used_s, start_s = cpu_s(node.pid), time.monotonic()
        _post(clients, posts, "post")
        post_cpu_s, post_s = cpu_s(node.pid) - used_s, time.monotonic() - start_s
        step("posting batches", 0.6)
        batches = [batch_of("batch", number * BATCH_LINES, BATCH_LINES) for number in range(BATCHES)]
        used_s, start_s = cpu_s(node.pid), time.monotonic()
        for batch in batches:
            clients[0].send("POST", "/v1/records", batch, "application/x-ndjson")
            status, body = clients[0].receive()
            if status != 200 or body.count(b'"status":201') != BATCH_LINES:
                raise AssertionError(f"a batch was not taken: {status} {body[:200]!r}")
        batch_cpu_s, batch_s = cpu_s(node.pid) - used_s, time.monotonic() - start_s
    return {
        "cpu_us_per_post": post_cpu_s / (posts * connections) * 1e6,
        "posts_per_s": posts * connections / post_s,
        "ms_per_turn": post_s / posts * 1e3,
        "batch_cpu_us_per_record": batch_cpu_s / (BATCHES * BATCH_LINES) * 1e6,
        "batch_records_per_s": BATCHES * BATCH_LINES / batch_s,
    }


def _post(clients: Sequence[Client], count: int, name: str) -> None:
    for turn in range(count):
        for number, client in enumerate(clients):
            id = f"{name}-{turn:06d}-{number:04d}"
            raw = raw_of(id)
            client.send(
                "POST", "/postNewData", json.dumps({"id": id, "raw": raw, "signature": sign(raw)}).encode()
            )
        for client in clients:
            status, body = client.receive()
            if status != 200:
                raise AssertionError(f"a post was not taken: {status} {body!r}")
