"""How many records a second a cluster takes: batches to one node, until the last node holds everything.

The clock runs from the first byte of the first batch until the last node says that it holds all. Nothing is
asked of the nodes before the last batch is answered; then one node at a time, until it holds everything.
"""

import time
from collections.abc import Sequence
from functools import partial

from scripts.benches.nodes import Client, Totals, batch_of, bench_cluster, key_options
from scripts.benches.report import Figures, Step
from tests.processes import NodeProcess, wait_until

BATCH_RECORDS = 1_000
CONNECTIONS = 2
"""Connections that post in turns, so that the next batch is there when one is answered."""

WARM_UP_BATCHES = 3
TIMEOUT_S = 120.0

THROUGHPUT_REQUIRED = {
    3: {"wall_us_per_record": 25.0, "payloads_per_node": 1.0},
    10: {"wall_us_per_record": 100.0, "payloads_per_node": 1.0},
}
"""By number of nodes on two cores: 40,000 and 10,000 records a second."""

THROUGHPUT_COMPARED = ("cpu_us_per_record_all", "wall_us_per_record")
THROUGHPUT_KEY_REQUIRED = {f"{figure}_ratio": 1 / 0.7 for figure in THROUGHPUT_COMPARED}
"""What encrypted links may cost: 30 % of the records a second."""


def measure_throughput(count: int, records: int, step: Step, *, encrypted: bool = False) -> Figures:
    """Run one round: post `records` records to one of `count` nodes and wait until all nodes hold them.

    Args:
        encrypted: whether the nodes have a cluster key.

    Raises:
        AssertionError: a batch was not taken whole, or a node never came to hold everything.
    """
    with key_options(encrypted) as options, bench_cluster(*options) as made:
        step("starting nodes", 0.0)
        nodes = made.start(count)
        clients = [Client(nodes[0].port) for _ in range(CONNECTIONS)]
        warm = WARM_UP_BATCHES * BATCH_RECORDS
        _post([batch_of("warm", n, BATCH_RECORDS) for n in range(0, warm, BATCH_RECORDS)], clients, None)
        wait_until(lambda: all(n.records == warm for n in nodes), "every node holds the first batches")
        bodies = [
            batch_of("load", n, min(BATCH_RECORDS, records - n)) for n in range(0, records, BATCH_RECORDS)
        ]
        before = Totals.read(nodes)
        begin_s = time.monotonic()
        _post(bodies, clients, step)
        posted_s = time.monotonic() - begin_s
        for node in nodes:
            wait_until(partial(_holds, node, warm + records), "a node holds all", TIMEOUT_S)
        span_s = time.monotonic() - begin_s
        after = Totals.read(nodes)
        for client in clients:
            client.close()
    cpu_us = [(a - b) * 1e6 / records for a, b in zip(after.cpu_each_s, before.cpu_each_s, strict=True)]
    return {
        "records_per_s": records / span_s,
        "wall_us_per_record": span_s * 1e6 / records,
        "posted_records_per_s": records / posted_s,
        "cpu_us_per_record_origin": cpu_us[0],
        "cpu_us_per_record_other": sum(cpu_us[1:]) / (count - 1),
        "cpu_us_per_record_all": sum(cpu_us),
        "payloads_per_node": (after.records_in - before.records_in) / (records * (count - 1)),
        "duplicates": after.duplicates - before.duplicates,
        "asked": after.asked - before.asked,
        "degraded": after.degraded - before.degraded,
    }


def _holds(node: NodeProcess, count: int) -> bool:
    return node.records == count


def _post(bodies: Sequence[bytes], clients: Sequence[Client], step: Step | None) -> None:
    """Post all batches, each connection sending its next one when its last one is answered."""
    for i in range(len(bodies) + len(clients)):
        client = clients[i % len(clients)]
        if i >= len(clients) and i - len(clients) < len(bodies):
            check_batch(client, bodies[i - len(clients)])
        if i < len(bodies):
            client.send("POST", "/v1/records", bodies[i], "application/x-ndjson")
        if step is not None:
            step("posting", i / len(bodies))


def check_batch(client: Client, body: bytes) -> None:
    """Receive the answer to a batch. Raises AssertionError unless every line was stored."""
    status, answer = client.receive()
    if status != 200 or answer.count(b'"status":201') != body.count(b"\n"):
        raise AssertionError(f"a batch was not taken: {status} {answer[:200]!r}")
