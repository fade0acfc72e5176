"""What it costs a client to wait until all nodes hold what it posted, beside posting alone.

Plain posts and posts with `?wait=all` take turns, each at a node drawn at random, one at a time. Every answer
must say that all nodes hold the record, or the round has failed.
"""

import json
import time
from random import Random

from scripts.benches.nodes import Client, raw_of
from scripts.benches.report import Figures, Step, percentile
from tests.processes import cluster

WARM_UP_POSTS = 20

RECEIPTS_REQUIRED = {5: {"above_post_p50_ms": 5.0}}
"""By number of nodes, what is promised on an otherwise idle machine."""


def measure_receipts(count: int, posts: int, interval_s: float, step: Step) -> Figures:
    """Run one round: `count` nodes, `posts` posts of either kind.

    Args:
        interval_s: mean time between posts; each is drawn from within 30 % of it.

    Raises:
        AssertionError: an answer did not say that every node holds the record.
    """
    rng = Random()
    step("starting nodes", 0.0)
    spans_ms: dict[str, list[float]] = {"/v1/records": [], "/v1/records?wait=all": []}
    told_ms: list[float] = []
    with cluster() as made:
        nodes = made.start(count)
        clients = [Client(node.port) for node in nodes]
        for number in range(-WARM_UP_POSTS, 2 * posts):
            path = list(spans_ms)[number % 2]
            step("posting", max(number, 0) / posts / 2)
            time.sleep(interval_s * rng.uniform(0.7, 1.3))
            name = f"receipt-{number:05d}"
            body = json.dumps({"id": name, "raw": raw_of(name)}).encode()
            client = rng.choice(clients)
            start_s = time.monotonic()
            client.send("POST", path, body)
            status, answer = client.receive()
            took_s = time.monotonic() - start_s
            reach = json.loads(answer).get("reach", {"ok": count, "of": count, "ms": 0})
            if status != 201 or (reach["ok"], reach["of"]) != (count, count):
                raise AssertionError(f"a post was answered with {status}: {answer[:200]!r}")
            if number >= 0:
                spans_ms[path].append(took_s * 1000)
                told_ms += [reach["ms"]] if "wait" in path else []
        for client in clients:
            client.close()
    plain, waited = spans_ms.values()
    return {
        "post_p50_ms": percentile(plain, 50),
        "post_p99_ms": percentile(plain, 99),
        "wait_p50_ms": percentile(waited, 50),
        "wait_p99_ms": percentile(waited, 99),
        "above_post_p50_ms": percentile(waited, 50) - percentile(plain, 50),
        "told_p50_ms": percentile(told_ms, 50),
    }
