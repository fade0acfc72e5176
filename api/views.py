"""How `/v1` shows things: the shapes of its JSON, each made from what the node knows."""

import msgspec

from node import Node, Reach
from validator import Record


class RecordView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A record as `/v1` lists it. Times are Unix milliseconds; `size` is of raw, in bytes of UTF-8."""

    id: str
    raw: str
    signature: str
    time_stamp: int
    expires_at: int
    digest: str
    size: int
    cursor: str = ""


class ReceiptView(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What became of a record that was posted; of a batch, one line's. `reach`: if it was waited for."""

    status: int
    id: str = ""
    result: str = ""
    time_stamp: int = 0
    expires_at: int = 0
    digest: str = ""
    signature: str = ""
    size: int = 0
    code: str = ""
    detail: str = ""
    reach: Reach | None = None


class PageView(msgspec.Struct, frozen=True):
    """A page of records: `next` is the cursor to go on with; `more` says there is more already; `reset`
    that the cursor given was not of this start of this node."""

    records: list[RecordView]
    next: str
    more: bool
    reset: bool


def raw_bytes(record: Record) -> int:
    """Count the bytes of raw in UTF-8."""
    return len(record.raw) if record.raw.isascii() else len(record.raw.encode())


def record_view(node: Node, record: Record, cursor: str = "") -> RecordView:
    """Show a record."""
    return RecordView(
        id=record.id,
        raw=record.raw,
        signature=record.signature,
        time_stamp=record.time_stamp,
        expires_at=record.time_stamp + node.config.ttl_ms,
        digest=record.digest.hex(),
        size=raw_bytes(record),
        cursor=cursor,
    )


def receipt_view(node: Node, record: Record, *, stored: bool) -> ReceiptView:
    """Show that a record is held: newly stored, or held before."""
    time_stamp = record.time_stamp
    return ReceiptView(
        201 if stored else 200,
        record.id,
        "stored" if stored else "exists",
        time_stamp,
        time_stamp + node.config.ttl_ms,
        record.digest.hex(),
        record.signature,
        raw_bytes(record),
    )
