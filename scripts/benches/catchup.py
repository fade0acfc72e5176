"""How fast an empty node comes to hold what another one holds, and what that costs the other one's clients.

One node is filled. Then records are posted to it one at a time at a steady pace, first while it is left
alone and then while a fresh node starts and catches up. The fresh node has caught up when it holds every
record whose POST had been answered by the time it was asked; it is asked every 20 ms.
"""

import json
import threading
import time
from dataclasses import dataclass, field

from scripts.benches.machine import cpu_s, rss_mb
from scripts.benches.nodes import Client, batch_of, bench_cluster, raw_of
from scripts.benches.report import Figures, Step, percentile
from scripts.benches.throughput import check_batch
from tests.processes import NodeProcess, wait_until

FILL_RECORDS = 5_000
POST_INTERVAL_S = 0.005
BEFORE_S = 3.0
"""How long records are posted before the fresh node starts: 500 of them and more."""

SETTLE_S = 2.0
POLL_S = 0.02
TIMEOUT_S = 300.0

CATCHUP_REQUIRED = {
    100_000: {"equal_s": 2.0, "post_p99_ratio": 2.0},
    1_000_000: {"equal_s": 30.0, "post_p99_ratio": 2.0},
}


@dataclass
class Poster(threading.Thread):
    """Posts one record after another to a node, in a thread of its own, until told to stop.

    Attributes:
        spans: for each post the instant it was sent and how long its answer took, in monotonic seconds.
    """

    port: int
    spans: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    stopped: bool = False

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        """Post at a steady pace; a late answer delays the next one and is not made up for."""
        client = Client(self.port)
        while not self.stopped:
            name = f"one-{len(self.spans):06d}"
            body = json.dumps({"id": name, "raw": raw_of(name)}).encode()
            sent_s = time.monotonic()
            client.send("POST", "/v1/records", body)
            status, answer = client.receive()
            if status != 201:
                raise AssertionError(f"a post was answered with {status}: {answer[:200]!r}")
            self.spans.append((sent_s, time.monotonic() - sent_s))
            time.sleep(max(sent_s + POST_INTERVAL_S - time.monotonic(), 0.0))
        client.close()

    def between(self, begin_s: float, end_s: float) -> list[float]:
        """Return how long the posts sent between two instants took, in ms."""
        return [span_s * 1e3 for sent_s, span_s in self.spans if begin_s <= sent_s < end_s]


def measure_catchup(records: int, step: Step) -> Figures:
    """Run one round: a node that holds `records` records, a fresh one, and posts all the while.

    Raises:
        AssertionError: the fresh node did not come to hold the same in time, or holds something else.
    """
    # Room beyond the default million, for what is posted meanwhile.
    with bench_cluster("--records-max", str(records + 1_000_000)) as made:
        step("starting", 0.0)
        serving = made.start(1)[0]
        _fill(serving, records, step)
        time.sleep(SETTLE_S)
        poster = Poster(serving.port)
        begin_s, begin_cpu_s = time.monotonic(), cpu_s(serving.pid)
        poster.start()
        time.sleep(BEFORE_S)
        start_s, posts = time.monotonic(), len(poster.spans)
        post_cpu_s = (cpu_s(serving.pid) - begin_cpu_s) / posts
        fresh = made.add()
        wait_until(lambda: _listens(fresh), "the fresh node listens")
        listens_s, served_s, took_s = time.monotonic(), cpu_s(serving.pid), cpu_s(fresh.pid)
        posts = len(poster.spans)
        _wait_equal(fresh, records, poster, step)
        equal_s = time.monotonic()
        served_s, took_s = cpu_s(serving.pid) - served_s, cpu_s(fresh.pid) - took_s
        served_s -= (len(poster.spans) - posts) * post_cpu_s
        if not poster.is_alive():
            raise AssertionError("posting to the serving node came to a bad end")
        poster.stopped = True
        poster.join(TIMEOUT_S)
        total = records + len(poster.spans)
        wait_until(lambda: all(n.records == total for n in made.nodes), "both hold the same number")
        gossip = fresh.get("/v1/node")["gossip"]
        memory_mb = rss_mb(fresh.pid)
    before = poster.between(begin_s, start_s)
    during = poster.between(listens_s, equal_s)
    return {
        "equal_s": equal_s - listens_s,
        "start_to_equal_s": equal_s - start_s,
        "records_per_s": records / (equal_s - listens_s),
        "post_p50_before_ms": percentile(before, 50),
        "post_p99_before_ms": percentile(before, 99),
        "post_p50_during_ms": percentile(during, 50),
        "post_p99_during_ms": percentile(during, 99),
        "post_p99_ratio": percentile(during, 99) / percentile(before, 99),
        "posts_during": len(during),
        "cpu_us_per_record_serving": served_s * 1e6 / records,
        "cpu_us_per_record_fresh": took_s * 1e6 / records,
        "payloads_per_record": gossip["records_in_total"] / (records + len(poster.spans)),
        "duplicates": gossip["duplicate_total"],
        "asked": gossip["asked_total"],
        "rss_mb_fresh": memory_mb,
    }


def _fill(node: NodeProcess, records: int, step: Step) -> None:
    client = Client(node.port)
    for start in range(0, records, FILL_RECORDS):
        step("filling", start / records / 2)
        body = batch_of("kept", start, min(FILL_RECORDS, records - start))
        client.send("POST", "/v1/records", body, "application/x-ndjson")
        check_batch(client, body)
    client.close()


def _listens(node: NodeProcess) -> bool:
    try:
        return node.ask("GET", "/healthz").status == 200
    except OSError:
        return False


def _wait_equal(fresh: NodeProcess, records: int, poster: Poster, step: Step) -> None:
    """Ask the fresh node until it holds what had been answered before it was asked."""
    client = Client(fresh.port)
    give_up_s = time.monotonic() + TIMEOUT_S
    while True:
        expected = records + len(poster.spans)
        client.send("GET", "/v1/node")
        held = json.loads(client.receive()[1])["records"]
        step("catching up", 0.5 + held / expected / 2)
        if held >= expected:
            client.close()
            return
        if time.monotonic() > give_up_s:
            raise AssertionError(f"the fresh node holds {held} of {expected} records after {TIMEOUT_S} s")
        time.sleep(POLL_S)
