"""What a record costs a node that is alone when it comes in an NDJSON batch.

One connection posts batch after batch and reads every answer. Time at the client and CPU of the node's
process are both told: the first is a promise on a quiet machine, the second bears a busy one better.
"""

import json
import time

from scripts.benches.machine import cpu_s
from scripts.benches.nodes import Client, bench_cluster, raw_of
from scripts.benches.report import Figures, Step
from validator import sign

WARM_UP_RECORDS = 5_000

BATCH_REQUIRED = {1_000: {"wall_us_per_record": 10.0}}
"""By records in a batch: 100,000 records a second, from the first byte sent to the last answer's last."""

_STORED = b'"status":201'


def measure_batch(size: int, records: int, step: Step) -> Figures:
    """Run one round: `records` records in batches of `size`, after `WARM_UP_RECORDS` others.

    Raises:
        AssertionError: a record was not taken.
    """
    step("starting", 0.0)
    warm_up, batches = -(-WARM_UP_RECORDS // size), -(-records // size)
    bodies = [_body(number, size) for number in range(warm_up + batches)]
    with bench_cluster() as made:
        node = made.start(1)[0]
        client = Client(node.port)
        for body in bodies[:warm_up]:
            _post(client, body, size)
        start_s, used_s = time.monotonic(), cpu_s(node.pid)
        for number, body in enumerate(bodies[warm_up:]):
            step("posting", number / batches)
            _post(client, body, size)
        span_s, used_s = time.monotonic() - start_s, cpu_s(node.pid) - used_s
        client.close()
        if node.records != (warm_up + batches) * size:
            raise AssertionError(f"the node holds {node.records} records")
    counted = batches * size
    return {
        "cpu_us_per_record": used_s * 1e6 / counted,
        "wall_us_per_record": span_s * 1e6 / counted,
        "records_per_s": counted / span_s,
        "batch_ms": span_s * 1e3 / batches,
    }


def _body(number: int, size: int) -> bytes:
    lines: list[str] = []
    for place in range(size):
        raw = raw_of(name := f"batch-{number:06d}-{place:04d}")
        lines.append(json.dumps({"id": name, "raw": raw, "signature": sign(raw)}))
    return "\n".join(lines).encode()


def _post(client: Client, body: bytes, size: int) -> None:
    client.send("POST", "/v1/records", body, "application/x-ndjson")
    status, answer = client.receive()
    if status != 200 or answer.count(_STORED) != size:
        raise AssertionError(f"a batch was not taken: {status} {answer[:200]!r}")
