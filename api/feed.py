"""A feed: where one reader is in what happens here, and what comes next. Pure.

Feeds of every kind read alike. Records are read from the store's arrival log, so there is no queue per
reader: who is slow reads later, what is held for him is one run of at most `RUN_BYTES` and one record, and
nothing is lost that still lives. What is not in the store (expired, superseded, peers) is in one short log
of notices that all feeds share.

Runs are made once and shared (`Runs`): readers that have kept up are all at the same place, so the first
to ask makes the bytes and the other ninety-nine send the same object.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from cachetools import LRUCache
from msgspec.structs import replace

from api.cursor import Position, make_cursor
from api.forms import (
    ExpiredEvent,
    FeedEvent,
    Form,
    PeerEvent,
    RecordEvent,
    ResetEvent,
    SkippedEvent,
    SupersededEvent,
)
from api.views import raw_bytes
from eventbus import Event, PeerDown, PeerUp, RecordExpired, RecordSuperseded
from node.exports import Node
from validator import Record

RUN_RECORDS = 250
"""Records looked at for one run, and notices in it: about 1 ms, before other tasks get a turn."""

RUN_BYTES = 64 * 1024
"""Bytes of raw after which a run ends: what one deadline of a write is a promise about, so a reader that
takes 64 KiB in that time is never cut."""

NOTICES_MAX = 4096
"""Notices kept for all feeds together; under 1 MB. The sweeper drops 250 records a slice: sixteen slices."""

RUNS_BYTES_MAX = 8 * 1024 * 1024
"""Bytes of runs kept to be shared. The largest there can be, a record of 1 MiB that JSON writes six times as
long behind 64 KiB of others, has to fit: or each of a hundred readers would hold one of his own. More would
be for readers far apart; 45 that share a machine with the node are not (measured: docs/performance.md)."""

SOURCES_MAX = 4096
"""Arrivals whose source is remembered: sixteen runs. A reader further behind is not told sources."""

RUN_OVERHEAD_BYTES = 500
"""What a run takes besides its bytes, for that bound."""


Notice = ExpiredEvent | SupersededEvent | PeerEvent


class Place(NamedTuple):
    """Where a reader is: the last arrival and the last notice seen, and the least time stamp he wants."""

    seq: int
    floor_ms: int
    notice: int


class Run(NamedTuple):
    """What a reader is sent at once.

    Attributes:
        data: bytes in the reader's form; may be empty when nothing he wants was among what was looked at.
        place: where he is then.
        records: int, records in `data`.
        good_until_ms: wall clock at which the first of them expires; from then on it must be made anew.
    """

    data: bytes
    place: Place
    records: int
    good_until_ms: int


class Notices:
    """The latest notices, numbered from 1; those that fall out are counted by who comes too late."""

    def __init__(self, notices_max: int = NOTICES_MAX) -> None:
        self._kept: deque[Notice] = deque(maxlen=notices_max)  # never a record: its raw may be large
        self.newest = 0

    def add(self, events: Iterable[Event]) -> None:
        """Append events in the order in which they happened."""
        for event in events:
            notice = _notice(event)
            if notice is not None:
                self._kept.append(notice)
                self.newest += 1

    def skip(self, count: int) -> None:
        """Number notices that were lost on the way here, so that every reader learns of it."""
        self._kept.clear()
        self.newest += count

    def after(self, number: int, count_max: int) -> tuple[list[Notice], int, int]:
        """Return at most `count_max` notices after `number`, how many are gone, and the last number."""
        oldest = self.newest - len(self._kept)
        gone = max(oldest - number, 0)
        start = max(number, oldest)
        found = list(islice(self._kept, start - oldest, start - oldest + count_max))
        return found, gone, start + len(found)


class Runs:
    """Make runs, and hand the same one to all who are at the same place and want the same form.

    Args:
        node: whose records are read.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.notices = Notices()
        # A dict walks over what was deleted at its front: 1.0 µs for each arrival in place of 0.1 (measured).
        self._sources = OrderedDict[int, str]()
        self._kept: LRUCache[tuple[Place, str, Form], Run] = LRUCache(
            RUNS_BYTES_MAX, getsizeof=lambda run: len(run.data) + RUN_OVERHEAD_BYTES
        )

    def arrived(self, seq: int, peer: str) -> None:
        """Remember who sent an arrival: a peer's id, or empty for a client of this node."""
        self._sources[seq] = peer or "here"
        if len(self._sources) > SOURCES_MAX:
            self._sources.popitem(last=False)

    def next(self, place: Place, prefix: str, form: Form) -> Run | None:
        """Return what comes after `place` of ids that begin with `prefix`; None if nothing does yet."""
        # Named trick, "one run for all": with 100 readers who have kept up, one encodes and 99 find it here.
        # CPU of a delivery in batches of 1,000 records: see docs/performance.md, fanout.
        key = place, prefix, form
        run = self._kept.get(key)
        if run is not None and self._node.wall_ms() < run.good_until_ms:
            return run
        run = self._make(place, prefix, form)
        if run is not None:
            self._kept[key] = run
        return run

    def forget(self) -> None:
        """Keep nothing: nobody reads."""
        self._kept.clear()
        self._sources.clear()

    def cursor(self, place: Place) -> str:
        """Write down a place for the reader."""
        return make_cursor(self._node.boot, place.seq, place.floor_ms)

    def _make(self, place: Place, prefix: str, form: Form) -> Run | None:
        arrived = self._node.arrivals(place.seq, RUN_RECORDS)
        notices, gone, notice = self.notices.after(place.notice, RUN_RECORDS)
        if not arrived and not notices and not gone:
            return None
        events: list[FeedEvent] = []
        seq, size, good_until_ms = place.seq, 0, 1 << 62
        for seq, record in arrived:
            if record.time_stamp < place.floor_ms or not record.id.startswith(prefix):
                continue
            event = self._record_event(seq, record, make_cursor(self._node.boot, seq, place.floor_ms))
            events.append(event)
            good_until_ms = min(good_until_ms, event.expires_at)
            size += event.size
            if size >= RUN_BYTES:
                break
        records, cursor = len(events), make_cursor(self._node.boot, seq, place.floor_ms)
        if gone:
            events.append(SkippedEvent(gone, cursor))
        events += [replace(n, cursor=cursor) for n in notices if _is_wanted(n, prefix)]
        return Run(form.encode(events), Place(seq, place.floor_ms, notice), records, good_until_ms)

    def _record_event(self, seq: int, record: Record, cursor: str) -> RecordEvent:
        return RecordEvent(
            record.id,
            record.raw,
            record.signature,
            record.time_stamp,
            record.time_stamp + self._node.config.ttl_ms,
            record.digest.hex(),
            raw_bytes(record),
            cursor,
            self._sources.get(seq, ""),
        )


