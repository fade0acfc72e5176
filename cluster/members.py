"""Who is in the cluster: in a large one every node knows all, though it is linked with few.

Every node publishes a *member fact* now and then: a record under a reserved id that says where the node
can be dialled, and lives for a minute. Facts travel as all records do, by the same pushes,
announcements and pulls, on the same trees; so there is no second gossip protocol (the idea is
chitchat's: membership is replicated state). `MemberDesk` stands before the node's desk and keeps them
to itself: no client and no store ever sees one.

Facts need no reconciliation: each is published anew long before it is over. A fact lives from its
*arrival*, by the monotonic clock, so that clocks a minute apart agree on who lives; only a newer one of
the same node is taken, so that none lives for ever.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from cluster.address import format_address, is_ip, is_loopback
from cluster.desk import Admitted, Desk
from cluster.messages import NODE_ID_BYTES, Hello, Member, Text, WireRecord
from cluster.negentropy import Items
from cluster.vocabulary import Now
from validator import FUTURE_MS_MAX, Record

FACT_S = 20.0
"""How often a node publishes where it is: as often as anti-entropy runs."""

FACTS_PER_S_MAX = 50.0
"""Facts a second that all nodes together publish; above 1,000 nodes each does so less often. They cost every
node about 12 kB a second then."""

FACT_LIVES = 3
"""Periods that a fact lives: two may be lost before a living node is taken for gone."""

FACT_BYTES_MAX = 1024
MEMBERS_MAX = 16_384
"""Members remembered; ten times what the partial tier is made for, 10 MB."""

_PREFIX = "\x00member/"
"""No client's record can have such an id: control characters are refused at the desk."""


class _Fact(msgspec.Struct, frozen=True):
    """What a node says of itself. `life_s`: 0 when it leaves."""

    address: Text
    name: Text
    http: Text
    life_s: Annotated[float, Meta(ge=0, le=86_400)]


@dataclass(frozen=True, slots=True)
class MemberView:
    """A node of the cluster: its fact, listed until `listed_s` and remembered until `kept_s` (monotonic)."""

    node_id: bytes
    fact: _Fact
    record: Record
    listed_s: float
    kept_s: float

    @property
    def address(self) -> str:
        """Where it can be dialled."""
        return self.fact.address


