"""How long a record takes from a POST at any node to the last node, in an otherwise idle cluster.

The nodes themselves note when they stored each record (`stopwatch_node`), on the clock that all
processes of a machine share, so nothing is asked of them while the clock runs. A short second phase
holds those notes against what HTTP shows: a node is asked once for a record that is on its way. If it
shows the record, the note must be no later than the answer; if not, no earlier than the question.
"""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from random import Random

from scripts.benches.nodes import Client, StopwatchCluster, Totals, key_options, raw_of
from scripts.benches.report import Figures, Step, percentile
from tests.processes import NodeProcess, wait_until

WARM_UP_POSTS = 20
"""Posts before the clock counts: connections are open and every path has been taken once."""

PROBES = 40
PROBE_DELAY_S = 0.004
"""A probe's one question comes at random within about twice the time a record takes."""

LATENCY_REQUIRED = {
    5: {"last_above_post_p50_ms": 2.0, "last_above_post_p99_ms": 8.0, "payloads_per_node": 1.0},
    10: {"last_above_post_p50_ms": 3.0, "payloads_per_node": 1.0},
}
"""By number of nodes, what is promised on an otherwise idle machine."""

LATENCY_COMPARED = ("last_node_p50_ms", "cpu_us_per_record_per_node")
LATENCY_KEY_REQUIRED = {f"{figure}_ratio": 1.3 for figure in LATENCY_COMPARED}
"""What encrypted links may cost: 30 % more time."""


@dataclass(frozen=True, slots=True)
class Post:
    """One post: the record's digest and two instants in monotonic nanoseconds."""

    digest: bytes
    sent_ns: int
    answered_ns: int


@dataclass(frozen=True, slots=True)
class Probe:
    """One question: which node was asked for which record, between which instants, and had it come?"""

    digest: bytes
    node: int
    found: bool
    asked_ns: int
    answered_ns: int

    def agrees(self, stored_ns: int) -> bool:
        """Whether the answer fits a record that was stored at `stored_ns`."""
        return stored_ns <= self.answered_ns if self.found else stored_ns >= self.asked_ns


def measure_latency(
    count: int, posts: int, interval_s: float, step: Step, *, encrypted: bool = False
) -> Figures:
    """Run one round: start `count` nodes, post one record at a time, find when each was where.

    Args:
        interval_s: mean time between posts; each is drawn from within 30 % of it.
        encrypted: whether the nodes have a cluster key.

    Raises:
        AssertionError: a record did not reach every node, or HTTP contradicts the stopwatch.
    """
    rng = Random()
    with key_options(encrypted) as options, closing(StopwatchCluster(*options)) as cluster:
        step("starting nodes", 0.0)
        nodes = cluster.start(count)
        clients = [Client(node.port) for node in nodes]
        _post_each(clients, "warm", WARM_UP_POSTS, interval_s / 4, rng, lambda _: None)
        _wait_everywhere(nodes, WARM_UP_POSTS)
        before = Totals.read(nodes)
        made = _post_each(clients, "post", posts, interval_s, rng, lambda part: step("posting", part))
        _wait_everywhere(nodes, WARM_UP_POSTS + posts)
        after = Totals.read(nodes)
        probes = [_probe(clients, f"probe-{i:04d}", rng) for i in range(PROBES)]
        _wait_everywhere(nodes, WARM_UP_POSTS + posts + PROBES)
        for client in clients:
            client.close()
        stamps = cluster.stamps()
    contradicted = [p for p in probes if not p.agrees(stamps[p.node][p.digest])]
    if contradicted:
        raise AssertionError(f"{len(contradicted)} of {PROBES} HTTP answers contradict the stopwatch")
    return {
        **times(made, stamps),
        "payloads_per_node": (after.records_in - before.records_in) / (posts * (count - 1)),
        "duplicates": after.duplicates - before.duplicates,
        "asked": after.asked - before.asked,
        "cpu_us_per_record_per_node": (after.cpu_s - before.cpu_s) * 1e6 / posts / count,
        "http_probes_agreed": len(probes),
        "http_probes_absent": sum(not p.found for p in probes),
    }


def times(posts: Sequence[Post], stamps: Sequence[dict[bytes, int]]) -> dict[str, float]:
    """Turn instants into percentiles of the four spans, in milliseconds."""
    spans: dict[str, list[float]] = {"post": [], "last_node": [], "last_above_post": [], "first_to_last": []}
    for post in posts:
        stored_ns = [node[post.digest] for node in stamps]
        spans["post"].append(post.answered_ns - post.sent_ns)
        spans["last_node"].append(max(stored_ns) - post.sent_ns)
        spans["last_above_post"].append(max(stored_ns) - post.answered_ns)
        spans["first_to_last"].append(max(stored_ns) - min(stored_ns))
    figures: dict[str, float] = {}
    for name, values in spans.items():
        for percent, shown in ((50, "p50"), (99, "p99"), (100, "max")):
            figures[f"{name}_{shown}_ms"] = percentile(values, percent) / 1e6
    return figures


def _post_each(
    clients: Sequence[Client],
    name: str,
    count: int,
    interval_s: float,
    rng: Random,
    told: Callable[[float], None],
) -> list[Post]:
    """Post records one at a time, each to a node drawn at random. `told`: hears how far it has come."""
    made: list[Post] = []
    for i in range(count):
        body = _body(f"{name}-{i:04d}")
        client = rng.choice(clients)
        told(i / count)
        time.sleep(interval_s * rng.uniform(0.7, 1.3))
        sent_ns = time.monotonic_ns()
        client.send("POST", "/v1/records", body)
        answer = client.receive()
        answered_ns = time.monotonic_ns()
        made.append(Post(_digest(*answer), sent_ns, answered_ns))
    return made


def _probe(clients: Sequence[Client], name: str, rng: Random) -> Probe:
    """Post a record at one node and, before that has answered, look for it once at another."""
    origin, other = rng.sample(range(len(clients)), 2)
    clients[origin].send("POST", "/v1/records", _body(name))
    time.sleep(rng.uniform(0, PROBE_DELAY_S))
    asked_ns = time.monotonic_ns()
    clients[other].send("GET", f"/v1/records/{name}")
    status, _ = clients[other].receive()
    answered_ns = time.monotonic_ns()
    return Probe(_digest(*clients[origin].receive()), other, status == 200, asked_ns, answered_ns)


def _body(name: str) -> bytes:
    return json.dumps({"id": name, "raw": raw_of(name)}).encode()


def _digest(status: int, body: bytes) -> bytes:
    if status != 201:
        raise AssertionError(f"a post was answered with {status}: {body[:200]!r}")
    return bytes.fromhex(json.loads(body)["digest"])


def _wait_everywhere(nodes: Sequence[NodeProcess], count: int) -> None:
    wait_until(lambda: all(n.records == count for n in nodes), f"every node holds {count} records")
