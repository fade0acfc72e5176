"""Nodes on a virtual wire: the real engine, codec, admission and store, driven by one event heap.

No trio, no sockets, no clock: time moves from event to event. Every message is encoded and decoded by
the real codec, so that nothing crosses the wire that could not.
"""

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random

from cluster import vocabulary as v
from cluster.codec import FrameReader, batches, encode, encode_push, wire_record
from cluster.compatibility import incompatible
from cluster.dissemination import EAGER_BYTES_MAX
from cluster.engine import Engine
from cluster.exports import Admitted, EngineConfig, Items, Now, WireRecord
from cluster.handshake import goodbye
from cluster.members import MemberDesk
from cluster.messages import PROTOCOL_MAX, PROTOCOL_MIN, Bye, Hello, Message, Page, Push
from eventbus import EventBus
from node.admission import Admission, Answer
from storage import MemoryStore, StoreLimits
from validator import Record, default_chain, key_bound

START_WALL_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
PAGE_RECORDS = 500


@dataclass
class MeshNode:
    """One node: a real engine over a real store, and what it has done."""

    mesh: "Mesh"
    node_id: bytes
    address: str
    ttl_ms: int
    skew_ms: int = 0
    seeds: tuple[str, ...] = ()
    limits: StoreLimits = field(default_factory=StoreLimits)
    links: dict[bytes, int] = field(default_factory=dict[bytes, int])  # peer: connection number
    announced: int = 0
    dialled: list[str] = field(default_factory=list[str])
    payloads_in: int = 0
    alive: bool = True

    def __post_init__(self) -> None:
        self.store = MemoryStore(self.ttl_ms, self.limits)
        self.admission = Admission(self.store, default_chain(self.ttl_ms), EventBus())
        config = EngineConfig(self.ttl_ms, 20.0, self.seeds)
        self.engine = Engine(self.node_id, config, self, Random(self.node_id))
        self.desk = MemberDesk(self, self.engine.members, self.now)
        self.tick_s = 0.0

    def now(self) -> Now:
        """This node's clocks."""
        return Now(self.mesh.now_s, START_WALL_MS + int(self.mesh.now_s * 1000) + self.skew_ms)

    def post(self, raw: str, id: str) -> Record:
        """A client posts a record here; it must be accepted."""
        submission = self.admission.submit(id, raw, None, self.now().wall_ms)
        assert submission.answer is Answer.STORED, submission
        assert submission.record is not None
        digests = [submission.record.digest]
        large = submission.record.size_bytes > EAGER_BYTES_MAX
        self.feed(v.Stored([], digests) if large else v.Stored(digests))
        return submission.record

    def listing(self, after: bytes = b"", count_max: int = 10**9) -> list[Record]:
        """What a client would see, and as `cluster.Desk.listing`."""
        return self.store.page(after, self.now().wall_ms, count_max)

    # --- desk -------------------------------------------------------------------------------------------

    def admit(self, records: Sequence[WireRecord], peer: str) -> Admitted:
        """As `cluster.Desk.admit`."""
        return self.admission.admit(records, peer, self.now().wall_ms)

    def lookup(self, digests: Sequence[bytes]) -> list[Record]:
        """As `cluster.Desk.lookup`."""
        found = (self.store.by_digest(d, self.now().wall_ms) for d in digests)
        return [r for r in found if r is not None]

    def __len__(self) -> int:
        return self.store.statistics().records

    def has(self, digest: bytes) -> bool:
        """As `cluster.vocabulary.Holdings.has`."""
        return self.store.has(digest)

    def window(self, lower_ms: int, upper_ms: int) -> Items:
        """As `cluster.vocabulary.Holdings.window`."""
        return self.store.window(key_bound(lower_ms), key_bound(max(lower_ms, upper_ms)))

    # --- engine -----------------------------------------------------------------------------------------

    def feed(self, event: v.Input) -> None:
        """Hand an input to the engine and carry out its effects."""
        if not self.alive:
            return
        for effect in self.engine.handle(event, self.now()):
            self._carry_out(effect)
        self.plan()

    def plan(self) -> None:
        """Schedule the next tick."""
        due_s = max(self.engine.deadline_s, self.mesh.now_s)
        self.tick_s = due_s
        self.mesh.at(due_s, lambda: self._tick(due_s))

    def _tick(self, due_s: float) -> None:
        if self.tick_s == due_s:
            self.feed(v.Tick())

    def _carry_out(self, effect: v.Effect) -> None:
        match effect:
            case v.Send():
                self.mesh.transmit(self, effect.peer, encode(effect.message))
            case v.PushRecords():
                for batch in batches(self.desk.lookup(effect.digests)):
                    for peer in effect.peers:
                        self.mesh.transmit(self, peer, encode_push(batch, effect.origin))
            case v.Serve():
                for batch in batches(self.desk.lookup(effect.digests)):
                    self.mesh.transmit(self, effect.peer, encode_push(batch))
            case v.ServePage():
                records = self.listing(effect.after, PAGE_RECORDS)
                last = records[-1].key if records else effect.after
                page = Page([wire_record(r) for r in records], last, len(records) == PAGE_RECORDS)
                self.mesh.transmit(self, effect.peer, encode(page))
            case v.Close():
                self.mesh.disconnect(self, effect.peer, effect.reason)
            case v.Announce():
                self.announced += 1
                self.mesh.beacon(self)
            case v.Dial():
                self.dialled.append(effect.address)
                self.mesh.dial(self, effect.address)
            case v.Resolve():
                seed = effect.seed
                found = self.mesh.names.get(seed, [seed])
                self.mesh.at(self.mesh.now_s, lambda: self.feed(v.Resolved(seed, found)))
            case v.Reached():
                pass  # whoever is interested looks at the counts

    def take(self, peer: bytes, connection: int, message: Message) -> None:
        """A message arrived over a connection."""
        if self.links.get(peer) != connection:
            return
        if isinstance(message, Push | Page):
            self.payloads_in += len(message.records)
            a = self.desk.admit(message.records, peer.hex())
            is_page = isinstance(message, Page)
            self.feed(
                v.Received(
                    peer,
                    a.stored,
                    a.known,
                    a.ignored,
                    a.rejected,
                    a.full,
                    of_page=is_page,
                    last=message.last if isinstance(message, Page) else None,
                    more=isinstance(message, Page) and message.more,
                    origin=message.origin if isinstance(message, Push) else b"",
                    large=a.large,
                    lost=a.lost,
                )
            )
        else:
            self.feed(v.Heard(peer, message))

    def hello(self) -> Hello:
        """What this node says of itself."""
        rules = f"ttl={self.ttl_ms}"
        port = int(self.address.rpartition(":")[2])
        return Hello(
            PROTOCOL_MIN, PROTOCOL_MAX, [], self.node_id, 0, "mesh", self.address, port, "", rules,
            len(self), self.now().wall_ms,
        )  # fmt: skip


