"""How many links, and with whom: all in a small cluster, a partial view of a large one (HyParView).

Up to `mesh_max` nodes every node is linked with every other. Above, a node keeps an *active view* of a
few random links and one link to each side on the ring of node ids, so that no island can form, and a
*passive view* of addresses to replace those that fail. A newcomer's links come from random walks
(ForwardJoin), and passive views mix by random walks (Shuffle). A link request that finds no room is
refused, unless it comes from a node without links, a neighbour on the ring, or a stranger.

Between the two there is hysteresis, and nodes may be of different minds for a while: a node that is
linked with all refuses nobody, and one with a partial view answers all that the other says.
"""

import math
from collections.abc import Sequence
from random import Random

from cachetools import FIFOCache

from cluster.address import may_tell
from cluster.candidate import Candidate, Choice
from cluster.members import Members
from cluster.membership import Membership, Peer
from cluster.messages import PATH_BYTES_MAX, ForwardJoin, Hello, Member, Peers, Shuffle, Shuffled
from cluster.vocabulary import Close, Effect, LinkUp, Now, Send

ACTIVE_MIN = 6
"""Random links at least; above 150 nodes ln N + 1, from where on random graphs hold together whatever dies
(a third of 1,000 nodes at once: simulated)."""

ACTIVE_SLACK = 2
"""Links above that which are accepted: else who looks for the last one finds all others full."""

PASSIVE_FACTOR = 6
JOIN_HOPS = 6
PASSIVE_HOPS = 3
"""A newcomer's walk, and with how many hops left it enters a passive view: HyParView's ARWL and PRWL."""

SHUFFLE_S = 30.0
SHUFFLE_ACTIVE, SHUFFLE_PASSIVE = 3, 4
"""Every 30 s, half more or less, three of the active and four of the passive view are swapped (the paper's
numbers)."""

INVITED_MAX = 64
"""Newcomers whose walks have ended here and whom we have not dialled yet."""

TOLD_MAX = 16
"""Addresses a newcomer is told at once, so that it need not wait for the walks."""

LOOK_S, UNSETTLED_S = 1.0, 0.25
"""How often the views are looked at, and how often while links are missing or too many."""

PROBE_S = 10.0
"""How often a node with all the links it wants dials somebody who is not in the member list: a seed, a lost
neighbour, a stranger's beacon. That is how parts of a cluster find each other again."""

TRIM_MIN = 4
"""Surplus links let go at one look, or a quarter of them if that is more: a full mesh thins out within
seconds, and not in one blow."""

SETTLE_S = 1.0
"""How long a new link is not surplus: a newcomer must have time to find others."""
SIZE_HINT_S = 60.0
"""How long a peer's word on the cluster's size counts, if that is one for a member list: until it is here."""


