"""The rule of the desk: validate, merge, insert, and say what happened. Synchronous and atomic.

Every record comes through here, from a client or from a peer. There is no await in this file, so
nothing can come between "is it new?" and "it is stored": `store.add` is the only first-time test in the
whole system.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Annotated

import msgspec

from cluster import EAGER_BYTES_MAX, Admitted, WireRecord
from eventbus import Event, EventBus, RecordStored, RecordSuperseded
from storage import Held, JournalBehind, Store, StoreFull
from validator import ACCEPT, Outcome, Record, ValidatorChain, Verdict

RUN_AHEAD_MS_MAX = 1_000
"""How far time stamps may run ahead of the clock to stay strictly increasing: a burst of 1,000 records in
one millisecond keeps its order, and a flood cannot carry the time stamps out of the window in which
other nodes accept them (docs/decisions/0001)."""

_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: no i, l, o, u


class Answer(Enum):
    """What became of a client's record."""

    STORED = "stored"
    EXISTS = "exists"
    """The same id and raw are held already: success, because a client may retry."""
    CONFLICT = "conflict"
    """Another raw is held under this id; it stays."""
    FULL = "full"
    """The store has no room, or could not keep the record; nothing was stored."""
    REFUSED = "refused"


class PostedRecord(msgspec.Struct, frozen=True, gc=False):
    """A record as a client posts it. Without `id` the node makes one that sorts by time; without
    `signature` the node signs, if it can."""

    raw: str
    id: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    signature: str | None = None


class Submission(msgspec.Struct, frozen=True, gc=False):
    """What became of a client's record, and why.

    Attributes:
        answer: as above.
        record: the record that is held under the id now; None when none is.
        verdict: for REFUSED, who refused and why; for FULL, the reason in words.
    """

    answer: Answer
    record: Record | None = None
    verdict: Verdict | None = None


@dataclass(slots=True)
class AdmissionStatistics:
    """Totals since the start, by what became of records."""

    accepted: int = 0
    relayed: int = 0
    duplicate: int = 0
    conflict: int = 0
    superseded: int = 0
    ignored: int = 0
    rejected: int = 0
    full: int = 0