class Mesh:
    """The wire, the heap and the virtual clock."""

    def __init__(self, seed: int = 0, latency_s: float = 0.001, multicast: bool = True) -> None:
        self.rng = Random(seed)
        self.now_s = 0.0
        self.latency_s = latency_s
        self.multicast = multicast
        self.nodes: list[MeshNode] = []
        self.names: dict[str, list[str]] = {}  # the addresses behind a seed that is none itself
        self.aliases: dict[str, str] = {}  # the address of a node at which it can be dialled, too
        self.cut: set[frozenset[bytes]] = set()
        self.lose: Callable[[MeshNode, bytes, bytes], bool] = lambda sender, peer, frame: False
        self.bytes_sent = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count(1)

    def add(
        self,
        node_id: int,
        *,
        ttl_ms: int = 24 * HOUR_MS,
        skew_ms: int = 0,
        seeds: tuple[str, ...] = (),
        limits: StoreLimits | None = None,
    ) -> MeshNode:
        """Start a node now."""
        address = f"10.0.0.1:{10_000 + len(self.nodes)}"
        identity = node_id.to_bytes(16, "big")
        node = MeshNode(self, identity, address, ttl_ms, skew_ms, seeds, limits or StoreLimits())
        self.nodes.append(node)
        node.feed(v.Tick())
        return node

    def at(self, when_s: float, action: Callable[[], None]) -> None:
        """Do something at a time."""
        heapq.heappush(self._heap, (max(when_s, self.now_s), next(self._count), action))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.run_until(lambda: False, seconds, must=False)

    def run_until(self, condition: Callable[[], bool], seconds: float, *, must: bool = True) -> float:
        """Let time pass until `condition` holds. Returns the seconds that took; fails when it does not."""
        start_s, end_s = self.now_s, self.now_s + seconds
        while not condition():
            if not self._heap or self._heap[0][0] > end_s:
                assert not must, f"not within {seconds} virtual seconds"
                self.now_s = end_s
                break
            self.now_s, _, action = heapq.heappop(self._heap)
            action()
        return self.now_s - start_s

    def linked(self) -> bool:
        """Whether every living node is linked with every other."""
        living = [n for n in self.nodes if n.alive]
        return all(len(n.engine.membership.peers) == len(living) - 1 for n in living)

    def equal(self) -> bool:
        """Whether all living nodes list the same."""
        listings = [n.listing() for n in self.nodes if n.alive]
        return all(listing == listings[0] for listing in listings)

    def crash(self, node: MeshNode) -> None:
        """End a node as a power cut does; its peers' systems notice at once."""
        node.alive = False
        for peer in list(node.links):
            self.disconnect(node, peer, "crashed")

    # --- the wire ---------------------------------------------------------------------------------------

    def find(self, node_id: bytes) -> MeshNode:
        """The living node with this id."""
        return next(n for n in self.nodes if n.node_id == node_id and n.alive)

    def reachable(self, a: bytes, b: bytes) -> bool:
        """Whether packets pass between two nodes."""
        return frozenset((a, b)) not in self.cut

    def beacon(self, sender: MeshNode) -> None:
        """Deliver a beacon to everyone in reach."""
        if not self.multicast:
            return
        heard = v.BeaconHeard(sender.node_id, sender.address)
        for node in self.nodes:
            if node is not sender and node.alive and self.reachable(sender.node_id, node.node_id):
                self.at(self.now_s + self.latency_s, partial(node.feed, heard))

    def dial(self, dialler: MeshNode, address: str) -> None:
        """Shake hands after a round trip, as cluster/handshake.py does."""

        def arrive() -> None:
            where = self.aliases.get(address, address)
            target = next((n for n in self.nodes if n.address == where and n.alive), None)
            if target is None or not self.reachable(dialler.node_id, target.node_id):
                dialler.feed(v.DialFailed(address, "connection refused"))
                return
            ours, theirs = dialler.hello(), target.hello()
            for node, mine, other, dialled in (
                (target, theirs, ours, False),
                (dialler, ours, theirs, True),
            ):
                refusal = incompatible(mine, other, node.now().wall_ms) or node.engine.refusal(
                    other, dialled=dialled, now=node.now()
                )
                if refusal is not None:
                    code, reason = refusal
                    (bye,) = FrameReader().feed(encode(goodbye(refusal, mine)))
                    assert isinstance(bye, Bye)
                    there = theirs.node_id if dialled else bye.node_id
                    known = there if code == "duplicate" else None
                    is_self = code == "self" and there == dialler.node_id
                    refused = code != "duplicate" and not is_self
                    dialler.feed(v.DialFailed(address, reason, known, is_self, refused))
                    return
            connection = next(self._count)
            for node, mine, other, dialled in (
                (dialler, ours, theirs, True),
                (target, theirs, ours, False),
            ):
                if other.node_id in node.links:
                    node.feed(v.LinkDown(other.node_id, "replaced"))
                node.links[other.node_id] = connection
                where = address if dialled else other.name
                node.feed(v.LinkUp(other, mine, where, dialled))

        self.at(self.now_s + 3 * self.latency_s, arrive)

    def transmit(self, sender: MeshNode, peer: bytes, frame: bytes) -> None:
        """Carry a frame to a peer, in order."""
        connection = sender.links.get(peer)
        if connection is None or self.lose(sender, peer, frame):
            return
        self.bytes_sent += len(frame)

        def arrive() -> None:
            target = next((n for n in self.nodes if n.node_id == peer and n.alive), None)
            if target is not None and self.reachable(sender.node_id, peer):
                for message in FrameReader().feed(frame):
                    target.take(sender.node_id, connection, message)

        self.at(self.now_s + self.latency_s, arrive)

    def disconnect(self, node: MeshNode, peer: bytes, reason: str) -> None:
        """End a connection; the other side notices if packets pass."""
        connection = node.links.pop(peer, None)
        if connection is None:
            return

        def notice() -> None:
            target = next((n for n in self.nodes if n.node_id == peer and n.alive), None)
            if target is None or not self.reachable(node.node_id, peer):
                return
            if target.links.get(node.node_id) == connection:
                del target.links[node.node_id]
                target.feed(v.LinkDown(node.node_id, reason))

        self.at(self.now_s + self.latency_s, notice)
