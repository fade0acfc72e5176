"""The driver: inputs to the engine, effects to links, sockets and the bus.

`feed` hands one input to the engine and carries out what it says: nothing here waits for a peer. Inputs come
from link readers, the bus (records posted here), beacons, and the timer. Whatever waits has its own task.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import assert_never

import structlog
import trio
from cachetools import TTLCache

from cluster import vocabulary as v
from cluster.address import format_address
from cluster.backpressure import Backpressure
from cluster.beacon import Beacon
from cluster.codec import FrameError, batches, encode_push
from cluster.compatibility import incompatible
from cluster.config import ClusterConfig
from cluster.connector import LOG_AGAIN_S, Connector
from cluster.desk import Desk
from cluster.discovery import Discovery
from cluster.doorbell import follow
from cluster.engine import Engine
from cluster.intake import Intake
from cluster.link import Link
from cluster.members import MemberDesk
from cluster.membership import PEERS_MAX
from cluster.messages import PROTOCOL_MAX, PROTOCOL_MIN, Confirm, Hello, IHave, Message, Ping
from cluster.negentropy import fingerprint
from cluster.security import LinkSecurity
from cluster.statistics import ClusterStatistics
from cluster.transport import LinkError, listen, resolve
from cluster.vocabulary import Effect, Input, Now
from eventbus import EventBus, PeerDown, PeerUp

_log = structlog.get_logger("dayfly.cluster")

LEAVING = "the node is shutting down"
STOP_TIMEOUT_S = 2.0
"""How long stopping may take to tell every peer goodbye."""

LINKS_LOGGED_MAX = 2 * PEERS_MAX
"""Lines about links that come up or go within `LOG_AGAIN_S`. Our choice: all that a node may have go down and
come up again; who comes and goes faster must not fill a disk with it."""


class ClusterService:
    """Runs the engine over real links. `run` it in a task of its own."""

    def __init__(
        self, config: ClusterConfig, node_id: bytes, desk: Desk, bus: EventBus, clock: Callable[[], Now]
    ) -> None:
        self._config = config
        self._bus = bus
        self._clock = clock
        self._incarnation = clock().wall_ms
        self.engine = Engine(node_id, config.engine, desk, Random(node_id))
        self._desk = MemberDesk(desk, self.engine.members, clock)
        self.links: dict[bytes, Link] = {}
        self.backpressure = Backpressure(self.links)
        self.port = config.port
        self.http = ""  # this node's HTTP address, told to peers; known once it listens
        self.on_reached: Callable[[int], None] = lambda number: None  # hears of news about questions
        self.finished = trio.Event()
        self._intake = Intake(self._desk, self.feed)
        self._inbox: deque[Input] = deque()
        self._feeding = False
        self._sleep = trio.CancelScope()
        self._link_over = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._announcements_dropped_total = 0
        self._logged = TTLCache[object, bool](LINKS_LOGGED_MAX, LOG_AGAIN_S, timer=trio.current_time)
        self._unlogged = 0
        self._leaving = False
        self.security = LinkSecurity(config.cluster, config.keys, lambda: clock().wall_ms)
        self._connector = Connector(self._desk, self._hello, self._judge, self._run_link, self.security)
        self.discovery = Discovery(*config.group or ("", 0), lan=config.lan, codec=self.security.beacons)

    @property
    def node_id(self) -> bytes:
        """This node's id: 16 bytes."""
        return self.engine.node_id

    @property
    def refusals(self) -> dict[str, tuple[str, str]]:
        """Addresses whose last handshake was refused, by them or by us, and why."""
        return dict(self._connector.refusals)

    def statistics(self) -> ClusterStatistics:
        """Read all counters."""
        return ClusterStatistics(
            self._intake.records_total,
            self._announcements_dropped_total,
            self._connector.refused_total,
            sum(link.outbox.queued_bytes for link in self.links.values()),
        )

    # --- lifetime ---------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take part in the cluster until the bus closes, then say goodbye.

        Raises:
            OSError: the peer port cannot be had (the user's fault; nothing was started).
        """
        listeners = await listen(self._config.host, self._config.port)
        self.port = int(listeners[0].socket.getsockname()[1])
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(trio.serve_listeners, self._connector.accept, listeners)
            if self._config.group is not None:
                await nursery.start(self.discovery.run, self._beacon_heard)
            nursery.start_soon(self._timer)
            task_status.started()
            await follow(self._bus, self.feed)
            self._leaving = True  # from now on nobody is called, dialled or let in
            self.feed(v.Leaving())
            nothing = fingerprint(self._desk.window(0, 0), 0, 0)
            last = Ping(0, self._clock().wall_ms, 0, len(self._desk), 0, 0, nothing)  # over an empty window
            for link in self.links.values():
                link.leave("leaving", LEAVING, last)
            with trio.move_on_after(STOP_TIMEOUT_S):
                while self.links:
                    self._link_over = trio.Event()
                    await self._link_over.wait()
            nursery.cancel_scope.cancel()
        self.finished.set()

    async def _timer(self) -> None:
        """Tick the engine at its deadline; `feed` moves the deadline without waking this task."""
        while True:
            deadline_s = max(self.engine.deadline_s, trio.current_time())
            with trio.CancelScope(deadline=deadline_s) as self._sleep:
                await trio.sleep_forever()
            self.feed(v.Tick(max(self._clock().s - self._sleep.deadline, 0.0)))

    # --- the engine -------------------------------------------------------------------------------------

    def feed(self, event: Input) -> None:
        """Hand one input to the engine and carry out its effects; inputs they cause follow in order."""
        self._inbox.append(event)
        if self._feeding:
            return
        self._feeding = True
        try:
            before_s = self.engine.deadline_s
            while self._inbox:
                for effect in self.engine.handle(self._inbox.popleft(), self._clock()):
                    self._carry_out(effect)
            if self.engine.deadline_s < before_s:
                due_s = max(self.engine.deadline_s, trio.current_time())
                self._sleep.deadline = min(self._sleep.deadline, due_s)
        finally:
            self._feeding = False

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case v.Send():
                self._send(effect.peer, effect.message)
            case v.PushRecords():
                self._push(effect)
            case v.Serve():
                if link := self.links.get(effect.peer):
                    link.serve(effect.digests)
            case v.ServePage():
                if link := self.links.get(effect.peer):
                    link.serve_page(effect.after)
            case v.Close():
                self._drop(effect.peer, effect.code, effect.reason)
            case v.Announce() | v.Dial() if self._leaving:
                pass
            case v.Announce():
                self.discovery.announce(Beacon(self.node_id, self.port, self._incarnation))
            case v.Dial():
                self._start(self._dial, effect.address)
            case v.Resolve():
                self._start(self._resolve, effect.seed)
            case v.Reached():
                self.on_reached(effect.number)
            case _:
                assert_never(effect)

    def _start(self, task: Callable[[str], Awaitable[None]], argument: str) -> None:
        assert self._nursery is not None, "the engine is fed only while run() is"
        self._nursery.start_soon(task, argument)

    def _send(self, peer: bytes, message: Message) -> None:
        link = self.links.get(peer)
        # A question rides with the push that it is about: one write, and the peer wakes once. With five nodes
        # on two busy cores a post that waits for all takes a fifth less time (docs/performance.md).
        rides = isinstance(message, Confirm) and message.origin == self.node_id
        if link is None or link.send(message, flush=not rides):
            return
        if isinstance(message, IHave):
            self._announcements_dropped_total += len(message.digests) // 32
        else:
            link.close("deaf", "it does not read what it is sent")

    def flush(self) -> None:
        """Send what waits for something to ride with."""
        for link in self.links.values():
            link.flush()

    def _push(self, effect: v.PushRecords) -> None:
        """Encode each batch once and queue it for all; who has no room is told the digests instead."""
        for batch in batches(self._desk.lookup(effect.digests)):
            frame = encode_push(batch, effect.origin)
            for peer in effect.peers:
                link = self.links.get(peer)
                if link is not None and not link.push(frame, len(batch)):
                    self._inbox.append(v.Degraded(peer, [r.digest for r in batch], effect.origin))

    def _drop(self, peer: bytes, code: str, reason: str) -> None:
        """End a link the engine has forgotten."""
        link = self.links.pop(peer, None)
        if link is not None:
            link.close(code, reason)
            self._gone(link, reason)

    def _gone(self, link: Link, reason: str) -> None:
        self._log_link("peer down", link, reason=reason)
        self._bus.publish(PeerDown(link.peer.hex(), link.hello.name, reason))

    def _log_link(self, what: str, link: Link, **more: object) -> None:
        """Log that a link came up or went, unless too many did; the next line says how many."""
        if len(self._logged) >= LINKS_LOGGED_MAX:
            self._unlogged += 1
            return
        self._logged[object()] = True
        if self._unlogged:
            more["unlogged"], self._unlogged = self._unlogged, 0
        _log.info(what, peer=link.peer.hex()[:8], name=link.hello.name, **more)

    # --- tasks that wait --------------------------------------------------------------------------------

    def _beacon_heard(self, beacon: Beacon, source: str) -> None:
        if beacon.node_id != self.node_id and beacon.node_id not in self.links:
            self.feed(v.BeaconHeard(beacon.node_id, format_address(source, beacon.port)))

    async def _resolve(self, seed: str) -> None:
        try:
            self.feed(v.Resolved(seed, await resolve(seed)))
        except LinkError as error:
            self.feed(v.Resolved(seed, (), str(error)))

    async def _dial(self, address: str) -> None:
        failed = await self._connector.dial(address)
        if failed is not None:
            self.feed(failed)

    async def _run_link(self, link: Link) -> None:
        """Bring a link up, run it, and take it down; its troubles end here."""
        # Asked here and not before: nothing can come between the answer and the link being up.
        refusal = self.engine.refusal(link.hello, dialled=link.dialled, now=self._clock())
        if refusal is not None:
            link.close(*refusal)
            with suppress(FrameError):  # whatever it says meanwhile, it is refused already
                await link.run(self._intake.take)
            if link.dialled:
                self.feed(v.DialFailed(link.address, refusal[1], link.peer))
            return
        replaced = self.links.pop(link.peer, None)
        if replaced is not None:
            replaced.close("duplicate", "a second connection took its place")
            self.feed(v.LinkDown(link.peer, "replaced"))
        else:
            self._log_link("peer up", link, address=link.address)
            self._bus.publish(PeerUp(link.peer.hex(), link.hello.name))
        self.links[link.peer] = link
        reason = "cancelled"
        try:
            self.feed(v.LinkUp(link.hello, link.ours, link.address, link.dialled))
            reason = await link.run(self._intake.take)
        except FrameError as error:
            reason = self.engine.membership.ban(link.peer, str(error), self._clock())
        except Exception as error:  # a bug in handling one peer's message costs that link, not the node
            reason = f"internal error: {type(error).__name__}"
            _log.exception("link failed", peer=link.peer.hex()[:8])
        finally:
            if self.links.get(link.peer) is link:
                del self.links[link.peer]
                self._gone(link, reason)
                self.feed(v.LinkDown(link.peer, reason))
            self._link_over.set()

    def _judge(self, ours: Hello, theirs: Hello, dialled: bool) -> tuple[str, str] | None:
        """Say why the sender of `theirs` is not welcome, as (code, reason), or None."""
        if self._leaving:
            return "failed", LEAVING
        now = self._clock()
        refusal = incompatible(ours, theirs, now.wall_ms)
        return refusal or self.engine.refusal(theirs, dialled=dialled, now=now)

    def _hello(self, host: str) -> Hello:
        """Say who we are to whoever is at `host`."""
        now = self._clock()
        return Hello(
            PROTOCOL_MIN,
            PROTOCOL_MAX,
            [],
            self.node_id,
            self._incarnation,
            self._config.cluster,
            self._config.name,
            self.port,
            self.http,
            self._config.rules,
            len(self._desk),
            now.wall_ms,
            host,
            self.engine.views.size_told,
            len(self.links),
            self._config.version,
        )