class Feed:
    """One reader's way through it all.

    Args:
        runs: Runs, shared by all feeds.
        position: where to begin.
        prefix: of the ids that are wanted.
        form: how to say it.
    """

    def __init__(self, runs: Runs, position: Position, prefix: str, form: Form) -> None:
        self._runs = runs
        self._prefix = prefix
        self._form = form
        self._place = Place(position.after_seq, position.floor_ms, runs.notices.newest)
        self._reset_due = position.reset

    @property
    def cursor(self) -> str:
        """Where to go on after all that was taken, for a reader who comes back."""
        return self._runs.cursor(self._place)

    def take(self) -> Run | None:
        """Return the next run, or None if nothing has happened since the last."""
        if self._reset_due:
            self._reset_due = False
            data = self._form.encode([ResetEvent(self.cursor)])
            return Run(data, self._place, 0, 0)
        run = self._runs.next(self._place, self._prefix, self._form)
        if run is not None:
            self._place = run.place
        return run


def _notice(event: Event) -> Notice | None:
    """Word what happened, the cursor still empty; None for a record that was stored: the store has it."""
    if isinstance(event, PeerUp):
        return PeerEvent(event.peer, event.name, "up", "")
    if isinstance(event, PeerDown):
        return PeerEvent(event.peer, event.name, "down", "", event.reason)
    if isinstance(event, RecordExpired):
        record = event.record
        return ExpiredEvent(record.id, record.digest.hex(), record.time_stamp, "")
    if isinstance(event, RecordSuperseded):
        digest, loser = event.winner.digest.hex(), event.loser.digest.hex()
        return SupersededEvent(event.winner.id, digest, loser, "")
    return None


def _is_wanted(notice: Notice, prefix: str) -> bool:
    return isinstance(notice, PeerEvent) or notice.id.startswith(prefix)
