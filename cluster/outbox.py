"""What waits to be written to one peer: three bounded lanes, and the order in which they drain.

`control` (messages) goes before `eager` (record frames, encoded once and shared by all peers) and that
before `bulk` (digests and pages the peer asked for, looked up only when there is room to write them).
The peer's slowness thus costs at most the lanes' bounds, and what did not fit is told to the caller,
who turns a payload into its digest: loss becomes delay.
"""

from collections import deque
from collections.abc import Sequence

from cluster.codec import BATCH_BYTES, RECORD_OVERHEAD_BYTES, encode, encode_push, wire_record
from cluster.desk import Desk
from cluster.messages import Message, Page
from validator import Record

CONTROL_BYTES_MAX = 2 * 1024 * 1024
"""Two full IHAVEs and room around them; a peer that lets this gather reads nothing at all."""

EAGER_BYTES_MAX = 4 * 1024 * 1024
"""Per peer: about 20,000 records of 200 bytes, half a second of the fastest node."""

BULK_MAX = 4_096
"""Digests a peer may have asked for and not yet got: twice what an honest one asks for at a time (`ASKED_MAX`
in cluster/pull.py). Those that are not held are looked up all in one go, which takes 4 ms at most then; with
65,536 a peer that asked for nothing but such made a post take 12 ms where it takes 4 (measured)."""

PAGE_BYTES = 64 * 1024
"""Size of a page of a catch-up: 350 records of 150 bytes, 1 ms to look up and encode, which is how long
clients of the serving node wait for it. With 256 KiB a catch-up was no faster (the next page is asked for
early) and the serving node's p99 twice as long (measured)."""


class Outbox:
    """The three lanes of one link. `next_write` is called by the link's one writer task only."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._control: deque[bytes] = deque()
        self._control_bytes = 0
        self._eager: deque[bytes] = deque()
        self._eager_bytes = 0
        self._bulk: dict[bytes, None] = {}  # a set that keeps the order: what is asked for twice is sent once
        self._page: bytes | None = None

    @property
    def queued_bytes(self) -> int:
        """Bytes of the control and eager lanes."""
        return self._control_bytes + self._eager_bytes

    def send(self, message: Message) -> bool:
        """Queue a message. Returns False when the lane is full and nothing was queued."""
        frame = encode(message)
        if self._control_bytes + len(frame) > CONTROL_BYTES_MAX:
            return False
        self._control.append(frame)
        self._control_bytes += len(frame)
        return True

    def push(self, frame: bytes) -> bool:
        """Queue an encoded `Push`. Returns False when the lane is full and nothing was queued."""
        if self._eager_bytes + len(frame) > EAGER_BYTES_MAX:
            return False
        self._eager.append(frame)
        self._eager_bytes += len(frame)
        return True

    def serve(self, digests: Sequence[bytes]) -> None:
        """Queue records the peer asked for; what passes `BULK_MAX` is left out."""
        for digest in digests[: BULK_MAX - len(self._bulk)]:
            self._bulk[digest] = None

    def serve_page(self, after: bytes) -> None:
        """Queue the page after this key; a later request replaces one not yet served."""
        self._page = after

    def next_write(self) -> bytes:
        """Take what is to be written next: about `BATCH_BYTES`, or one larger frame; empty when idle."""
        parts: list[bytes] = []
        room = BATCH_BYTES
        while self._control:
            frame = self._control.popleft()
            self._control_bytes -= len(frame)
            room -= len(frame)
            parts.append(frame)
            if room <= 0:
                return b"".join(parts)
        while self._eager and (len(self._eager[0]) <= room or not parts):
            frame = self._eager.popleft()
            self._eager_bytes -= len(frame)
            room -= len(frame)
            parts.append(frame)
        if not self._eager and room > BATCH_BYTES // 2:
            parts += self._next_bulk()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _next_bulk(self) -> list[bytes]:
        """Look up one batch of what was asked for, or one page."""
        batch: list[Record] = []
        batch_bytes = 0
        while self._bulk and batch_bytes < BATCH_BYTES:
            digest = next(iter(self._bulk))
            found = self._desk.lookup([digest])
            size = sum(r.size_bytes + RECORD_OVERHEAD_BYTES for r in found)
            if batch and batch_bytes + size > BATCH_BYTES:
                break
            del self._bulk[digest]
            batch += found
            batch_bytes += size
        if batch:
            return [encode_push(batch)]
        if self._page is not None:
            after, self._page = self._page, None
            records, more = self._desk.page(after, PAGE_BYTES)
            last = records[-1].key if records else after
            return [encode(Page([wire_record(r) for r in records], last, more))]
        return []
