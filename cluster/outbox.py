"""What waits to be written to one peer: three bounded lanes, and the order in which they drain.

`control` (messages) goes before `eager` (record frames, encoded once and shared by all peers) and that
before `bulk` (digests and pages the peer asked for, looked up only for the frame that is due next).
The peer's slowness thus costs at most the lanes' bounds, and what did not fit is told to the caller,
who turns a payload into its digest: loss becomes delay.
"""

from collections import deque
from collections.abc import Sequence
from itertools import islice

from cluster.codec import BATCH_BYTES, RECORD_OVERHEAD_BYTES, encode, encode_push, wire_record
from cluster.desk import Desk
from cluster.messages import Message, Page
from validator import Record

CONTROL_BYTES_MAX = 2 * 1024 * 1024
"""About 32 full IHAVEs, of 64 KiB each; a peer that lets this gather reads nothing at all."""

EAGER_BYTES_MAX = 4 * 1024 * 1024
"""Per peer: about 20,000 records of 200 bytes, half a second of the fastest node."""

BULK_MAX = 4_096
"""Digests a peer may have asked for and not yet got: twice what an honest one asks for at a time (`ASKED_MAX`
in cluster/pull.py). With 65,536 a peer that asked for what is not held made a post take 12 ms (measured)."""

SLICE_RECORDS = 64
"""Records of the bulk lane looked up at a time: a frame of 64 KiB holds 600 of 100 bytes, and to look up all
of them takes 2 ms on a busy machine, for which clients of this node would wait at each step of theirs."""


class Outbox:
    """The three lanes of one link. `next_write` is called by the link's one writer task only.

    Args:
        desk: where what the peer asks for is looked up.
        page_bytes: about how large a page of a catch-up is.
    """

    def __init__(self, desk: Desk, page_bytes: int = BATCH_BYTES) -> None:
        self._desk = desk
        self._page_bytes = page_bytes
        self._control: deque[bytes] = deque()
        self._control_bytes = 0
        self._eager: deque[bytes] = deque()
        self._eager_bytes = 0
        # A set that keeps the order: what is asked for twice is sent once.
        self._wanted: dict[bytes, None] = {}
        self._found = _Batch()
        self._page: _Page | None = None

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
        for digest in digests[: BULK_MAX - len(self._wanted)]:
            self._wanted[digest] = None

    def serve_page(self, after: bytes) -> None:
        """Queue the page after this key; a later request replaces one not yet served."""
        self._page = _Page(after, self._page_bytes)

    def next_write(self) -> bytes:
        """Take what is to be written next: about `BATCH_BYTES`, or one larger frame; empty when idle.

        Of the bulk lane it takes what is whole: a slice is gathered beside other things, and all of a frame
        when there are none. Who would let others have their turns between two slices calls `gather` first.
        """
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
        while self.gather() and not parts:
            pass
        if not self._eager and room > BATCH_BYTES // 2:
            parts += self._gathered()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def gather(self) -> bool:
        """Look up a slice of what the peer asked for; return whether more is to be looked up for a frame."""
        if not self._gathering:
            return False
        if self._wanted:
            self._gather_wanted()
        elif self._page is not None:
            self._page.gather(self._desk)
        return self._gathering

    @property
    def _gathering(self) -> bool:
        if self._wanted:
            return not self._found.full
        return not self._found.records and self._page is not None and not self._page.whole

    def _gather_wanted(self) -> None:
        digests = list(islice(self._wanted, SLICE_RECORDS))
        found = self._desk.lookup(digests)
        left = {record.digest for record in found[self._found.take(found) :]}
        for digest in digests:
            if digest not in left:
                del self._wanted[digest]

    def _gathered(self) -> list[bytes]:
        """Take the frame that has been gathered, if it is whole: records, and when none are left a page."""
        if self._gathering:
            return []
        if self._found.records:
            found, self._found = self._found, _Batch()
            return [encode_push(found.records)]
        if self._page is not None:
            page, self._page = self._page, None
            return [page.encoded()]
        return []


class _Batch:
    """Records that gather until they fill a frame."""

    def __init__(self, bytes_max: int = BATCH_BYTES) -> None:
        self.records: list[Record] = []
        self.full = False
        self._room = bytes_max

    def take(self, records: Sequence[Record]) -> int:
        """Take as many as there is room for, and one at least in all. Returns how many."""
        for count, record in enumerate(records):
            self._room -= record.size_bytes + RECORD_OVERHEAD_BYTES
            if self._room < 0 and self.records:
                self.full = True
                return count
            self.records.append(record)
        return len(records)


class _Page:
    """A page of a catch-up, as it gathers."""

    def __init__(self, after: bytes, bytes_max: int) -> None:
        self._last = after
        self._more = True
        self._batch = _Batch(bytes_max)

    @property
    def whole(self) -> bool:
        """Whether there is no room left in it, or nothing more to put there."""
        return self._batch.full or not self._more

    def gather(self, desk: Desk) -> None:
        """Look up a slice more."""
        records = desk.listing(self._last, SLICE_RECORDS)
        taken = self._batch.take(records)
        if taken:
            self._last = records[taken - 1].key
        self._more = self._batch.full or len(records) == SLICE_RECORDS

    def encoded(self) -> bytes:
        """Return it as a frame."""
        return encode(Page([wire_record(r) for r in self._batch.records], self._last, self._more))