class Views:
    """The active and the passive view of one node."""

    def __init__(
        self, membership: Membership, members: Members, rng: Random, mesh_max: int, mesh_back: int
    ) -> None:
        self._membership = membership
        self._candidates = membership.candidates
        self._peers = membership.peers
        self._members = members
        self._node_id = membership.node_id
        self._rng = rng
        self._mesh_max = mesh_max
        self._mesh_back = mesh_back
        self._look_s: float | None = None
        self._shuffle_s = 0.0
        self._probe_s = 0.0
        self._invited: FIFOCache[bytes, None] = FIFOCache(INVITED_MAX)
        self._probe_beacons = False
        self.partial = False
        self.size = 1

    # --- questions --------------------------------------------------------------------------------------

    @property
    def deadline_s(self) -> float | None:
        """When `tick` must be called next (monotonic seconds), or None."""
        if self.partial:
            return self._look_s
        times = [t for t in (self._candidates.deadline_s, self._look_s) if t is not None]
        return min(times, default=None)

    @property
    def publishes(self) -> bool:
        """Whether the cluster is large enough for a member list of its own."""
        return self.size >= self._mesh_back

    @property
    def complete(self) -> bool:
        """Whether no link is missing."""
        return self._lacking() <= 0 if self.partial else self._membership.complete

    @property
    def active_max(self) -> int:
        """How many random links a partial view wants."""
        return max(ACTIVE_MIN, math.ceil(math.log(max(self.size, 1))) + 1)

    @property
    def size_told(self) -> int:
        """How large to call the cluster to others: by first-hand knowledge, or a rumour would feed itself.

        Where views are partial a newcomer must take the same side of the hysteresis.
        """
        known = self._members.size(self._peers)
        return max(known, self._mesh_max + 1) if self.partial and known >= self._mesh_back else known

    def refusal(self, hello: Hello) -> tuple[str, str] | None:
        """Say why there is no room for the sender of `hello`, as (code, reason), or None if there is."""
        peer = hello.node_id
        if not self.partial or hello.links == 0 or peer not in self._members or peer in self._ring():
            return None
        if len(self._active()) < self.active_max + ACTIVE_SLACK:
            return None
        return "full", f"linked with {len(self._peers)} of {self.size} nodes already, which is enough"

    # --- links ------------------------------------------------------------------------------------------

    def link_up(self, event: LinkUp, now: Now) -> list[Effect]:
        """A link is up: introduce the newcomer, to all or to a few."""
        self.resize(now)
        newcomer = Member(event.hello.node_id, event.address)
        others = {i: p for i, p in self._peers.items() if i != newcomer.node_id}
        self._invited.pop(newcomer.node_id, None)
        known = [Member(i, p.address) for i, p in others.items()]
        if not self.partial:
            told = [i for i, p in others.items() if may_tell(newcomer.address, p.address)]
            return [*self._tell(newcomer, known), *(Send(i, Peers([newcomer])) for i in told)]
        effects: list[Effect] = []
        if event.hello.links < self.active_max:
            known += self._passive()
            effects += self._tell(newcomer, self._rng.sample(known, min(len(known), TOLD_MAX)))
        if event.hello.links == 0 and not event.dialled:
            walks = self._rng.sample(list(others), min(len(others), self.active_max))
            effects += [Send(i, ForwardJoin(newcomer, JOIN_HOPS)) for i in walks]
        return effects

    def link_down(self, now: Now) -> None:
        """A link is gone: see to another at once, if it is missed."""
        self.resize(now)
        if self.partial and self._lacking() > 0:
            self._look_s = now.s

    def resize(self, now: Now) -> None:
        """Count the nodes and choose the tier."""
        young = (p.hello.size for p in self._peers.values() if now.s < p.up_s + SIZE_HINT_S)
        self.size = max([self._members.size(self._peers), *(s for s in young if s >= self._mesh_back)])
        if not self.partial and self.size > self._mesh_max:
            self.partial = True
            self._shuffle_s = now.s + SHUFFLE_S * self._rng.uniform(0.5, 1.5)
        elif self.partial and self.size < self._mesh_back:
            self.partial = False
            self._candidates.told([Member(v.node_id, v.address) for v in self._members.living()], now)
        if self.partial or self.publishes or len(self._members):
            self._look_s = now.s if self._look_s is None else self._look_s
        else:
            self._look_s = None

    # --- walks ------------------------------------------------------------------------------------------

    def forward_join(self, peer: bytes, message: ForwardJoin, now: Now) -> list[Effect]:
        """A newcomer's walk has come here: pass it on, or end it with a link."""
        newcomer = message.member
        if newcomer.node_id == self._node_id or newcomer.node_id in self._peers:
            return []
        onward = [i for i in self._peers if i not in (peer, newcomer.node_id)]
        if not self.partial or message.hops == 0 or not onward:
            self._told([newcomer], now, at_once=True)
            if self.partial:
                self._invited[newcomer.node_id] = None
                self._look_s = now.s
            return []
        if message.hops == PASSIVE_HOPS:
            self._told([newcomer], now)
        return [Send(self._rng.choice(onward), ForwardJoin(newcomer, message.hops - 1))]

    def shuffle(self, peer: bytes, message: Shuffle, now: Now) -> list[Effect]:
        """Addresses walk by: pass them on, or keep them and send others back."""
        path = message.path + self._node_id
        onward = [i for i in self._peers if i != peer and i not in message.path]
        if message.hops and onward and len(path) <= PATH_BYTES_MAX:
            return [Send(self._rng.choice(onward), Shuffle(message.members, path, message.hops - 1))]
        answer = self._sample()
        self._told(message.members, now)
        return [Send(peer, Shuffled(answer, message.path[:-16]))]

    def shuffled(self, message: Shuffled, now: Now) -> list[Effect]:
        """The answer to a shuffle goes back the way it came."""
        if not message.path:
            self._told(message.members, now)
            return []
        before = message.path[-16:]
        return [Send(before, Shuffled(message.members, message.path[:-16]))] if before in self._peers else []

    # --- time -------------------------------------------------------------------------------------------

    def tick(self, now: Now) -> list[Effect]:
        """Dial whom we lack, let surplus links go, shuffle."""
        due = self._look_s is not None and now.s >= self._look_s
        if due:
            self._look_s = now.s + LOOK_S
            self._members.expire(now.s)
            self.resize(now)
        if not self.partial:
            return self._candidates.tick(now)
        return self._look(now) if due else []

    def _look(self, now: Now) -> list[Effect]:
        """See to a partial view."""
        self._told(self._members.ring(), now)
        room = self.active_max * PASSIVE_FACTOR + len(self._peers)
        self._candidates.shrink(room, self._members, self._rng)
        effects = self._candidates.tick(now, self._choice(now))
        if now.s >= self._shuffle_s:
            effects += self._start_shuffle()
            self._shuffle_s = now.s + SHUFFLE_S * self._rng.uniform(0.5, 1.5)
        effects += self._trim(now)
        if not -ACTIVE_SLACK <= self._lacking() <= 0:
            self._look_s = now.s + UNSETTLED_S
        return effects

    def _choice(self, now: Now) -> Choice:
        """Return the rule by which those to dial are chosen among those that are due."""

        def choose(due: Sequence[Candidate]) -> list[Candidate]:
            ring = self._ring()
            first = [c for c in due if c.node_id in ring or c.node_id in self._invited]
            known = [c for c in due if c not in first and not c.beacon]
            self._rng.shuffle(known)
            rest = known + [c for c in due if c not in first and c.beacon]
            chosen = first + rest[: max(self._lacking(), 0)]
            if now.s >= self._probe_s:
                strangers = [c for c in rest if c.node_id is None or c.node_id not in self._members]
                # By turns, or dead neighbours would keep the one away whose beacon is heard, and vice versa.
                self._probe_beacons = not self._probe_beacons
                strangers.sort(key=lambda c: c.beacon != self._probe_beacons)
                if strangers:
                    self._probe_s = now.s + PROBE_S * self._rng.uniform(0.5, 1.5)
                chosen += [c for c in strangers[:1] if c not in chosen]
            for candidate in chosen:
                self._invited.pop(candidate.node_id or b"", None)
            return chosen

        lacking = self._lacking()
        if lacking > 0 and len(self._passive()) < lacking + ACTIVE_MIN and len(self._members):
            # The passive view runs dry: any member will do.
            living = self._members.living()
            drawn = self._rng.sample(living, min(len(living), self.active_max))
            self._told([Member(v.node_id, v.address) for v in drawn], now)
        return choose

    def _trim(self, now: Now) -> list[Effect]:
        """Let go of a few links beyond what is accepted."""
        active = self._active()
        surplus = len(active) - self.active_max - ACTIVE_SLACK
        old = [i for i, p in active.items() if now.s >= p.up_s + SETTLE_S]
        gone = self._rng.sample(old, min(max(surplus, 0), max(TRIM_MIN, surplus // 4), len(old)))
        return [Close(i, "surplus", "a partial view needs fewer links") for i in gone]

    def _start_shuffle(self) -> list[Effect]:
        sample = self._sample()
        if not self._peers or not sample or sample[0].node_id != self._node_id:
            return []
        return [Send(self._rng.choice(list(self._peers)), Shuffle(sample, self._node_id, JOIN_HOPS))]

    # --- views ------------------------------------------------------------------------------------------

    def _ring(self) -> set[bytes]:
        return {m.node_id for m in self._members.ring()}

    def _active(self) -> dict[bytes, Peer]:
        """The links that are not the ring's."""
        ring = self._ring()
        return {i: p for i, p in self._peers.items() if i not in ring}

    def _lacking(self) -> int:
        """How many random links are missing; the ring's are seen to besides."""
        ring = self._ring()
        others = sum(i not in ring for i in self._peers)
        return min(self.active_max, self.size - 1 - len(ring)) - others

    def _passive(self) -> list[Member]:
        """Addresses of others that were not found wanting."""
        return [Member(c.node_id, c.address) for c in self._candidates.passive if c.node_id is not None]

    def _sample(self) -> list[Member]:
        """This node, and some of both views, to be swapped."""
        active = [Member(i, p.address) for i, p in self._peers.items()]
        passive = self._passive()
        own = self._members.own_address
        return [
            *([Member(self._node_id, own)] if own else []),
            *self._rng.sample(active, min(len(active), SHUFFLE_ACTIVE)),
            *self._rng.sample(passive, min(len(passive), SHUFFLE_PASSIVE)),
        ]

    def _told(self, members: Sequence[Member], now: Now, *, at_once: bool = False) -> None:
        """Take note of addresses that mean something here."""
        own = self._members.own_address
        useful = [m for m in members if not own or may_tell(m.address, own)]
        self._candidates.told(useful, now, hurry=at_once, head_start=not at_once)

    def _tell(self, newcomer: Member, members: Sequence[Member]) -> list[Effect]:
        """Tell a newcomer of those whose addresses mean something where it lives."""
        useful = [m for m in members if may_tell(m.address, newcomer.address)]
        return [Send(newcomer.node_id, Peers(useful))] if useful else []
