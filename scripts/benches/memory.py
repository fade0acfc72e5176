"""What records cost a node process: its memory, and how long it keeps others waiting while they come.

The node runs as always, alone; the records come in batches over HTTP. Memory is the kernel's `VmRSS`.
"""

import json

from scripts.benches.machine import cpu_s, rss_mb
from scripts.benches.nodes import raw_of
from scripts.benches.probe import Probe
from scripts.benches.report import Figures, Step, percentile
from tests.processes import NodeProcess, cluster

BATCH_RECORDS = 5_000
RSS_MB_MAX = 700.0
LOOP_MS_MAX = 50.0

MEMORY_REQUIRED = {"rss_mb": RSS_MB_MAX, "loop_cpu_max_ms": LOOP_MS_MAX}
"""What is promised up to 10^6 records of 150 bytes."""


def measure_memory(records: int, step: Step) -> Figures:
    """Run one round: an empty node takes `records` records while a probe asks for another one.

    Raises:
        AssertionError: the node refused records.
    """
    with cluster() as made:
        step("starting a node", 0.0)
        (node,) = made.start(1)
        empty_mb, cpu = rss_mb(node.pid), cpu_s(node.pid)
        with Probe(node.port) as probe:
            post_batches(node, records, step)
        used_s, lag = cpu_s(node.pid) - cpu, node.get("/v1/node")["loop_lag"]
        full_mb = rss_mb(node.pid)
    return {
        "rss_mb": full_mb,
        "rss_empty_mb": empty_mb,
        "bytes_per_record": (full_mb - empty_mb) * 1e6 / max(records, 1),
        "cpu_us_per_record": used_s * 1e6 / max(records, 1),
        "loop_max_ms": lag["max_ms"],
        "loop_cpu_max_ms": lag["cpu_max_ms"],
        "loop_over_50_ms": lag["over_50_ms_total"],
        "probe_p50_ms": percentile(probe.times_ms, 50),
        "probe_p99_ms": percentile(probe.times_ms, 99),
        "probe_max_ms": max(probe.times_ms),
    }


def post_batches(node: NodeProcess, records: int, step: Step, raw_bytes: int | None = None) -> None:
    """Post so many records of 150 bytes, or with raws of `raw_bytes`, in batches of half a megabyte.

    Raises:
        AssertionError: the node refused some.
    """
    size = BATCH_RECORDS if raw_bytes is None else max(BATCH_RECORDS * 100 // raw_bytes, 1)
    for start in range(0, records, size):
        step("posting", start / records)
        names = [f"bench-{i:07d}" for i in range(start, min(start + size, records))]
        raws = [raw_of(name) if raw_bytes is None else name.ljust(raw_bytes, ".") for name in names]
        lines = [json.dumps({"id": n, "raw": raw}) for n, raw in zip(names, raws, strict=True)]
        answer = node.ask("POST", "/v1/records", "\n".join(lines), content_type="application/x-ndjson")
        if answer.status != 200 or answer.body.count(b'"status":201') != len(lines):
            raise AssertionError(f"a batch was not taken: {answer.status} {answer.body[:200]!r}")
