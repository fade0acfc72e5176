"""Following records over several nodes: where to go on, and what has been seen. Pure.

A cursor is good for one start of one node. Another node answers it with `reset` and begins at the oldest
record that the watch began with (the cursor carries that time), so nothing is lost by moving; what was
delivered before is recognised by `Seen` and left out.
"""

import base64
import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from random import Random

import msgspec

SEEN_MAX = 1_000_000
"""Records remembered: what a node holds by default. About 150 bytes each. Of more that live at once, those
that came first can come again after a move to another node."""

SAVED_MAX = 16_384
"""Of these, how many of the latest a `WatchState` keeps: 340 KB of text, written a few times a second."""

PURGE_LATE_MS = 600_000
"""Remembered longer than a record's life by this: ten times the difference that clocks may have."""

PURGE_SHARE = 64
"""Records are forgotten when so small a part of all has come: a dict that is asked for its first entry walks
over all that were deleted before it, each time anew. One by one, a record cost up to 36 µs with 100,000
remembered, and more with more; so it costs 1.5, also with 300,000 (measured), and a linked list
(`OrderedDict`) would cost 1.8 and 50 bytes a record."""

PAUSE_S = (0.1, 5.0)
"""Before a node is asked again after the first failure of all, and at most."""


class Record(msgspec.Struct, frozen=True):
    """A record as a node shows it. Times are Unix milliseconds; `size` is of raw, in bytes of UTF-8."""

    id: str
    raw: str
    signature: str
    time_stamp: int
    expires_at: int
    digest: str
    size: int
    cursor: str = ""


class Page(msgspec.Struct, frozen=True):
    """Some records of a listing. `next`: the cursor to go on with; `more`: there is more already; `reset`:
    the cursor given was of another node or start."""

    records: list[Record]
    next: str
    more: bool
    reset: bool


class WatchState(msgspec.Struct, frozen=True):
    """Where a watch is, to be kept over restarts: cursors by node, and the latest records seen."""

    cursors: dict[str, str]
    seen: str = ""


@dataclass(eq=False, slots=True)
class Delivery:
    """What one line of a stream came to.

    Attributes:
        record: one that is new, or None: only the cursor has moved.
        node, cursor: URL, and where to go on there.
        done: whether it has been dealt with.
    """

    record: Record | None
    node: str
    cursor: str
    done: bool = False


