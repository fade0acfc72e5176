"""A batch posted to `/v1/records`: NDJSON, one record a line in, one result a line out, a slice at a time."""

import msgspec

from api.errors import Problem
from api.parse import BATCH_LINES_MAX, parse_lines
from api.posting import newly_stored, not_saved, outcome
from api.receipts import Wait, begin
from api.views import ReceiptView, receipt_view, receipt_views
from node.exports import Node, PostedRecord, Receipt
from validator import Record

BATCH_SLICE = 200
"""Lines taken before other tasks get a turn: about 2 ms. A batch also waits there for the cluster
(cluster/backpressure.py). With 100 a record costs a tenth more (measured)."""

SLICE_BYTES = 256 * 1024
"""About the same for long lines: what a peer may be behind, so that the cluster is asked before each."""

Result = tuple[ReceiptView, Record | None]
"""What became of one line of a batch, and the record that is held."""

_DECODER = msgspec.json.Decoder(PostedRecord)
_ENCODER = msgspec.json.Encoder()


async def post_batch(node: Node, body: bytes, wait: Wait | None) -> bytes:
    """Store one record a line; return one result a line, in the same order. Empty lines are skipped."""
    lines = body.split(b"\n", BATCH_LINES_MAX + 1)
    if len(lines) > BATCH_LINES_MAX and any(line.strip() for line in lines[BATCH_LINES_MAX:]):
        raise Problem("too-large", f"the batch has more than {BATCH_LINES_MAX} lines; none was stored")
    slice_lines = max(min(BATCH_SLICE, SLICE_BYTES * len(lines) // max(len(body), 1)), 1)
    if wait is None:
        return await _batch(node, lines, slice_lines, None)
    with begin(node, len(lines), wait) as receipt:
        return await _batch(node, lines, slice_lines, receipt)


async def _batch(node: Node, lines: list[bytes], slice_lines: int, receipt: Receipt | None) -> bytes:
    """Store the lines a slice at a time; ask after each slice's records if there is a receipt."""
    # Results that nothing can change any more are kept as bytes: of a slice they are still in the processor's
    # cache, a thousand of them are not (0.5 to 1 of 14 µs a record, measured).
    told: list[bytes | list[Result]] = []
    seq = 0
    for start in range(0, len(lines), slice_lines):
        if start:
            await node.room()
        taken = _batch_slice(node, lines[start : start + slice_lines])
        seq = max(seq, node.unsaved(record for _, record in taken if record is not None))
        told.append(taken if seq or receipt is not None else _encoded(taken))
        if receipt is not None:
            receipt.ask(list(dict.fromkeys(record.digest for _, record in taken if record is not None)))
    if seq and (trouble := await node.saved(seq)):
        told = [t if isinstance(t, bytes) else _without_unsaved(node, t, trouble) for t in told]
    if receipt is not None:
        await receipt.wait()
        told = [t if isinstance(t, bytes) else with_reach(receipt, t) for t in told]
    return b"".join(t if isinstance(t, bytes) else _encoded(t) for t in told)


def _encoded(results: list[Result]) -> bytes:
    return _ENCODER.encode_lines([view for view, _ in results])


def _without_unsaved(node: Node, results: list[Result], trouble: str) -> list[Result]:
    """Say of records that were taken in and could not be saved that they were not."""
    return [
        (_refusal(record.id, not_saved(trouble)), record)
        if record is not None and node.unsaved((record,))
        else (view, record)
        for view, record in results
    ]


def _batch_slice(node: Node, lines: list[bytes]) -> list[Result]:
    """Store the records of some lines."""
    posts = parse_lines([line for line in lines if line.strip()], _DECODER)
    submissions = node.submit_many([p for p in posts if isinstance(p, PostedRecord)])
    new = newly_stored(submissions)
    if len(new) == len(posts):  # nearly always, and then 0.4 in place of 0.8 µs a line (measured)
        return list(zip(receipt_views(node, new, stored=True), new, strict=True))
    results: list[Result] = []
    answers = iter(submissions)
    for posted in posts:
        if isinstance(posted, Problem):
            results.append((_refusal("", posted), None))
            continue
        try:
            record, stored = outcome(next(answers))
        except Problem as problem:
            results.append((_refusal(posted.id or "", problem), None))
        else:
            results.append((receipt_view(node, record, stored=stored), record))
    return results


def _refusal(id: str, problem: Problem) -> ReceiptView:
    return ReceiptView(id=id, status=problem.status, code=problem.code, detail=problem.detail)


def with_reach(receipt: Receipt, results: list[Result]) -> list[Result]:
    """Add to what became of records how far they have come by now."""
    reaches = receipt.reaches()
    told: list[Result] = []
    for view, record in results:
        if record is not None and (reach := reaches.get(record.digest)) is not None and not view.code:
            status = 202 if receipt.falls_short(reach) else view.status
            view = msgspec.structs.replace(view, status=status, reach=reach)
        told.append((view, record))
    return told
