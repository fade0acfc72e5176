"""Bugs in what a record is, how long it lives, and what a store does with it."""

# pyright: reportPrivateUsage=false
# A bug is planted where it would be made: inside.

import hashlib
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import pytest

from cluster.exports import Admitted, WireRecord
from node.admission import Admission
from storage import Held, MemoryStore, Stored, StoreFull
from storage.index import Index
from tests.contracts import test_store_contract as contract
from tests.node import test_admission as admission
from tests.planted.bug import SEEDS, Bug, case
from validator import Record


def arrival_time_expiry(patch: pytest.MonkeyPatch) -> None:
    """Note when each record came and count its life from then."""
    arrived: WeakKeyDictionary[MemoryStore, dict[bytes, int]] = WeakKeyDictionary()
    add_many = MemoryStore.add_many

    def is_over(self: MemoryStore, record: Record, wall_ms: int) -> bool:
        return arrived.get(self, {}).get(record.digest, wall_ms) + self._ttl_ms <= wall_ms

    def note_and_add(
        self: MemoryStore, records: Sequence[Record], wall_ms: int, first_stays: bool = False
    ) -> list[Stored | Held | StoreFull]:
        for record in records:
            arrived.setdefault(self, {}).setdefault(record.digest, wall_ms)
        return add_many(self, records, wall_ms, first_stays)

    def page(self: MemoryStore, after: bytes, wall_ms: int, count_max: int) -> list[Record]:
        records = self._records(self._index.after(after, 10**9))
        return [r for r in records if not is_over(self, r, wall_ms)][:count_max]

    patch.setattr(MemoryStore, "_is_over", is_over)
    patch.setattr(MemoryStore, "add_many", note_and_add)
    patch.setattr(MemoryStore, "page", page)


def listing_without_life(patch: pytest.MonkeyPatch) -> None:
    """Page as if it were the beginning of time."""
    page = MemoryStore.page

    def everything(self: MemoryStore, after: bytes, wall_ms: int, count_max: int) -> list[Record]:
        return page(self, after, 0, count_max)

    patch.setattr(MemoryStore, "page", everything)


def off_by_one_lifetime(patch: pytest.MonkeyPatch) -> None:
    """Let the last instant of a life count as part of it."""

    def is_over(self: MemoryStore, record: Record, wall_ms: int) -> bool:
        return record.time_stamp + self._ttl_ms < wall_ms

    def living_from(self: MemoryStore, wall_ms: int) -> bytes:
        return max(wall_ms - self._ttl_ms, 0).to_bytes(8, "big")

    patch.setattr(MemoryStore, "_is_over", is_over)
    patch.setattr(MemoryStore, "_living_from", living_from)


def new_time_stamp_on_relay(patch: pytest.MonkeyPatch) -> None:
    """Give what peers send the time it came."""
    admit = Admission.admit

    def stamp(self: Admission, records: Sequence[WireRecord], peer: str, wall_ms: int) -> Admitted:
        return admit(self, [WireRecord(r.id, r.raw, r.signature, wall_ms) for r in records], peer, wall_ms)

    patch.setattr(Admission, "admit", stamp)


def md5_identity(patch: pytest.MonkeyPatch) -> None:
    """Make the key of the MD5 of the raw, twice, to fill 32 bytes."""

    def of(cls: type[Record], id: str, raw: str, signature: str, time_stamp: int) -> Record:
        digest = 2 * hashlib.md5(raw.encode()).digest()
        return cls(id, raw, signature, time_stamp.to_bytes(8, "big") + digest)

    patch.setattr(Record, "of", classmethod(of))


def tidied_on_the_way(patch: pytest.MonkeyPatch) -> None:
    """Admit signatures in capitals."""
    admit = Admission.admit

    def tidy(self: Admission, records: Sequence[WireRecord], peer: str, wall_ms: int) -> Admitted:
        tidied = [WireRecord(r.id, r.raw, r.signature.upper(), r.time_stamp) for r in records]
        return admit(self, tidied, peer, wall_ms)

    patch.setattr(Admission, "admit", tidy)


def evict_when_full(patch: pytest.MonkeyPatch) -> None:
    """Make room of the oldest until there is enough."""
    make_room = MemoryStore._make_room

    def evict(self: MemoryStore, record: Record, loser: Record | None, wall_ms: int) -> None:
        while True:
            try:
                make_room(self, record, loser, wall_ms)
                return
            except StoreFull:
                self._remove(self._records(self._index.after(b"", 1))[0])

    patch.setattr(MemoryStore, "_make_room", evict)


