"""The one door to the protocol: `handle(input, now)` returns effects, `deadline_s` says when to tick.

No sockets, no clock, no tasks, no global randomness: time and a seeded `random.Random` come in. So the
same engine runs behind real links and by the thousand in a simulation.

Drain order: call `handle`, carry out the returned effects in order, read `deadline_s`, wait for
the next input but no longer than that, then hand in `Tick`. `now.s` must never run backwards. After a
`Close` the engine has forgotten the peer already; no `LinkDown` is owed for it.
"""

from dataclasses import dataclass
from random import Random
from typing import assert_never

from cluster import vocabulary as v
from cluster.compatibility import clock_refusal
from cluster.dissemination import Dissemination
from cluster.membership import CLOSE_AFTER_S, STALL_S, Membership, Peer
from cluster.messages import Fetch, IHave, Message, Peers, Ping, Pong, Reconcile, Reconciled, Want
from cluster.pull import Pull
from cluster.reconciliation import Reconciliation
from cluster.vocabulary import Effect, Holdings, Input, Now

BEACON_BURST_S = (0.0, 0.2, 1.0)
BEACON_S = 5.0
BEACON_COMPLETE_S = 30.0
"""A starting node is heard three times in its first second, a searching one every 5 s, a settled one
every 30 s: Zyre's one beacon a second floods large networks (czmq 902)."""

ALONE_GRACE_S = 3.0
"""How long a node that finds nobody waits before it calls itself ready: a beacon burst and a dial."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What the protocol needs to know. Times in seconds or milliseconds as the names say."""

    ttl_ms: int
    sync_interval_s: float = 20.0
    seeds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """One reading of the protocol's counters; totals since the start."""

    pushed_total: int
    duplicate_total: int
    degraded_total: int
    missing: int
    asked_total: int
    overflow_total: int
    sync_rounds_total: int
    sync_found_total: int
    sync_bytes_out: int
    sync_bytes_in: int
    graft_ms: float


