"""An admission desk with its store, bus and a log of everything it publishes."""

from collections import deque
from dataclasses import dataclass, field

from cluster.exports import WireRecord
from eventbus import Event, EventBus, PeerDown, PeerUp, RecordExpired, RecordStored, RecordSuperseded
from node.admission import Admission, Answer
from storage import MemoryStore, Store, StoreLimits
from validator import Record, ValidatorChain, default_chain, sign

T0 = 1_800_000_000_000
MINUTE_MS = 60_000
TTL_MS = 24 * 60 * MINUTE_MS
PEER = "ab" * 16


class Published(EventBus):
    """A bus that also keeps what was published."""

    def __init__(self) -> None:
        super().__init__()
        self.events: deque[Event] = deque()

    def publish(self, *events: Event) -> None:
        """Keep, then hand on."""
        self.events += events
        super().publish(*events)


@dataclass
class Desk:
    """One desk. `wall_ms` is its clock, set by the test."""

    ttl_ms: int = TTL_MS
    limits: StoreLimits = field(default_factory=StoreLimits)
    wall_ms: int = T0

    def __post_init__(self) -> None:
        self.store: Store = MemoryStore(self.ttl_ms, self.limits)
        self.bus = Published()
        self.chain: ValidatorChain = default_chain(self.ttl_ms)
        self.admission = Admission(self.store, self.chain, self.bus)

    def post(self, id: str | None, raw: str = "hello") -> Record:
        """Admit a client's record that must be stored or held already."""
        record = self.post_any(id, raw)
        assert record is not None
        return record

    def post_any(self, id: str | None, raw: str = "hello") -> Record | None:
        """Admit a client's record. Returns None when it was refused."""
        submission = self.admission.submit(id, raw, None, self.wall_ms)
        return submission.record if submission.answer in (Answer.STORED, Answer.EXISTS) else None

    def records(self) -> list[Record]:
        """List what can be read now, in order."""
        return self.store.page(b"", self.wall_ms, 1_000_000)

    def take(self, *records: Record) -> None:
        """Admit a peer's records."""
        self.admission.admit([wire(r) for r in records], PEER, self.wall_ms)

    def heard(self, *kinds: type[Event]) -> list[Event]:
        """Take out and return what was published, of `kinds` or of all."""
        every = (RecordStored, RecordSuperseded, RecordExpired, PeerUp, PeerDown)
        events = [e for e in self.bus.events if isinstance(e, kinds or every)]
        self.bus.events.clear()
        return events


def make(id: str, raw: str = "hello", time_stamp: int = T0) -> Record:
    return Record.of(id, raw, sign(raw), time_stamp)


def wire(record: Record) -> WireRecord:
    """What a peer sends of a record."""
    return WireRecord(record.id, record.raw, record.signature, record.time_stamp)
