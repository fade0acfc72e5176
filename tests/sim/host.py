"""One simulated node: the real engine, codec, outbox, admission and store, and a driver without tasks.

The driver does what cluster/service.py and node/node.py do: inputs one at a time, effects in order,
what they cause after them. A paused host (a stopped process) does nothing; what comes in waits, and on
waking its timer is late.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from cluster import vocabulary as v
from cluster.codec import batches, encode_push
from cluster.dissemination import EAGER_BYTES_MAX
from cluster.engine import Engine
from cluster.exports import Admitted, EngineConfig, Items, Now, WireRecord
from cluster.members import MemberDesk
from cluster.messages import PROTOCOL_MAX, PROTOCOL_MIN, Hello, IHave, Message, Page, Push
from eventbus import EventBus
from node.admission import Admission, Answer, Submission
from storage import MemoryStore
from tests.sim.wire import Endpoint, dial
from tests.sim.world import Machine, Violation, World
from validator import Record, default_chain, key_bound

SWEEP_S = 5.0
"""How often what has expired is dropped; the listing never shows it, so this may be coarse."""

TICKS_AT_ONCE_MAX = 3
"""Ticks of one node at one instant with nothing heard between them: one is due, our choice leaves room."""


class Host:
    """A node on a machine. It ends with `crash`; another one may start at the same address."""

    def __init__(self, world: World, machine: Machine, seeds: tuple[str, ...] = ()) -> None:
        self.world = world
        self.machine = machine
        self.node_id = world.rng.randbytes(16)
        self.name = f"{machine.address.partition(':')[0]}/{self.node_id.hex()[:4]}"
        self.alive = True
        self.dials = 0
        self.links: dict[bytes, Endpoint] = {}
        self.endpoints: list[Endpoint] = []
        self.store = MemoryStore(world.ttl_ms, machine.limits)
        self.admission = Admission(self.store, default_chain(world.ttl_ms), EventBus())
        config = EngineConfig(world.ttl_ms, 20.0, seeds, *world.mesh)
        self.engine = Engine(self.node_id, config, self, Random(self.node_id))
        self.desk = MemberDesk(self, self.engine.members, self.now)
        self._inbox: deque[v.Input] = deque()
        self._touched: dict[Endpoint, None] = {}  # what has been queued for since the last write
        self._feeding = False
        self._waiting: list[Callable[[], None]] | None = None  # None: not paused
        self._wake_s: float | None = None
        self._ticked_s = -1.0
        self._ticks_at_once = 0
        world.started(self)
        world.note(f"{self} starts")
        self.feed(v.Tick())
        self._sweep()

    def __str__(self) -> str:
        return self.name

    @property
    def address(self) -> str:
        """Where others reach it."""
        return self.machine.address

    def now(self) -> Now:
        """This node's clocks."""
        return Now(self.world.now_s, self.world.wall_ms(self.machine))

    def submit(self, id: str, raw: str) -> Submission:
        """A client posts a record here."""
        submission = self.admission.submit(id, raw, None, self.now().wall_ms)
        self.world.note(f"{self} posts {id}: {submission.answer.value}")
        if submission.answer is Answer.STORED and submission.record is not None:
            record = submission.record
            self.world.posted[record.digest] = (record, self.world.now_s)
            large = record.size_bytes > EAGER_BYTES_MAX
            self.feed(v.Stored([], [record.digest]) if large else v.Stored([record.digest]))
        return submission

    # --- life -------------------------------------------------------------------------------------------

    @property
    def paused(self) -> bool:
        """Whether the process is stopped."""
        return self._waiting is not None

    def do(self, action: Callable[[], None]) -> None:
        """Let this node do something now, or when it goes on; never once it has ended."""
        if not self.alive:
            return
        if self._waiting is None:
            action()
        else:
            self._waiting.append(action)

    def pause(self) -> None:
        """Stop the process."""
        self.world.note(f"{self} pauses")
        self._waiting = []

    def go_on(self, *, timer_first: bool) -> None:
        """Let the process go on: what has come in, and the late timer, in either order."""
        if self._waiting is None or not self.alive:
            return
        self.world.note(f"{self} goes on")
        waiting, self._waiting = self._waiting, None
        due_s = self._wake_s
        if timer_first and due_s is not None and due_s <= self.world.now_s:
            self._tick(due_s)
        for action in waiting:
            self.do(action)

    def crash(self, *, power: bool) -> None:
        """End it. `power`: whether the machine stays on and tells the peers."""
        self.world.note(f"{self} {'is killed' if power else 'loses power'}")
        self.alive = False
        self.world.ended(self)
        if not power:
            self.world.dark.add(self.address)
        for endpoint in self.endpoints:
            endpoint.vanish(power=power)

    def come_back(self) -> None:
        """The machine has power again, and resets the links that others still have with the ended node."""
        self.world.dark.discard(self.address)
        for endpoint in self.endpoints:
            other = endpoint.peer_end
            other.host.do(partial(other.end, "connection reset"))

    def hear(self, event: v.Input) -> None:
        """Take an input from outside."""
        self.do(lambda: self.feed(event))

    def _sweep(self) -> None:
        if self.alive:
            self.store.expire(self.now().wall_ms, 10**6)
            self.world.at(self.world.now_s + SWEEP_S, lambda: self.do(self._sweep))

    # --- desk -------------------------------------------------------------------------------------------

    def admit(self, records: Sequence[WireRecord], peer: str) -> Admitted:
        """As `cluster.Desk.admit`; notes how long each record has been on its way."""
        admitted = self.admission.admit(records, peer, self.now().wall_ms)
        totals = self.world.totals
        totals["payloads"] += len(records)
        totals["stored from peers"] += len(admitted.stored)
        for digest in admitted.stored:
            if digest not in self.world.posted:
                raise Violation(f"{self} stored a record that nobody posted")
            self.world.latencies_s.append(self.world.now_s - self.world.posted[digest][1])
        return admitted

    def lookup(self, digests: Sequence[bytes]) -> list[Record]:
        """As `cluster.Desk.lookup`."""
        found = (self.store.by_digest(d, self.now().wall_ms) for d in digests)
        return [r for r in found if r is not None]

    def listing(self, after: bytes = b"", count_max: int = 10**9) -> list[Record]:
        """What a client would see, and as `cluster.Desk.listing`."""
        return self.store.page(after, self.now().wall_ms, count_max)

    def __len__(self) -> int:
        return self.store.statistics().records

    def has(self, digest: bytes) -> bool:
        """As `cluster.vocabulary.Holdings.has`."""
        return self.store.has(digest)

    def window(self, lower_ms: int, upper_ms: int) -> Items:
        """As `cluster.vocabulary.Holdings.window`."""
        return self.store.window(key_bound(lower_ms), key_bound(max(lower_ms, upper_ms)))

    # --- links ------------------------------------------------------------------------------------------

    def hello(self, seen: str) -> Hello:
        """What this node says of itself to whoever is at the host `seen`."""
        port = int(self.address.rpartition(":")[2])
        return Hello(
            PROTOCOL_MIN, PROTOCOL_MAX, [], self.node_id, 0, "sim", str(self), port, "",
            f"ttl={self.world.ttl_ms}", len(self), self.now().wall_ms,
            seen, self.engine.views.size_told, len(self.links),
        )  # fmt: skip

    def link_up(self, endpoint: Endpoint) -> None:
        """A handshake is done; a link that was there before gives way."""
        assert endpoint.theirs is not None
        replaced = self.links.pop(endpoint.peer, None)
        if replaced is not None:
            replaced.close("duplicate", "a second connection took its place")
            self.feed(v.LinkDown(endpoint.peer, "replaced"))
        self.world.note(f"{self} up {endpoint.theirs.name}")
        self.links[endpoint.peer] = endpoint
        self.feed(v.LinkUp(endpoint.theirs, endpoint.ours, endpoint.address, endpoint.dialled))
        endpoint.write()

    def link_down(self, endpoint: Endpoint, reason: str) -> None:
        """A connection has ended."""
        if self.links.get(endpoint.peer) is endpoint:
            del self.links[endpoint.peer]
            self.world.note(f"{self} down {endpoint.peer.hex()[:4]}: {reason}")
            self.feed(v.LinkDown(endpoint.peer, reason))

    def take(self, endpoint: Endpoint, message: Message) -> None:
        """A message has come over a link that is up."""
        self.world.note(f"{self.name} < {endpoint.peer_name} {type(message).__name__}")
        probe = self.world.probe
        if not isinstance(message, Push | Page):
            if probe is not None:
                probe.heard(message)
            self.feed(v.Heard(endpoint.peer, message))
            return
        a = self.desk.admit(message.records, endpoint.peer.hex())
        if probe is not None:
            probe.admitted(self, endpoint.peer, a)
        page = message if isinstance(message, Page) else None
        last, more = (None, False) if page is None else (page.last, page.more)
        self.feed(
            v.Received(
                endpoint.peer,
                a.stored,
                a.known,
                a.ignored,
                a.rejected,
                a.full,
                page is not None,
                last,
                more,
                message.origin if isinstance(message, Push) else b"",
                a.large,
                a.lost,
            )
        )

    # --- the engine -------------------------------------------------------------------------------------

    def feed(self, event: v.Input) -> None:
        """Hand an input to the engine and carry out its effects; inputs they cause follow in order."""
        if not self.alive:
            return
        self._inbox.append(event)
        if self._feeding:
            return
        self._feeding = True
        while self._inbox:
            for effect in self.engine.handle(self._inbox.popleft(), self.now()):
                self._carry_out(effect)
        self._feeding = False
        touched, self._touched = self._touched, {}
        for endpoint in touched:
            endpoint.write()
        if not isinstance(event, v.Tick):
            self._ticks_at_once = 0
        self._plan()

    def _plan(self) -> None:
        """Set the timer, unless it rings early enough already."""
        due_s = max(self.engine.deadline_s, self.world.now_s)
        if self._wake_s is None or due_s < self._wake_s:
            self._wake_s = due_s
            self.world.at(due_s, lambda: self.do(lambda: self._tick(due_s)))

    def _tick(self, due_s: float) -> None:
        if self._wake_s != due_s:
            return
        self._wake_s = None
        self._ticks_at_once = self._ticks_at_once + 1 if self._ticked_s == self.world.now_s else 1
        self._ticked_s = self.world.now_s
        if self._ticks_at_once > TICKS_AT_ONCE_MAX:
            raise Violation(f"busy loop: {self} ticks again and again at {self.world.now_s:.6f} s")
        self.world.totals["ticks"] += 1
        self.feed(v.Tick(self.world.now_s - due_s))

    def _link(self, peer: bytes, what: str) -> Endpoint:
        """The link an effect is for; the engine must not speak to those it has let go."""
        link = self.links.get(peer)
        if link is None:
            raise Violation(f"{self} sends {what} to {peer.hex()[:4]}, with whom it has no link")
        self._touched[link] = None
        return link

    def _carry_out(self, effect: v.Effect) -> None:
        match effect:
            case v.Send():
                self._send(effect.peer, effect.message)
            case v.PushRecords():
                self._push(effect)
            case v.Serve():
                self._link(effect.peer, "records").outbox.serve(effect.digests)
            case v.ServePage():
                self._link(effect.peer, "a page").outbox.serve_page(effect.after)
            case v.Close():
                self.world.note(f"{self} closes {effect.peer.hex()[:4]}: {effect.code} {effect.reason}")
                self._link(effect.peer, "goodbye").close(effect.code, effect.reason)
                del self.links[effect.peer]
            case v.Announce():
                self.world.beacon(self)
            case v.Dial():
                self.dials += 1
                dial(self, effect.address)
            case v.Resolve():
                seed = effect.seed
                self.world.at(self.world.now_s, lambda: self.hear(v.Resolved(seed, [seed])))
            case v.Reached():
                pass  # tests look at the counts themselves

    def _send(self, peer: bytes, message: Message) -> None:
        link = self._link(peer, type(message).__name__)
        if link.state == "up" and not link.outbox.send(message) and not isinstance(message, IHave):
            link.close("deaf", "it does not read what it is sent")
            self.world.at(self.world.now_s, lambda: self.link_down(link, "deaf"))

    def _push(self, effect: v.PushRecords) -> None:
        for batch in batches(self.desk.lookup(effect.digests)):
            frame = encode_push(batch, effect.origin)
            for peer in effect.peers:
                if not self._link(peer, "a push").outbox.push(frame):
                    self.world.totals["degraded"] += len(batch)
                    self._inbox.append(v.Degraded(peer, [r.digest for r in batch], effect.origin))