def first_arrival_wins(patch: pytest.MonkeyPatch) -> None:
    """Answer `Held` whenever the id is held."""
    add_many = MemoryStore.add_many

    def keep(
        self: MemoryStore, records: Sequence[Record], wall_ms: int, first_stays: bool = True
    ) -> list[Stored | Held | StoreFull]:
        return add_many(self, records, wall_ms, True)

    patch.setattr(MemoryStore, "add_many", keep)


def loser_comes_back(patch: pytest.MonkeyPatch) -> None:
    """Put the loser back where windows and peers find it."""
    add_many, remove = MemoryStore.add_many, MemoryStore._remove

    def forget_the_id_only(
        self: MemoryStore, records: Sequence[Record], wall_ms: int, first_stays: bool = False
    ) -> list[Stored | Held | StoreFull]:
        answers = add_many(self, records, wall_ms, first_stays)
        for answer in answers:
            if isinstance(answer, Stored) and answer.loser is not None:
                self._index.extend((answer.loser.key,))
                self._by_digest.add(answer.loser)
        return answers

    def remove_what_is_left(self: MemoryStore, record: Record, winner: Record | None = None) -> None:
        holder = self._holder(record.id)
        if holder is not None and holder.digest == record.digest:
            remove(self, record, winner)
        else:
            self._index.discard(record.key)

    patch.setattr(MemoryStore, "add_many", forget_the_id_only)
    patch.setattr(MemoryStore, "_remove", remove_what_is_left)


def page_from_not_after(patch: pytest.MonkeyPatch) -> None:
    """Let the key itself be the first after it."""
    after = Index.after

    def from_on(self: Index, key: bytes, count_max: int) -> list[bytes]:
        found = after(self, key, count_max)
        rank = self.rank(key)
        at = self.keys(rank, min(rank + 1, len(self)))
        return [key, *found][: max(count_max, 0)] if at[:1] == [key] else found

    patch.setattr(Index, "after", from_on)


def stamps_follow_the_clock_back(patch: pytest.MonkeyPatch) -> None:
    """Stamp with the bare clock."""

    def stamps(self: Admission, count: int, wall_ms: int) -> list[int]:
        return [wall_ms] * count

    patch.setattr(Admission, "_stamps", stamps)


BUGS = (
    Bug(
        "arrival-time expiry",
        "life counts from a record's arrival here, not from its acceptance anywhere",
        arrival_time_expiry,
        SEEDS,
        "after its life",
    ),
    Bug(
        "listing without life",
        "what is over is listed until it is swept",
        listing_without_life,
        SEEDS,
        "after its life",
    ),
    Bug(
        "off-by-one lifetime",
        "a record is listed at exactly time stamp + ttl",
        off_by_one_lifetime,
        case(contract.test_no_view_shows_a_record_at_its_end, MemoryStore),
    ),
    Bug(
        "new time stamp on relay",
        "whoever passes a record on stamps it anew",
        new_time_stamp_on_relay,
        SEEDS,
        "nobody posted",
    ),
    Bug(
        "dedup by MD5",
        "a record's digest is the MD5 of its raw",
        md5_identity,
        case(admission.test_md5_twins_under_two_ids_are_both_kept),
    ),
    Bug(
        "tidied on the way",
        "a relay writes signatures in one case",
        tidied_on_the_way,
        SEEDS,
        "nobody posted",
    ),
    Bug(
        "evict when full",
        "a full store drops its oldest living record for a new one",
        evict_when_full,
        case(contract.test_a_store_full_of_records_refuses_and_keeps_all, MemoryStore),
        "DID NOT RAISE",
    ),
    Bug(
        "first arrival wins",
        "of two records for one id each node keeps the one it saw first",
        first_arrival_wins,
        SEEDS,
        "stores differ",
    ),
    Bug(
        "the loser comes back",
        "the loser of a conflict stays in the index, so anti-entropy spreads it again",
        loser_comes_back,
        SEEDS,
        "lists an id twice",
    ),
    Bug(
        "page from, not after",
        "a page begins with the record that ended the last one",
        page_from_not_after,
        case(contract.test_pages_resume_after_the_last_key, MemoryStore),
    ),
    Bug(
        "stamps follow the clock back",
        "time stamps are not increasing while the clock wavers",
        stamps_follow_the_clock_back,
        case(admission.test_a_burst_of_a_thousand_in_one_millisecond_keeps_its_order),
    ),
)