class Admission:
    """The one desk. Stores what passes and publishes what is new."""

    def __init__(self, store: Store, chain: ValidatorChain, bus: EventBus) -> None:
        self._store = store
        self._chain = chain
        self._bus = bus
        self._last_ms = 0
        self.statistics = AdmissionStatistics()

    def submit(self, id: str | None, raw: str, signature: str | None, wall_ms: int) -> Submission:
        """Admit one record from a client; see `submit_many`."""
        return self.submit_many((PostedRecord(raw, id, signature),), wall_ms)[0]

    def submit_many(self, posts: Sequence[PostedRecord], wall_ms: int) -> list[Submission]:
        """Admit records from a client: stamp, judge and store each, publish what is new.

        Args:
            posts: what came.
            wall_ms: Unix milliseconds.

        Returns:
            what became of each, in the same order.
        """
        news: list[Event] = []
        try:
            return [self._submit(posted, wall_ms, news) for posted in posts]
        finally:
            self._bus.publish(*news)  # as in `admit`
            self.statistics.accepted += len(news)

    def _submit(self, posted: PostedRecord, wall_ms: int, news: list[Event]) -> Submission:
        """Judge and store one record; say so in `news` for the bus if it is new."""
        raw, id, signature = posted.raw, posted.id, posted.signature
        time_stamp = self._stamp(wall_ms)
        id = new_id(wall_ms) if id is None else id
        try:
            made = self._chain.sign(id, raw) if signature is None else signature
            if isinstance(made, Verdict):
                return self._refused(made)
            record = Record.of(id, raw, made, time_stamp)
        except UnicodeEncodeError:
            return self._refused(Verdict(Outcome.REJECT, "bad-json", "a text holds lone surrogates"))
        verdict = self._chain.check(record, wall_ms)
        if verdict is not ACCEPT and verdict.outcome is not Outcome.ACCEPT:
            return self._refused(verdict)
        if trouble := self._store.trouble:
            held = self._store.get(record.id, wall_ms)
            if held is not None:
                return self._held(held, record)
            return self._full("not-durable", f"{trouble}; nothing was stored")
        try:
            stored = self._store.add(record, wall_ms, first_stays=True)
        except StoreFull as full:
            # A journal that is behind has room again in a moment, a full store when records have expired.
            code = "not-durable" if isinstance(full, JournalBehind) else "store-full"
            return self._full(code, f"{full}; nothing was stored")
        if isinstance(stored, Held):
            return self._held(stored.holder, record)
        self._last_ms = time_stamp
        news.append(RecordStored(stored.seq, record, ""))
        return Submission(Answer.STORED, record)

    def admit(self, records: Sequence[WireRecord], peer: str, wall_ms: int) -> Admitted:
        """Admit records from a peer: judge, merge, publish what is new.

        Of two records for one id the one with the smaller key stays, whatever came first.
        """
        admitted = Admitted()
        news: list[Event] = []
        try:
            for wire in records:
                self._admit(wire, peer, wall_ms, admitted, news)
        finally:
            # At once for all (0.4 of 6.8 µs a record, measured), but surely for all that is stored.
            self._bus.publish(*news)
            self.statistics.relayed += len(admitted.stored)
            self.statistics.rejected += admitted.rejected
        return admitted

    def _admit(
        self, wire: WireRecord, peer: str, wall_ms: int, admitted: Admitted, news: list[Event]
    ) -> None:
        """Judge and store one record; say what became of it in `admitted`, and in `news` for the bus."""
        try:
            record = Record.of(wire.id, wire.raw, wire.signature, wire.time_stamp)
        except ValueError:  # no honest node sends what has no canonical bytes
            admitted.rejected += 1
            return
        digest = record.digest
        if self._store.has(digest):
            admitted.known.append(digest)
            self.statistics.duplicate += 1
            return
        verdict = self._chain.check(record, wall_ms)
        if verdict.outcome is Outcome.REJECT:
            admitted.rejected += 1
            return
        if verdict.outcome is Outcome.IGNORE:
            admitted.ignored.append(digest)
            self.statistics.ignored += 1
            return
        try:
            stored = self._store.add(record, wall_ms)
        except StoreFull:
            admitted.full = True
            admitted.ignored.append(digest)
            self.statistics.full += 1
            return
        if isinstance(stored, Held):
            admitted.ignored.append(digest)
            news.append(self._superseded(stored.holder, record))
            return
        admitted.stored.append(digest)
        if (
            len(record.raw) > EAGER_BYTES_MAX // 4 and record.size_bytes > EAGER_BYTES_MAX
        ):  # UTF-8: 1 to 4 bytes
            admitted.large.append(digest)
        if stored.loser is not None:
            news.append(self._superseded(record, stored.loser))
        news.append(RecordStored(stored.seq, record, peer))

    def _superseded(self, winner: Record, loser: Record) -> RecordSuperseded:
        """Count and word that two nodes accepted one id at once and which record stays."""
        self.statistics.superseded += 1
        return RecordSuperseded(winner, loser)

    def _held(self, held: Record, offered: Record) -> Submission:
        if held.raw == offered.raw:
            self.statistics.duplicate += 1
            return Submission(Answer.EXISTS, held)
        self.statistics.conflict += 1
        return Submission(Answer.CONFLICT, held)

    def _full(self, code: str, reason: str) -> Submission:
        self.statistics.full += 1
        return Submission(Answer.FULL, verdict=Verdict(Outcome.IGNORE, code, reason))

    def _refused(self, verdict: Verdict) -> Submission:
        self.statistics.rejected += 1
        return Submission(Answer.REFUSED, verdict=verdict)

    def _stamp(self, wall_ms: int) -> int:
        """Return the next time stamp: above the last one while that is within the run-ahead, else equal.

        A last stamp further ahead than a flood can carry it means that the clock was set back: begin anew
        with the clock, because other nodes would refuse what is stamped by the old one.
        """
        ahead_ms = self._last_ms - wall_ms
        if ahead_ms < 0 or ahead_ms > 2 * RUN_AHEAD_MS_MAX:
            return wall_ms
        return self._last_ms + 1 if ahead_ms < RUN_AHEAD_MS_MAX else self._last_ms


def new_id(wall_ms: int) -> str:
    """Make an id that sorts by time: 48 bits of milliseconds and 80 random ones as 26 letters (ULID)."""
    number = (wall_ms & (2**48 - 1)) << 80 | secrets.randbits(80)
    return "".join(_BASE32[number >> shift & 31] for shift in range(125, -1, -5))
