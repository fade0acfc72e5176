"""The rule of the desk: validate, merge, insert, and say what happened. Synchronous and atomic.

Every record comes through here, from a client or from a peer. There is no await in this file, so
nothing can come between "is it new?" and "it is stored": `store.add_many` is the only first-time test in the
whole system.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Annotated

import msgspec

from cluster.exports import Admitted, WireRecord, large_among
from eventbus import Event, EventBus, RecordStored, RecordSuperseded
from node.ids import new_id
from storage import Held, JournalBehind, Store, Stored, StoreFull
from validator import ACCEPT, ID_BYTES_MAX, RAW_BYTES_MAX, Outcome, Record, ValidatorChain, Verdict, too_large

RUN_AHEAD_MS_MAX = 1_000
"""How far time stamps may run ahead of the clock to stay strictly increasing: a burst of 1,000 records in
one millisecond keeps its order, and a flood cannot carry the time stamps out of the window in which
other nodes accept them (docs/decisions/0001)."""


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

    raw: Annotated[str, msgspec.Meta(extra_json_schema={"minLength": 1})]
    id: Annotated[str, msgspec.Meta(min_length=1, extra_json_schema={"maxLength": ID_BYTES_MAX})] | None = (
        None
    )
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
        self.refused = Counter[str]()  # to clients, by code

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
        judged = self._judge(posts, wall_ms)
        records = [record for record in judged if isinstance(record, Record)]
        news: list[RecordStored] = []
        submissions: list[Submission] = []
        try:
            answers = iter(self._store.add_many(records, wall_ms, first_stays=True))
            for record in judged:
                if isinstance(record, Submission):
                    submissions.append(record)
                elif isinstance(answer := next(answers), Stored):
                    news.append(RecordStored(answer.seq, record, ""))
                    submissions.append(Submission(Answer.STORED, record))
                else:
                    submissions.append(self._not_stored(answer, record))
        finally:
            self._bus.publish(*news)  # as in `admit`
            self.statistics.accepted += len(news)
            if news:  # what was not stored does not carry time stamps ahead
                self._last_ms = news[-1].record.time_stamp
        return submissions

    def _judge(self, posts: Sequence[PostedRecord], wall_ms: int) -> list[Record | Submission]:
        """Return for each post the record to store, or why it cannot be stored."""
        made = self._make(posts, wall_ms)
        records = [record for record in made if isinstance(record, Record)]
        verdicts = self._chain.check_many(records, wall_ms)
        if not self._store.trouble and verdicts.count(ACCEPT) == len(posts):
            return made
        looked = iter(zip(records, verdicts, strict=True))
        return [m if isinstance(m, Submission) else self._look(*next(looked), wall_ms) for m in made]

    def _look(self, record: Record, verdict: Verdict, wall_ms: int) -> Record | Submission:
        """Look at one record by itself."""
        if verdict.outcome is not Outcome.ACCEPT:
            return self._refused(verdict)
        if trouble := self._store.trouble:
            held = self._store.get(record.id, wall_ms)
            if held is not None:
                return self._held(held, record)
            return self._full("not-durable", f"{trouble}; nothing was stored")
        return record

    def _make(self, posts: Sequence[PostedRecord], wall_ms: int) -> list[Record | Submission]:
        """Stamp what came, name and sign what came without; or say why that cannot be."""
        made: list[Record | Submission] = []
        for posted, time_stamp in zip(posts, self._stamps(len(posts), wall_ms), strict=True):
            id, raw, signature = posted.id, posted.raw, posted.signature
            if id is None:
                id = new_id(wall_ms)
            if len(raw) > RAW_BYTES_MAX:  # the chain's verdict before signing and hashing: 80 ms for 8 MiB
                made.append(self._refused(too_large("raw", RAW_BYTES_MAX)))
                continue
            try:
                signed = self._chain.sign(id, raw) if signature is None else signature
                if isinstance(signed, Verdict):
                    made.append(self._refused(signed))
                else:
                    made.append(Record.of(id, raw, signed, time_stamp))
            except UnicodeEncodeError:
                verdict = Verdict(Outcome.REJECT, "bad-json", "a text holds lone surrogates")
                made.append(self._refused(verdict))
        return made

    def _not_stored(self, answer: Held | StoreFull, record: Record) -> Submission:
        if isinstance(answer, Held):
            return self._held(answer.holder, record)
        # A journal that is behind has room again in a moment, a full store when records have expired.
        code = "not-durable" if isinstance(answer, JournalBehind) else "store-full"
        return self._full(code, f"{answer}; nothing was stored")

    def admit(self, records: Sequence[WireRecord], peer: str, wall_ms: int) -> Admitted:
        """Admit records from a peer: judge, merge, publish what is new.

        Of two records for one id the one with the smaller key stays, whatever came first.
        """
        admitted = Admitted()
        news: list[Event] = []
        offered = self._judge_relayed(records, wall_ms, admitted)
        try:
            for record, answer in zip(offered, self._store.add_many(offered, wall_ms), strict=True):
                if not isinstance(answer, Stored):
                    self._not_relayed(record, answer, admitted)
                    continue
                admitted.stored.append(record.key[8:])
                if answer.loser is not None:
                    admitted.lost.append(answer.loser.digest)
                    self.statistics.superseded += 1
                    news.append(RecordSuperseded(record, answer.loser))
                news.append(RecordStored(answer.seq, record, peer))
        finally:
            # At once for all (0.4 of 6.8 µs a record, measured), but surely for all that is stored.
            self._bus.publish(*news)
            self.statistics.relayed += len(admitted.stored)
            self.statistics.rejected += admitted.rejected
        if large := set(large_among(offered)):
            admitted.large = [digest for digest in admitted.stored if digest in large]
        return admitted

    def _judge_relayed(self, wires: Sequence[WireRecord], wall_ms: int, admitted: Admitted) -> list[Record]:
        """Return a peer's records that are to be stored; say in `admitted` what became of the others."""
        has = self._store.has
        new: list[Record] = []
        for wire in wires:
            try:
                record = Record.of(wire.id, wire.raw, wire.signature, wire.time_stamp)
            except ValueError:  # no honest node sends what has no canonical bytes
                admitted.rejected += 1
                continue
            if has(record.key[8:]):
                self._known(record, admitted)
            else:
                new.append(record)
        verdicts = self._chain.check_many(new, wall_ms)
        if verdicts.count(ACCEPT) == len(new):
            return new
        for record, verdict in zip(new, verdicts, strict=True):
            if verdict.outcome is Outcome.REJECT:
                admitted.rejected += 1
            elif verdict.outcome is Outcome.IGNORE:
                admitted.ignored.append(record.digest)
                self.statistics.ignored += 1
        return [r for r, verdict in zip(new, verdicts, strict=True) if verdict.outcome is Outcome.ACCEPT]

    def _not_relayed(self, record: Record, answer: Held | StoreFull, admitted: Admitted) -> None:
        if isinstance(answer, Held) and answer.holder.key == record.key:  # twice in one frame
            self._known(record, admitted)
            return
        admitted.ignored.append(record.digest)
        if isinstance(answer, Held):  # it lost, and was never held here: it is told where it was
            self.statistics.ignored += 1
        else:
            admitted.full = True
            self.statistics.full += 1

    def _known(self, record: Record, admitted: Admitted) -> None:
        admitted.known.append(record.digest)
        self.statistics.duplicate += 1

    def _held(self, held: Record, offered: Record) -> Submission:
        if held.raw == offered.raw:
            self.statistics.duplicate += 1
            return Submission(Answer.EXISTS, held)
        self.statistics.conflict += 1
        self.refused["id-conflict"] += 1
        return Submission(Answer.CONFLICT, held)

    def _full(self, code: str, reason: str) -> Submission:
        self.statistics.full += 1
        self.refused[code] += 1
        return Submission(Answer.FULL, verdict=Verdict(Outcome.IGNORE, code, reason))

    def _refused(self, verdict: Verdict) -> Submission:
        self.statistics.rejected += 1
        self.refused[verdict.code] += 1
        return Submission(Answer.REFUSED, verdict=verdict)

    def _stamps(self, count: int, wall_ms: int) -> list[int]:
        """Return the next time stamps: rising while that is within the run-ahead, then equal.

        A last stamp further ahead than a flood can carry it means that the clock was set back: begin anew
        with the clock, because other nodes would refuse what is stamped by the old one.
        """
        first, limit = self._last_ms + 1, wall_ms + RUN_AHEAD_MS_MAX
        if not wall_ms < first <= wall_ms + 2 * RUN_AHEAD_MS_MAX + 1:
            first = wall_ms
        if first > limit:
            first = limit = self._last_ms
        rising = range(first, min(first + count, limit))
        return [*rising, *[limit] * (count - len(rising))]
