"""What it costs two nodes to find out what they do not share: bytes, rounds, CPU, and how long at a time.

Two engines in this process, each over an index of keys, and between them the wire's frames; no sockets
and no waiting. The link comes up, the one that holds less catches up as after an outage, and the exchange
ends when both hold the same. CPU time is that of this thread within the engines' `handle`.
"""

import time
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from random import Random

from cluster import vocabulary as v
from cluster.codec import BATCH_BYTES, encode, encode_push, wire_record
from cluster.engine import Engine
from cluster.exports import EngineConfig, Items, Now
from cluster.messages import Fetch, Hello, IHave, Message, Page, Reconcile, Reconciled, Want
from scripts.benches.nodes import raw_of
from scripts.benches.report import Figures, Step
from storage import Index
from validator import Record, key_bound, sign

TTL_MS = 24 * 3600 * 1000
T0 = 1_800_000_000_000
SLICE_MS_MAX = 20.0
ROUND_CPU_MS_MAX = 100.0

_COUNTED = (Reconcile, Reconciled, Fetch, Want, IHave)
_COSTS = {"longest_slice_ms": SLICE_MS_MAX, "round_cpu_max_ms": ROUND_CPU_MS_MAX}

RECONCILE_REQUIRED = {
    "equal": {"sync_bytes": 64.0, "cpu_ms": 1.0, **_COSTS},
    "1 newest": {"sync_bytes": 2_000.0, **_COSTS},
    "1,000 newest": {"beyond_records_bytes": 25_000.0, **_COSTS},
    "1,000 anywhere": {"sync_bytes": 900_000.0, **_COSTS},
}
"""By what one side lacks of 10^6 records; the CPU is that of both."""


@lru_cache(maxsize=1)
def _keys(records: int) -> list[bytes]:
    return [_record(i, records).key for i in range(records)]


