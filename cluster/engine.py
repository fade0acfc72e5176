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

from cluster import messages as m
from cluster import vocabulary as v
from cluster.beacon import BeaconSchedule
from cluster.dissemination import Dissemination
from cluster.hyparview import Views
from cluster.liveness import Liveness
from cluster.members import Members
from cluster.membership import STALL_S, Membership
from cluster.messages import Hello, Message
from cluster.plumtree import Trees
from cluster.pull import Pull
from cluster.receipts import Receipts
from cluster.reconciliation import Reconciliation
from cluster.statistics import EngineStatistics
from cluster.vocabulary import Effect, Holdings, Input, Now

ALONE_GRACE_S = 2.0
"""How long a node that finds nobody to catch up with waits before it is ready: a beacon burst and a dial."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What the protocol needs to know. Times in seconds or milliseconds as the names say.

    `seeds`, `saved`: addresses of peers, as configured and from an earlier run.
    `mesh_max`: with more nodes than that each is linked with a few only; `mesh_back`: with fewer than
    that each is linked with all again. Our choice: 64 sends cost an origin less than one more hop.
    """

    ttl_ms: int
    sync_interval_s: float = 20.0
    seeds: tuple[str, ...] = ()
    mesh_max: int = 64
    mesh_back: int = 48
    saved: tuple[str, ...] = ()