class Engine:
    """Membership, dissemination and reconciliation behind one door."""

    def __init__(self, node_id: bytes, config: EngineConfig, holdings: Holdings, rng: Random) -> None:
        self.node_id = node_id
        self._holdings = holdings
        self._rng = rng
        self._sync_interval_s = config.sync_interval_s
        self._pull = Pull()
        self.membership = Membership(node_id, config.seeds, rng)
        self._candidates = self.membership.candidates
        self._dissemination = Dissemination(node_id, holdings, self._pull, rng)
        self._reconciliation = Reconciliation(
            holdings, self._pull, rng, config.ttl_ms, config.sync_interval_s
        )
        self._beacons = 0
        self._beacon_s = 0.0
        self._start_s: float | None = None
        self._membership_s: float | None = None  # cached: its sources change only where _plan is called
        self._lag_ms = 0
        self._ready = False

    # --- questions --------------------------------------------------------------------------------------

    @property
    def deadline_s(self) -> float:
        """When `Tick` must be handed in next, in monotonic seconds; may be early, never late."""
        times = (
            self._membership_s,
            self._pull.deadline_s,
            self._dissemination.deadline_s,
            self._reconciliation.deadline_s,
            self._beacon_s,
        )
        return min(t for t in times if t is not None)

    def ready(self, now: Now) -> bool:
        """Whether the first catching-up is done, or nobody was found within `ALONE_GRACE_S`. Stays true."""
        if not self._ready and self._start_s is not None:
            waited = now.s - self._start_s >= ALONE_GRACE_S
            self._ready = self._reconciliation.idle and (waited or bool(self.membership.peers))
        return self._ready

    @property
    def session_peer(self) -> bytes | None:
        """With whom this node is catching up right now, or None."""
        return self._reconciliation.session_peer

    def statistics(self) -> EngineStatistics:
        """Read all counters."""
        d, r, p = self._dissemination, self._reconciliation, self._pull
        return EngineStatistics(
            pushed_total=d.pushed_total,
            duplicate_total=d.duplicate_total,
            degraded_total=d.degraded_total,
            missing=len(p),
            asked_total=p.asked_total,
            overflow_total=p.overflow_total,
            sync_rounds_total=r.rounds_total,
            sync_found_total=r.found_total,
            sync_bytes_out=r.bytes_out,
            sync_bytes_in=r.bytes_in,
            graft_ms=p.graft_s * 1000,
        )

    # --- the door ---------------------------------------------------------------------------------------

    def handle(self, event: Input, now: Now) -> list[Effect]:
        """Take one input and return what is to be done about it, in order."""
        if self._start_s is None:
            self._start_s = self._beacon_s = now.s
        effects = self._dispatch(event, now)
        for close in [e for e in effects if isinstance(e, v.Close)]:
            effects += self._link_down(v.LinkDown(close.peer, close.reason), now)
            self._plan(now)
        effects += self._dissemination.tick(tuple(self.membership.peers), now)
        effects += self._pull.tick(now.s)
        return effects

    def _dispatch(self, event: Input, now: Now) -> list[Effect]:
        match event:
            case v.Received():
                return self._received(event, now)
            case v.Stored():
                return self._dissemination.stored(event.digests, event.large, tuple(self.membership.peers))
            case v.Heard():
                return self._heard(event.peer, event.message, now)
            case v.Degraded():
                return self._dissemination.degraded(event.peer, event.digests)
            case v.Missed():
                return [e for p in self.membership.peers for e in self._reconciliation.join(p, 0, now)]
            case v.Tick():
                return self._tick(event.late_s, now)
            case v.LinkUp():
                effects = self._link_up(event, now)
            case v.LinkDown():
                effects = self._link_down(event, now)
            case v.BeaconHeard():
                return self._beacon_heard(event, now)
            case v.Resolved():
                self._candidates.resolved(event.seed, event.addresses, event.reason, now)
                effects = []
            case v.DialFailed():
                if event.is_self:
                    self._candidates.is_self(event.address)
                else:
                    self._candidates.dial_failed(event.address, event.reason, event.node_id, now)
                effects = []
            case _:
                assert_never(event)
        self._plan(now)
        return effects

    # --- links ------------------------------------------------------------------------------------------

    def _link_up(self, event: v.LinkUp, now: Now) -> list[Effect]:
        peer = event.hello.node_id
        effects = self.membership.link_up(event, now)
        ours, theirs = event.ours.records, event.hello.records
        if (ours, self.node_id) < (theirs, peer) and theirs:
            effects += self._reconciliation.join(peer, theirs, now)
        return effects

    def _link_down(self, event: v.LinkDown, now: Now) -> list[Effect]:
        if event.peer not in self.membership.peers:
            return []
        self.membership.link_down(event.peer, event.reason, now)
        self._beacon_s = min(self._beacon_s, now.s + BEACON_S)
        self._pull.link_down(event.peer, now.s)
        return self._reconciliation.link_down(event.peer, now)

    def _beacon_heard(self, event: v.BeaconHeard, now: Now) -> list[Effect]:
        """Cheap on purpose: anybody can send beacons by the thousand."""
        due_s = self._candidates.beacon(event.node_id, event.address, now)
        if due_s is not None and (self._membership_s is None or due_s < self._membership_s):
            self._membership_s = due_s
        return []

    def _received(self, event: v.Received, now: Now) -> list[Effect]:
        if event.peer not in self.membership.peers:
            return []
        self.membership.heard(event.peer, now)
        self._dissemination.received(event, now)
        effects = self._reconciliation.page(event, now) + self._reconciliation.resume()
        if event.rejected:
            reason = self.membership.rejected(event.peer, event.rejected, now)
            if reason is not None:
                effects.append(v.Close(event.peer, "banned", reason))
        return effects

    def _heard(self, peer: bytes, message: Message | None, now: Now) -> list[Effect]:
        if peer not in self.membership.peers:
            return []  # its link was closed while the message was on its way here
        self.membership.heard(peer, now)
        match message:
            case None:
                return []
            case IHave():
                self._dissemination.ihave(peer, message, tuple(self.membership.peers), now)
                return []
            case Want():
                return self._dissemination.want(peer, message)
            case Ping():
                return self._ping(peer, message, now)
            case Pong():
                return self._pong(peer, message, now)
            case Reconcile():
                return self._reconciliation.reconcile(peer, message)
            case Reconciled():
                return self._reconciliation.reconciled(peer, message, now)
            case Fetch():
                return [v.ServePage(peer, message.after)]
            case Peers():
                self._candidates.told(message.members, now)
                self._plan(now)
                return []
            case _:
                return [
                    v.Close(peer, "protocol", f"{type(message).__name__} has no place on a link that is up")
                ]

    # --- time -------------------------------------------------------------------------------------------

    def _tick(self, late_s: float, now: Now) -> list[Effect]:
        if late_s > STALL_S:
            self.membership.forgive(late_s)
        self._lag_ms = max(int(late_s * 1000), self._lag_ms * 3 // 4)
        effects = self._liveness(now)
        effects += self._candidates.tick(now)
        effects += self._reconciliation.tick(tuple(self.membership.peers), now)
        if now.s >= self._beacon_s:
            effects.append(v.Announce())
            self._beacons += 1
            if self._beacons < len(BEACON_BURST_S):
                wait_s = BEACON_BURST_S[self._beacons] - BEACON_BURST_S[self._beacons - 1]
            else:
                wait_s = BEACON_COMPLETE_S if self.membership.complete else BEACON_S
                wait_s *= self._rng.uniform(0.8, 1.2)
            self._beacon_s = now.s + wait_s
        self._plan(now)
        return effects

    def _liveness(self, now: Now) -> list[Effect]:
        """Ping who is silent, close who stays so."""
        effects: list[Effect] = []
        for node_id, peer in self.membership.peers.items():
            silent_s = now.s - peer.heard_s
            if silent_s >= CLOSE_AFTER_S:
                effects.append(v.Close(node_id, "silent", f"nothing heard for {silent_s:.1f} s"))
            elif now.s >= peer.ping_due_s:
                effects.append(v.Send(node_id, self._make_ping(peer, now)))
        return effects

    def _plan(self, now: Now) -> None:
        self._membership_s = self.membership.deadline_s

    # --- pings ------------------------------------------------------------------------------------------

    def _make_ping(self, peer: Peer, now: Now) -> Ping:
        lower_age_ms, upper_age_ms = self._reconciliation.window_ages_ms(max(-peer.offset_ms, 0))
        peer.ping_seq += 1
        peer.ping_sent_s, peer.ping_sent_wall_ms = now.s, now.wall_ms
        peer.ping_window_ms = (now.wall_ms - lower_age_ms, now.wall_ms - upper_age_ms)
        fingerprint = self._reconciliation.fingerprint(*peer.ping_window_ms)
        return Ping(
            peer.ping_seq,
            now.wall_ms,
            self._lag_ms,
            len(self._holdings),
            lower_age_ms,
            upper_age_ms,
            fingerprint,
        )

    def _ping(self, node_id: bytes, ping: Ping, now: Now) -> list[Effect]:
        peer = self.membership.peers[node_id]
        peer.pinged_s = now.s
        peer.lag_ms, peer.records, peer.offset_ms = ping.lag_ms, ping.records, ping.wall_ms - now.wall_ms
        fingerprint = self._reconciliation.fingerprint(
            ping.wall_ms - ping.lower_age_ms, ping.wall_ms - ping.upper_age_ms
        )
        pong = Pong(ping.seq, now.wall_ms, self._lag_ms, len(self._holdings), fingerprint)
        return [v.Send(node_id, pong), *self._compare(node_id, fingerprint == ping.fingerprint, now)]

    def _pong(self, node_id: bytes, pong: Pong, now: Now) -> list[Effect]:
        peer = self.membership.peers[node_id]
        if pong.seq != peer.ping_seq or peer.ping_sent_s is None:
            return []
        rtt_s, peer.ping_sent_s, peer.pinged_s = now.s - peer.ping_sent_s, None, now.s
        peer.rtt_ms, peer.lag_ms, peer.records = rtt_s * 1000, pong.lag_ms, pong.records
        peer.offset_ms = pong.wall_ms - (peer.ping_sent_wall_ms + int(rtt_s * 500))
        same = self._reconciliation.fingerprint(*peer.ping_window_ms) == pong.fingerprint
        return self._compare(node_id, same, now)

    def _compare(self, node_id: bytes, same: bool, now: Now) -> list[Effect]:
        """Act on what a ping showed: the clocks, then whether both hold the same."""
        peer = self.membership.peers[node_id]
        refusal = clock_refusal(peer.offset_ms)
        if refusal is not None:
            return [v.Close(node_id, *refusal)]
        peer.in_sync = same
        if same:
            self._reconciliation.equals(node_id)
            return []
        ours = (len(self._holdings), self.node_id) < (peer.records, node_id)
        return self._reconciliation.differs(node_id, now, ours=ours)