class Members:
    """The member list of one node."""

    def __init__(self, node_id: bytes) -> None:
        self.node_id = node_id
        self._known: dict[bytes, MemberView] = {}
        self._by_digest: dict[bytes, MemberView] = {}
        self._at: dict[str, bytes] = {}  # address: the node heard of last there
        self._ids: list[bytes] = []  # of those listed, in order
        self._self: Hello | None = None
        self._host = ""
        self._next_s = 0.0

    # --- questions --------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, node_id: object) -> bool:
        view = self._known.get(node_id) if isinstance(node_id, bytes) else None
        return view is not None and view.listed_s > 0

    def living(self) -> list[MemberView]:
        """The nodes whose facts have not run out, in the order of their ids; this one too, once published."""
        return [self._known[i] for i in self._ids]

    def has(self, digest: bytes) -> bool:
        """Whether this digest is that of a fact held here."""
        return digest in self._by_digest

    def among(self, digests: Sequence[bytes]) -> list[bytes]:
        """Return those of the digests that are of facts held here: of records none, told at once."""
        facts = self._by_digest
        return [] if facts.keys().isdisjoint(digests) else [d for d in digests if d in facts]

    def tree(self, digest: bytes) -> bytes:
        """Return the tree that the fact of this digest travels on, or b"" if it is no fact held here.

        It is named by the node's id inverted, so that the tree of the node's records is another: that one
        is flooded once and then the shortest; this one is pulled together, which is cheap and slow.
        """
        view = self._by_digest.get(digest)
        return b"" if view is None else bytes(byte ^ 0xFF for byte in view.node_id)

    def lookup(self, digest: bytes) -> Record | None:
        """Return the fact of this digest, or None."""
        view = self._by_digest.get(digest)
        return None if view is None else view.record

    def size(self, linked: Collection[bytes]) -> int:
        """How many nodes there are: the listed, the linked, and this one."""
        return len(self._ids) + sum(i not in self for i in linked) + (self.node_id not in self)

    def ring(self) -> list[Member]:
        """The next listed node to each side on the ring of node ids, this one left out."""
        others = len(self._ids) - (self.node_id in self)
        if not others:
            return []
        at = bisect_left(self._ids, self.node_id)
        after = self._ids[(at + (self.node_id in self)) % len(self._ids)]
        both = dict.fromkeys((after, self._ids[at - 1]))
        return [Member(i, self._known[i].address) for i in both]

    # --- this node --------------------------------------------------------------------------------------

    def met(self, ours: Hello, seen: str) -> None:
        """Learn what to say of ourselves: what we said in a handshake, and at which host a peer sees us."""
        self._self = ours
        if is_ip(seen) and (not self._host or not is_loopback(seen) or is_loopback(self._host)):
            self._host = seen  # a loopback address is what only a neighbour on this machine sees us at

    @property
    def own_address(self) -> str:
        """Where others reach this node, as they say; empty as long as none has said so."""
        return format_address(self._host, self._self.port) if self._self and self._host else ""

    def due(self, now_s: float) -> bool:
        """Whether it is time to publish."""
        return bool(self.own_address) and now_s >= self._next_s

    def publish(self, now: Now, jitter: float = 1.0, *, leaving: bool = False) -> bytes:
        """Publish this node's fact.

        Args:
            jitter: about 1; stretches the time to the next.
            leaving: it is the last one, and takes the node off all lists.

        Returns:
            its digest.
        """
        assert self._self is not None, "nothing is published before the first link is up"
        period_s = max(FACT_S, len(self._ids) / FACTS_PER_S_MAX)
        self._next_s = now.s + period_s * jitter
        fact = _Fact(
            self.own_address,
            self._self.name,
            self._self.http,
            0.0 if leaving else period_s * FACT_LIVES,
        )
        raw = msgspec.json.encode(fact).decode()
        record = Record.of(_PREFIX + self.node_id.hex(), raw, "", self._stamp_ms(now))
        self._take(self.node_id, fact, record, now.s)
        return record.digest

    def _stamp_ms(self, now: Now) -> int:
        """Return a stamp newer than the last, or the clock's where the last was one that nobody took: the
        clock was ahead of all others for a moment."""
        held = self._known.get(self.node_id)
        next_ms = now.wall_ms if held is None else held.record.time_stamp + 1
        return now.wall_ms if next_ms > now.wall_ms + FUTURE_MS_MAX else max(now.wall_ms, next_ms)

    # --- facts ------------------------------------------------------------------------------------------

    def admit(self, records: Iterable[WireRecord], now: Now, admitted: Admitted) -> None:
        """Take a peer's facts: each that is newer than the one held of its node."""
        for wire in records:
            try:
                node_id = bytes.fromhex(wire.id.removeprefix(_PREFIX))
                record = Record.of(wire.id, wire.raw, wire.signature, wire.time_stamp)
                fact = msgspec.json.decode(wire.raw, type=_Fact)
            except (ValueError, RecursionError):  # no honest node says so
                admitted.rejected += 1
                continue
            if len(node_id) != NODE_ID_BYTES or wire.signature or record.size_bytes > FACT_BYTES_MAX:
                admitted.rejected += 1
            elif self.has(record.digest):
                admitted.known.append(record.digest)
            elif self._is_news(node_id, fact, record, now):
                self._take(node_id, fact, record, now.s)
                admitted.stored.append(record.digest)
            else:
                admitted.ignored.append(record.digest)

    def expire(self, now_s: float) -> None:
        """Drop what has run out."""
        for node_id, view in [(i, v) for i, v in self._known.items() if v.listed_s <= now_s]:
            self._unlist(node_id)
            if view.kept_s <= now_s:
                self._forget(node_id)

    def _is_news(self, node_id: bytes, fact: _Fact, record: Record, now: Now) -> bool:
        held = self._known.get(node_id)
        age_ms = now.wall_ms - record.time_stamp
        if node_id == self.node_id or not -FUTURE_MS_MAX <= age_ms <= fact.life_s * 1000 + FUTURE_MS_MAX:
            return False
        return len(self._known) < MEMBERS_MAX if held is None else record.time_stamp > held.record.time_stamp

    def _take(self, node_id: bytes, fact: _Fact, record: Record, now_s: float) -> None:
        self._forget(node_id)
        elsewhere = is_loopback(fact.address) and not is_loopback(self._host or fact.address)
        other = None if elsewhere else self._known.get(self._at.get(fact.address, b""))
        outdated = other is not None and other.record.time_stamp > record.time_stamp
        listed = fact.life_s > 0 and not outdated
        kept_s = now_s + max(fact.life_s, FACT_S * FACT_LIVES)
        view = MemberView(node_id, fact, record, now_s + fact.life_s if listed else 0.0, kept_s)
        self._known[node_id] = self._by_digest[record.digest] = view
        if listed:
            insort(self._ids, node_id)
        if not outdated:
            if other is not None:
                self._unlist(other.node_id)  # a node that starts anew has a new id; its old one is gone
            self._at[fact.address] = node_id

    def _unlist(self, node_id: bytes) -> None:
        at = bisect_left(self._ids, node_id)
        if at < len(self._ids) and self._ids[at] == node_id:
            del self._ids[at]
            view = self._known[node_id]
            gone = MemberView(node_id, view.fact, view.record, 0.0, view.kept_s)
            self._known[node_id] = self._by_digest[view.record.digest] = gone

    def _forget(self, node_id: bytes) -> None:
        self._unlist(node_id)
        view = self._known.pop(node_id, None)
        if view is not None:
            del self._by_digest[view.record.digest]
            if self._at.get(view.address) == node_id:
                del self._at[view.address]


class MemberDesk:
    """The desk as the cluster sees it: member facts stay here, everything else goes to the node's desk."""

    def __init__(self, desk: Desk, members: Members, clock: Callable[[], Now]) -> None:
        self._desk = desk
        self._members = members
        self._clock = clock

    def admit(self, records: Sequence[WireRecord], peer: str) -> Admitted:
        """As `Desk.admit`; facts are told by their id."""
        facts = [r for r in records if r.id.startswith(_PREFIX)]
        if not facts:
            return self._desk.admit(records, peer)
        admitted = self._desk.admit([r for r in records if not r.id.startswith(_PREFIX)], peer)
        self._members.admit(facts, self._clock(), admitted)
        return admitted

    def lookup(self, digests: Sequence[bytes]) -> list[Record]:
        """As `Desk.lookup`, facts first."""
        if not self._members.among(digests):
            return self._desk.lookup(digests)
        facts = [f for d in digests if (f := self._members.lookup(d)) is not None]
        return facts + self._desk.lookup([d for d in digests if not self._members.has(d)])

    def listing(self, after: bytes, count_max: int) -> list[Record]:
        """As `Desk.listing`, without facts."""
        return self._desk.listing(after, count_max)

    def __len__(self) -> int:
        return len(self._desk)

    def has(self, digest: bytes) -> bool:
        """Whether a record or a fact with this digest is held."""
        return self._members.has(digest) or self._desk.has(digest)

    def window(self, lower_ms: int, upper_ms: int) -> Items:
        """As `cluster.vocabulary.Holdings.window`, without facts."""
        return self._desk.window(lower_ms, upper_ms)