class Seen:
    """Which records have been delivered. The same id and raw is one record while it lives.

    Args:
        count_max: so many are remembered; at times a `PURGE_SHARE`th more.
    """

    def __init__(self, count_max: int = SEEN_MAX) -> None:
        self._count_max = count_max
        self._until_ms: dict[int, int] = {}
        self._newest_ms = 0
        self._purge_in = 1  # so many new records from now

    def __len__(self) -> int:
        return len(self._until_ms)

    def add(self, record: Record) -> bool:
        """Remember a record. Returns whether it is new."""
        key = _key(record)
        until_ms = self._until_ms.get(key)
        if until_ms is not None and record.time_stamp < until_ms:
            # Posted at two nodes at once: one time wins, and its life is the shorter one.
            self._until_ms[key] = min(until_ms, record.expires_at)
            return False
        self._until_ms.pop(key, None)  # posted again after its life: it stands at the end now
        self._until_ms[key] = record.expires_at
        self._newest_ms = max(self._newest_ms, record.time_stamp)
        self._purge()
        return True

    def save(self) -> str:
        """Write down the latest ones."""
        latest = list(self._until_ms.items())[-SAVED_MAX:]
        return base64.b64encode(b"".join(_SAVED.pack(*item) for item in latest)).decode()

    def restore(self, saved: str) -> None:
        """Remember what was written down. Raises ValueError: it is damaged; nothing was taken."""
        try:
            self._until_ms |= dict(_SAVED.iter_unpack(base64.b64decode(saved, validate=True)))
        except struct.error as error:
            raise ValueError(str(error)) from None

    def _purge(self) -> None:
        self._purge_in -= 1
        if self._purge_in > 0:
            return
        too_many = len(self._until_ms) - self._count_max
        gone: list[int] = []
        for key, until_ms in self._until_ms.items():
            if len(gone) >= too_many and until_ms + PURGE_LATE_MS >= self._newest_ms:
                break
            gone.append(key)
        for key in gone:
            del self._until_ms[key]
        self._purge_in = max(len(self._until_ms) // PURGE_SHARE, 1)


_SAVED = struct.Struct(">Qq")


def _key(record: Record) -> int:
    """Name a record by 64 bits: of a million, two are taken for one with a chance of 3 in 10^8."""
    text = f"{record.id}\0{record.raw}".encode()  # an id holds no control character
    return int.from_bytes(blake2b(text, digest_size=8).digest())


class Following:
    """One watch's way over its nodes.

    Args:
        nodes: URLs, in the order in which they are tried.
        since: as the stream takes it; `now` only until `begin` has been told where that is.
        resume: where an earlier watch was.
        rng: for the pauses.

    Raises:
        ValueError: `resume` is damaged.
    """

    def __init__(self, nodes: Sequence[str], since: str, resume: WatchState | None, rng: Random) -> None:
        self._nodes = list(nodes)
        self._rng = rng
        self._since = since
        self._cursors: dict[str, str] = {}
        self._at = 0
        self._failures = self._lines = 0
        self._answered = False
        self._seen = Seen()
        if resume is not None:
            self._seen.restore(resume.seen)
            # In the order of our list, so that `since` falls back on the first one's.
            self._cursors = {node: resume.cursors[node] for node in nodes if node in resume.cursors}
            self._since = next(iter([*self._cursors.values(), *resume.cursors.values()]), since)

    @property
    def node(self) -> int:
        """The number of the node to ask."""
        return self._at

    @property
    def since(self) -> str:
        """Where that node is to begin; `now`: `begin` is due."""
        return self._cursors.get(self._nodes[self._at], self._since)

    @property
    def given_up(self) -> bool:
        """Whether every node was asked and none has ever answered."""
        return not self._answered and self._failures >= len(self._nodes)

    def begin(self, cursor: str, held: Sequence[Record]) -> Delivery:
        """Begin at `cursor`; `held`: what has come before and may come again at another node."""
        for record in held:
            self._seen.add(record)
        return self._arrive(None, cursor)

    def connected(self) -> None:
        """The node has taken the request."""
        self._lines, self._answered = 0, True

    def take(self, line: bytes) -> Delivery:
        """Take in one line of the stream.

        Raises:
            ValueError: it is no event; the connection is of no use.
        """
        event = msgspec.json.decode(line, type=_Event)
        self._lines += 1
        if self._lines > 1:  # the first line comes at once, also from a node that is about to stop
            self._failures = 0
        if event.event != "record":
            return self._arrive(None, event.cursor)
        record = msgspec.json.decode(line, type=Record)
        return self._arrive(record if self._seen.add(record) else None, record.cursor)

    def failed(self) -> float:
        """The node did not answer, or its answer ended: go to the next. Returns seconds to wait first."""
        self._at = (self._at + 1) % len(self._nodes)
        self._failures += 1
        rounds = self._failures // len(self._nodes)  # nothing is waited for while there are others to ask
        if not rounds:
            return 0.0
        return min(PAUSE_S[0] * 2.0 ** min(rounds - 1, 10), PAUSE_S[1]) * self._rng.uniform(0.5, 1.0)

    def _arrive(self, record: Record | None, cursor: str) -> Delivery:
        node = self._nodes[self._at]
        self._cursors[node] = self._since = cursor
        return Delivery(record, node, cursor)


class Progress:
    """What of a watch has been dealt with, in whatever order: where to resume so that nothing is left out."""

    def __init__(self, resume: WatchState | None) -> None:
        self._seen = Seen(SAVED_MAX)
        self._open: deque[Delivery] = deque()
        self._cursors: dict[str, str] = {}
        if resume is not None:
            self._cursors.update(resume.cursors)
            self._seen.restore(resume.seen)

    def begin(self, delivery: Delivery) -> None:
        """Note what was handed out, in the order of the stream."""
        self._open.append(delivery)
        if delivery.record is None:
            self.done(delivery)

    def done(self, delivery: Delivery) -> None:
        """Note that it has been dealt with; cursors move on to the first that has not."""
        delivery.done = True
        if delivery.record is not None:
            self._seen.add(delivery.record)
        while self._open and self._open[0].done:
            first = self._open.popleft()
            self._cursors[first.node] = first.cursor

    def state(self) -> WatchState:
        """Write it down."""
        return WatchState(dict(self._cursors), self._seen.save())


class _Event(msgspec.Struct):
    event: str
    cursor: str
