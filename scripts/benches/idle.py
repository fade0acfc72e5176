"""What nodes cost that hold the same and have nothing to do: bytes on their links, CPU, memory.

The nodes run in a network namespace of their own, so every byte on its loopback interface is theirs,
IP headers included. Nothing is asked of them over HTTP during the window.
"""

import json
import time
from collections.abc import Sequence

from cluster.beacon import BEACON_BYTES
from scripts.benches.machine import cpu_s, loopback_traffic, rss_mb
from scripts.benches.nodes import raw_of
from scripts.benches.report import Figures, Step
from tests.processes import NodeProcess, cluster, wait_until

SETTLE_S = 6.0
"""Between the last request and the window: the records are past the 2 s in which they count as on their
way, and three pings of every link have said so."""

LOAD_TIMEOUT_S = 120.0
IP_UDP_HEADER_BYTES = 28

IDLE_REQUIRED = {"link_bytes_per_s": 150.0, "cpu_percent_max": 0.3}
"""Whatever the stores hold; what is promised of memory is of an almost empty one."""

RSS_EMPTY_MB_MAX = 60.0
RSS_EMPTY_RECORDS = 1_000
"""What counts as almost empty: under 1 MB of records."""


def idle_required(records: int) -> dict[str, float]:
    """Return what is promised of nodes that hold so many records."""
    return IDLE_REQUIRED | ({"rss_mb_max": RSS_EMPTY_MB_MAX} if records <= RSS_EMPTY_RECORDS else {})


def measure_idle(count: int, records: int, seconds: float, step: Step) -> Figures:
    """Run one round: `count` nodes with the same `records` records, left alone for `seconds`.

    Raises:
        AssertionError: the nodes did not come to hold the same.
    """
    with cluster() as made:
        step("starting nodes", 0.0)
        nodes = made.start(count)
        _fill(nodes, records, step)
        _sleep(SETTLE_S, "settling", step)
        pids = [node.pid for node in nodes]
        start_s, traffic, cpu = time.monotonic(), loopback_traffic(), [cpu_s(pid) for pid in pids]
        _sleep(seconds, "idle", step)
        span_s, after = time.monotonic() - start_s, loopback_traffic()
        percents = [(cpu_s(pid) - used) / span_s * 100 for pid, used in zip(pids, cpu, strict=True)]
        memory = [rss_mb(pid) for pid in pids]
        if not all(peer["in_sync"] for node in nodes for peer in node.peers):
            raise AssertionError("a node says at the end that it holds something else than a peer")
    beacons = after.datagrams - traffic.datagrams
    beacon_bytes = beacons * (BEACON_BYTES + IP_UDP_HEADER_BYTES)
    links = count * (count - 1) / 2
    return {
        "link_bytes_per_s": (after.bytes - traffic.bytes - beacon_bytes) / span_s / links,
        "link_packets_per_s": (after.packets - traffic.packets - beacons) / span_s / links,
        "beacon_bytes_per_s": beacon_bytes / span_s,
        "cpu_percent_median": sorted(percents)[count // 2],
        "cpu_percent_max": max(percents),
        "rss_mb_median": sorted(memory)[count // 2],
        "rss_mb_max": max(memory),
        "window_s": span_s,
    }


def _fill(nodes: Sequence[NodeProcess], records: int, step: Step) -> None:
    """Post the records to the first node and wait until all hold and list the same."""
    for start in range(0, records, 5_000):
        step("posting", start / records / 2)
        part = range(start, min(start + 5_000, records))
        lines = [json.dumps({"id": (name := f"idle-{i:06d}"), "raw": raw_of(name)}) for i in part]
        answer = nodes[0].ask("POST", "/v1/records", "\n".join(lines), content_type="application/x-ndjson")
        if answer.status != 200 or answer.body.count(b'"status":201') != len(lines):
            raise AssertionError(f"a batch was not taken: {answer.status} {answer.body[:200]!r}")
    full = f"every node holds {records} records"
    wait_until(lambda: all(n.records == records for n in nodes), full, LOAD_TIMEOUT_S)


def _sleep(seconds: float, what: str, step: Step) -> None:
    """Sleep and tell how far the sleep has come once a second."""
    end_s = time.monotonic() + seconds
    while (left_s := end_s - time.monotonic()) > 0:
        step(what, 1 - left_s / seconds)
        time.sleep(min(left_s, 1.0))