class Engine:
    """Membership, dissemination and reconciliation behind one door."""

    def __init__(self, node_id: bytes, config: EngineConfig, holdings: Holdings, rng: Random) -> None:
        self.node_id = node_id
        self._holdings = holdings
        self._rng = rng
        self._pull = Pull()
        self.membership = Membership(node_id, config.seeds, rng)
        self._candidates = self.membership.candidates
        self._candidates.remember(config.saved)
        self.members = Members(node_id)
        self.views = Views(self.membership, self.members, rng, config.mesh_max, config.mesh_back)
        self._trees = Trees()
        self._dissemination = Dissemination(node_id, holdings, self.members, self._pull, self._trees, rng)
        self._reconciliation = Reconciliation(
            holdings, self._pull, rng, config.ttl_ms, config.sync_interval_s
        )
        self._liveness = Liveness(self.membership, self._reconciliation, holdings)
        self._beacons = BeaconSchedule(rng)
        self.receipts = Receipts(node_id, holdings)
        self._start_s: float | None = None
        self._membership_s: float | None = None  # cached: its sources change only where _plan is called
        self._lag_ms = 0
        self._ready = False
        self._caught_up = False

    # --- questions --------------------------------------------------------------------------------------

    @property
    def deadline_s(self) -> float:
        """When `Tick` must be handed in next, in monotonic seconds; may be early, never late."""
        times = (
            self._membership_s,
            self._pull.deadline_s,
            self._dissemination.deadline_s,
            self._reconciliation.deadline_s,
            self._beacons.next_s,
            self.receipts.deadline_s,
        )
        return min(t for t in times if t is not None)

    def ready(self, now: Now) -> bool:
        """Whether we have caught up with a peer that holds records, or found none within `ALONE_GRACE_S`.

        Stays true. Peers that hold nothing prove nothing: they may have just started too.
        """
        if not self._ready and self._start_s is not None:
            waited = now.s - self._start_s >= ALONE_GRACE_S
            self._ready = self._reconciliation.idle and (waited or self._caught_up)
        return self._ready

    @property
    def session_peer(self) -> bytes | None:
        """With whom this node is catching up right now, or None."""
        return self._reconciliation.session_peer

    def statistics(self) -> EngineStatistics:
        """Read all counters."""
        return EngineStatistics.read(self._dissemination, self._reconciliation, self._pull, self.receipts)

    def refusal(self, hello: Hello, *, dialled: bool, now: Now) -> tuple[str, str] | None:
        """Say why a link with whoever sent `hello` is not wanted, as (code, reason), or None if it is.

        Whether cluster, rules, versions and clocks fit is asked elsewhere (cluster/compatibility.py).
        """
        return self.membership.refusal(hello, dialled=dialled, now=now) or self.views.refusal(hello)

    # --- the door ---------------------------------------------------------------------------------------

    def handle(self, event: Input, now: Now) -> list[Effect]:
        """Take one input and return what is to be done about it, in order."""
        if self._start_s is None:
            self._start_s = now.s
        effects = self._dispatch(event, now)
        if any(isinstance(e, v.Close) for e in effects):
            effects = self._let_go(effects, now)
        return effects + self._dissemination.tick(tuple(self.membership.peers), now)

    def _let_go(self, effects: list[Effect], now: Now) -> list[Effect]:
        """Forget the peers that are closed; after its goodbye nothing more goes to any of them."""
        closed: dict[bytes, str] = {}
        kept: list[Effect] = []
        for effect in effects:
            match effect:
                case v.Send(peer) | v.Serve(peer) | v.ServePage(peer) | v.Close(peer) if peer in closed:
                    continue
                case v.PushRecords(peers, digests, origin):
                    kept.append(v.PushRecords([p for p in peers if p not in closed], digests, origin))
                    continue
                case v.Close(peer, _, reason):
                    closed[peer] = reason
                case _:
                    pass
            kept.append(effect)
        after = [e for p, why in closed.items() for e in self._link_down(v.LinkDown(p, why), now)]
        self._plan()
        return kept + [e for e in after if not (isinstance(e, v.Send) and e.peer in closed)]

    def _dispatch(self, event: Input, now: Now) -> list[Effect]:
        match event:
            case v.Received():
                return self._received(event, now)
            case v.Stored():
                return self._dissemination.stored(
                    event.digests, event.large, tuple(self.membership.peers), now
                )
            case v.Heard():
                return self._heard(event.peer, event.message, now)
            case v.Degraded():
                return self._dissemination.degraded(event)
            case v.Ask():
                peers, onward = tuple(self.membership.peers), self.views.partial
                return self.receipts.ask(event, peers, self.views.size, now, onward=onward)
            case v.Forget():
                self.receipts.forget(event.number)
                return []
            case v.Missed():
                return [e for p in self.membership.peers for e in self._reconciliation.join(p, 0, now)]
            case v.Tick():
                return self._tick(event.late_s, now)
            case v.LinkUp():
                effects = self._link_up(event, now)
            case v.LinkDown():
                effects = self._link_down(event, now)
            case v.Leaving():
                return self._publish(now, leaving=True)
            case v.BeaconHeard():
                return self._beacon_heard(event, now)
            case v.Resolved():
                self._candidates.resolved(event.seed, event.addresses, event.reason, now)
                effects = []
            case v.DialFailed():
                if event.is_self:
                    self._candidates.is_self(event.address, now)
                else:
                    self._candidates.dial_failed(event, now)
                effects = []
            case _:
                assert_never(event)
        self._plan()
        return effects

    # --- links ------------------------------------------------------------------------------------------

    def _link_up(self, event: v.LinkUp, now: Now) -> list[Effect]:
        peer = event.hello.node_id
        self.membership.link_up(event, now)
        self.members.met(event.ours, event.hello.seen)
        self._trees.link_up(peer)
        effects = self.views.link_up(event, now) + self.receipts.link_up(peer, now)
        ours, theirs = event.ours.records, event.hello.records
        if (ours, self.node_id) < (theirs, peer) and theirs:
            effects += self._reconciliation.join(peer, theirs, now)
        self._caught_up |= theirs > 0  # it counts once the reconciliation is idle again
        return effects

    def _link_down(self, event: v.LinkDown, now: Now) -> list[Effect]:
        if event.peer not in self.membership.peers:
            return []
        self.membership.link_down(event.peer, event.reason, now)
        self._beacons.hurry(now.s)
        self.views.link_down(now)
        self._dissemination.link_down(event.peer, now)
        return self._reconciliation.link_down(event.peer, now) + self.receipts.link_down(event.peer)

    def _beacon_heard(self, event: v.BeaconHeard, now: Now) -> list[Effect]:
        """Cheap on purpose: anybody can send beacons by the thousand."""
        due_s = self._candidates.beacon(event.node_id, event.address, now)
        if (
            due_s is not None
            and not self.views.partial
            and (self._membership_s is None or due_s < self._membership_s)
        ):
            self._membership_s = due_s
        return []

    def _received(self, event: v.Received, now: Now) -> list[Effect]:
        if event.peer not in self.membership.peers:
            return []
        self.membership.heard(event.peer, now)
        effects = self._dissemination.received(event, tuple(self.membership.peers), now)
        effects += self.receipts.changed((*event.stored, *event.lost))
        effects += self._reconciliation.received(event, now) + self._reconciliation.resume()
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
                self._reconciliation.alive(peer, now)
                return []
            case m.IHave():
                self._dissemination.ihave(peer, message, tuple(self.membership.peers), now)
                return []
            case m.Confirm():
                return self.receipts.confirm(peer, message, tuple(self.membership.peers), now)
            case m.Held():
                return self.receipts.held(peer, message, now)
            case m.Want():
                return self._dissemination.want(peer, message)
            case m.Prune():
                self._dissemination.prune(peer, message, now)
                return []
            case m.Graft():
                return self._dissemination.graft(peer, message)
            case m.Ping():
                return self._liveness.ping(peer, message, self._lag_ms, now)
            case m.Pong():
                return self._liveness.pong(peer, message, now)
            case m.Reconcile():
                return self._reconciliation.reconcile(peer, message)
            case m.Reconciled():
                return self._reconciliation.reconciled(peer, message, now)
            case m.Fetch():
                return [v.ServePage(peer, message.after)]
            case m.Peers():
                self._candidates.told(message.members, now)
                effects = list[Effect]()
            case m.ForwardJoin():
                effects = self.views.forward_join(peer, message, now)
            case m.Shuffle():
                effects = self.views.shuffle(peer, message, now)
            case m.Shuffled():
                effects = self.views.shuffled(message, now)
            case _:
                return [
                    v.Close(peer, "protocol", f"{type(message).__name__} has no place on a link that is up")
                ]
        self._plan()
        return effects

    # --- time -------------------------------------------------------------------------------------------

    def _tick(self, late_s: float, now: Now) -> list[Effect]:
        if late_s > STALL_S:
            self.membership.forgive(late_s, now)
        self._lag_ms = max(int(late_s * 1000), self._lag_ms * 3 // 4)
        due = self.views.publishes and self.members.due(now.s)
        effects = self._publish(now) if due else []
        effects += self._liveness.tick(self._lag_ms, now)
        effects += self.views.tick(now)
        effects += self._reconciliation.tick(tuple(self.membership.peers), now) + self.receipts.tick(now)
        if self._beacons.due(now.s, complete=self.views.complete):
            effects.append(v.Announce())
        self._plan()
        return effects

    def _publish(self, now: Now, *, leaving: bool = False) -> list[Effect]:
        """Tell every node of this one, where there is a member list."""
        if not (self.views.publishes and self.members.own_address):
            return []
        digest = self.members.publish(now, self._rng.uniform(0.9, 1.1), leaving=leaving)
        return self._dissemination.published(digest, tuple(self.membership.peers), now)

    def _plan(self) -> None:
        """Keep what depends on the links in step with them."""
        times = [t for t in (self.membership.deadline_s, self.views.deadline_s) if t is not None]
        self._membership_s = min(times, default=None)
        if self._dissemination.partial != self.views.partial:
            self._dissemination.turn(partial=self.views.partial)