def _record(i: int, records: int) -> Record:
    """Make record number `i` of so many that came evenly over half a day."""
    name = f"bench-{i:07d}"
    raw = raw_of(name)
    return Record.of(name, raw, sign(raw), T0 + i * (TTL_MS // 2) // records)


class _Side:
    """One node: its engine and the keys it holds."""

    def __init__(self, number: int, records: int, missing: set[int], pair: "_Pair") -> None:
        self.node_id = bytes([number]) * 16
        self._pair, self._records = pair, records
        self.index = Index()
        self.missing: dict[bytes, int] = {}
        for i in missing:
            self.missing[_keys(records)[i][8:]] = i
        for start in range(0, records, 1_000):
            some = enumerate(_keys(records)[start : start + 1_000], start)
            self.index.extend([key for i, key in some if i not in missing])
        self.engine = Engine(self.node_id, EngineConfig(TTL_MS), self, Random(number))

    def __len__(self) -> int:
        return len(self.index)

    def has(self, digest: bytes) -> bool:
        """Whether a record is held: of those there are, all that are not missing."""
        return digest not in self.missing

    def window(self, lower_ms: int, upper_ms: int) -> Items:
        """Return the keys in a span of time."""
        return self.index.window(key_bound(lower_ms), key_bound(upper_ms))

    def hello(self) -> Hello:
        """Say who this is."""
        wall_ms = self._pair.now.wall_ms
        return Hello(1, 1, [], self.node_id, 1, "bench", "", 1, "", "", len(self), wall_ms, "127.0.0.1")

    def admit(self, records: Sequence[Record]) -> tuple[list[bytes], list[bytes]]:
        """Take records in; return the digests that are new and those that were held."""
        new = [r for r in records if r.digest in self.missing]
        known = [r.digest for r in records if r.digest not in self.missing]
        for record in new:
            del self.missing[record.digest]
            self.index.extend((record.key,))
        return [r.digest for r in new], known

    def page(self, after: bytes) -> tuple[list[Record], bool]:
        """Return a page of the records after a key."""
        keys, found, total = self.index.after(after, 1_000), list[Record](), 0
        everything = _keys(self._records)
        i = self._pair.place(keys[0]) if keys else 0
        for key in keys:
            while everything[i] != key:
                i += 1
            found.append(_record(i, self._records))
            total += found[-1].size_bytes
            if total > BATCH_BYTES:
                break
        return found, len(found) < len(keys) or len(keys) == 1_000


class _Pair:
    """Two sides and the link between them."""

    def __init__(self, records: int, missing: set[int]) -> None:
        self.now = Now(1_000.0, T0 + TTL_MS // 2 + 60_000)
        self._all = _keys(records)
        self._records = records
        self.lacker = _Side(1, records, missing, self)
        self.holder = _Side(2, records, set(), self)
        self._inbox: deque[tuple[_Side, v.Input]] = deque()
        self.frame_bytes = self.beyond_records_bytes = self.rounds = 0
        self.cpu_s = self.longest_s = self.round_s = self.round_max_s = 0.0

    def place(self, key: bytes) -> int:
        """Return the number of the record with this key."""
        low = int((int.from_bytes(key[:8], "big") - T0) * self._records / (TTL_MS // 2))
        return next(i for i in range(max(low - 2, 0), self._records) if self._all[i] == key)

    def run(self) -> None:
        """Bring the link up and hand everything to and fro until both hold the same and are silent."""
        for side in (self.lacker, self.holder):
            side.engine.handle(v.Tick(0.0), self.now)
        for side, other in ((self.lacker, self.holder), (self.holder, self.lacker)):
            up = v.LinkUp(other.hello(), side.hello(), "127.0.0.1:1", dialled=side is self.lacker)
            self._inbox.append((side, up))
        while self._inbox:
            side, event = self._inbox.popleft()
            self._handle(side, event)
        if self.lacker.missing:
            raise AssertionError(f"{len(self.lacker.missing)} records were not found")

    def _handle(self, side: _Side, event: v.Input) -> None:
        start_s = time.thread_time()
        effects = side.engine.handle(event, self.now)
        span_s = time.thread_time() - start_s
        self.cpu_s += span_s
        self.longest_s = max(self.longest_s, span_s)
        self.round_s += span_s
        self.round_max_s = max(self.round_max_s, self.round_s)
        for effect in effects:
            self._carry_out(side, effect)

    def _carry_out(self, side: _Side, effect: v.Effect) -> None:
        other = self.holder if side is self.lacker else self.lacker
        match effect:
            case v.Send(_, message):
                self._count(message)
                self._inbox.append((other, v.Heard(side.node_id, message)))
            case v.ServePage(_, after):
                records, more = side.page(after)
                last = records[-1].key if records else after
                frame = encode(Page([wire_record(r) for r in records], last, more))
                self._records_came(side, other, records, len(frame), last, more)
            case v.Serve(_, digests):
                records = [_record(other.missing[d], self._records) for d in digests]
                self._records_came(side, other, records, len(encode_push(records)), None, False)
            case _:
                pass  # dials and beacons

    def _count(self, message: Message) -> None:
        if isinstance(message, Reconcile):
            self.rounds += 1
            self.round_s = 0.0
        if isinstance(message, _COUNTED):
            self.frame_bytes += len(encode(message))
            self.beyond_records_bytes += len(encode(message))

    def _records_came(
        self, side: _Side, other: _Side, records: list[Record], size: int, last: bytes | None, more: bool
    ) -> None:
        self.frame_bytes += size
        stored, known = other.admit(records)
        new = set(stored)
        self.beyond_records_bytes += size - sum(r.size_bytes for r in records if r.digest in new)
        of_page = last is not None
        came = v.Received(side.node_id, stored, known, of_page=of_page, last=last, more=more)
        self._inbox.append((other, came))


def measure_reconcile(records: int, what: str, step: Step) -> Figures:
    """Run one round: both sides hold `records` records, one of them without `what`.

    Raises:
        AssertionError: not everything was found.
    """
    step("making records", 0.0)
    missing = {
        "equal": set[int](),
        "1 newest": {records - 1},
        "1,000 newest": set(range(records - 1_000, records)),
        "1,000 anywhere": set(Random(1).sample(range(records), 1_000)),
    }[what]
    pair = _Pair(records, missing)
    step("reconciling", 0.8)
    pair.run()
    told = [side.engine.statistics() for side in (pair.lacker, pair.holder)]
    return {
        "sync_bytes": sum(s.sync_bytes_out for s in told),
        "beyond_records_bytes": pair.beyond_records_bytes,
        "all_bytes": pair.frame_bytes,
        "rounds": pair.rounds,
        "asked": sum(s.asked_total for s in told),
        "cpu_ms": pair.cpu_s * 1000,
        "round_cpu_max_ms": pair.round_max_s * 1000,
        "longest_slice_ms": pair.longest_s * 1000,
    }
