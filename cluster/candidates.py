"""Addresses worth dialling, and when.

Five sources: seeds (`--join`), nodes that a peer told of, nodes that were linked before, those an earlier
run saved, and beacons. Seeds and lost members are dialled for ever, with back-off and before all others, and
members leave room for seeds (cluster/flights.py); so are saved addresses until a link is up, for then a peer
can tell of others. A beacon is anybody's hint: those live in a table of their own (cluster/hints.py), and the
dials they lead to are rationed. What is being dialled is not forgotten, or more could be in flight than may.
"""

from collections.abc import Collection, Container, Iterable, Iterator
from dataclasses import dataclass, field
from math import inf
from random import Random

from cachetools import LRUCache

from cluster.address import has_ip
from cluster.candidate import Candidate, Choice
from cluster.flights import Flights
from cluster.hints import Hints
from cluster.messages import Member
from cluster.tokens import TokenBucket
from cluster.vocabulary import Dial, DialFailed, Effect, Now, Resolve

BEACON_DIALS_PER_S = 5.0
"""Dials led to by beacons, the one source a stranger can feed. Seeds and members are not rationed."""
BACKOFF_S_MIN, BACKOFF_S_MAX = 0.5, 30.0
HIGHER_ID_WAITS_S = 0.3
"""Of two nodes that heard of each other the lower id dials at once; the higher gives it this long."""
HELD_WAIT_S = 0.1
"""How soon to look again when some that are due must wait for others' dials, or for their ration. All of them
at once: if each kept its own time, 200 that drop packets would be 1,900 looks a second, and 123 ms of CPU."""
CANDIDATES_MAX = 1024
"""Addresses known otherwise than from beacons; who was lost for longest goes first, but nobody for what a
peer says: hearsay takes what room there is."""
BEACON_SKIPS_S = 0.1
"""A beacon hurries only dials that are due later than this."""
BEACON_TRIES_MAX = 3
"""A beacon's address that failed so often is forgotten; its node will beacon again if it lives."""
MEMBER_FORGET_S = 24 * 3600.0
"""A lost member is dialled for a day, then forgotten, as its records are. Seeds are never forgotten."""
OWN_S = 3600.0
"""How long an address at which we met ourselves is left alone: another node may have it one day."""
RESOLVE_S = 30.0
"""How often a seed's name is looked up again: at least as often as a lost member is dialled."""


@dataclass(slots=True)
class _Seed:
    """A `--join` value: when it is looked up next, and how the last look-up failed."""

    next_s: float = 0.0
    attempts: int = 0
    error: str = ""
    addresses: list[str] = field(default_factory=list[str])


class Candidates:
    """The table. `linked` is the live view of the node ids that a link is up with."""

    def __init__(self, node_id: bytes, linked: Collection[bytes], seeds: Iterable[str], rng: Random) -> None:
        self._node_id = node_id
        self._linked = linked
        self._rng = rng
        self._seeds = {seed: _Seed() for seed in seeds}
        self._known: dict[str, Candidate] = {}
        self._hints = Hints()
        self._own: LRUCache[str, float] = LRUCache(CANDIDATES_MAX)  # until when
        self._dial_tokens = TokenBucket(BEACON_DIALS_PER_S)
        self._held_s = 0.0

    # --- questions --------------------------------------------------------------------------------------

    @property
    def unlinked(self) -> bool:
        """Whether anybody is known, or hinted at, whom no link is up with."""
        return any(True for _ in self._missing())

    @property
    def lost(self) -> list[Candidate]:
        """Seeds and members that should be linked and are not, for people to look at."""
        return [c for c in self._missing() if not c.beacon]

    @property
    def passive(self) -> list[Candidate]:
        """Addresses of nodes we are not linked with and that were not found wanting."""
        return [c for c in self._known.values() if not c.attempts and self._is_unlinked(c)]

    @property
    def seed_errors(self) -> dict[str, str]:
        """Seeds whose last look-up failed, and why."""
        return {name: seed.error for name, seed in self._seeds.items() if seed.error}

    @property
    def deadline_s(self) -> float | None:
        """When `tick` must be called next (monotonic seconds), or None."""
        times = [self._due_s(c) for c in self._all() if not c.in_flight and self._is_unlinked(c)]
        times += [s.next_s for s in self._seeds.values()]
        return min(times, default=None)

    # --- what was heard ---------------------------------------------------------------------------------

    def remember(self, addresses: Iterable[str]) -> None:
        """Addresses that an earlier run saved: dial them."""
        for address in addresses:
            self._promote(address).saved = True

    def link_up(self, peer: bytes, address: str) -> None:
        """`peer` is linked and can be dialled at `address`: other ideas of where it lives are dropped."""
        candidate = self._promote(address)
        for other, each in list(self._known.items()):
            if each.node_id == peer and each.seed is None and (other == address or not each.in_flight):
                del self._known[other]
        candidate.node_id, candidate.in_flight = peer, False
        candidate.attempts, candidate.lost_s, candidate.error, candidate.refused = 0, None, "", False
        self._known[address] = candidate

    def link_down(self, peer: bytes, reason: str, now: Now) -> None:
        """The link with `peer` is gone: dial again, the lower id first."""
        ours = [c for c in self._known.values() if c.node_id == peer]
        for candidate in ours:
            candidate.next_s = now.s + self._head_start(peer) + self._rng.uniform(0.0, 0.1)
            candidate.lost_s, candidate.error = now.s, reason
        # The other addresses of its name were in no hurry as long as it was there.
        unmet = {c.seed for c in ours if c.seed is not None} - self._met()
        for candidate in self._known.values():
            if candidate.seed in unmet and candidate.node_id is None:
                candidate.next_s = min(candidate.next_s, now.s + BACKOFF_S_MIN)

    def told(
        self, members: Iterable[Member], now: Now, *, hurry: bool = True, head_start: bool = True
    ) -> None:
        """A peer told of others: dial those we are not linked with, as many as there is room for.

        Args:
            hurry: do not wait for the back-off of those that failed.
            head_start: leave it to the lower id to dial first; else nobody but us will.
        """
        for member in members:
            ours = member.node_id == self._node_id or self._is_own(member.address, now)
            if ours or member.node_id in self._linked:
                continue
            next_s = now.s + (self._head_start(member.node_id) if head_start else 0.0)
            known = self._known.get(member.address)
            if known is not None:
                known.saved = False
                if known.node_id not in self._linked:
                    known.node_id = member.node_id
                known.next_s = min(known.next_s, next_s) if hurry else known.next_s
            elif len(self._known) < CANDIDATES_MAX and has_ip(member.address):
                candidate = self._promote(member.address)
                candidate.node_id, candidate.next_s, candidate.lost_s = member.node_id, next_s, now.s

    def beacon(self, node_id: bytes, address: str, now: Now) -> float | None:
        """A beacon was heard. Returns when `tick` is due for it (monotonic seconds), or None."""
        if node_id == self._node_id or node_id in self._linked or self._is_own(address, now):
            return None
        known = self._known.get(address)
        if known is not None:
            # Somebody is back there, perhaps as another node: do not wait for the back-off. A dial will
            # tell who it is; it is rationed, because anybody can send beacons.
            another = known.node_id != node_id
            hurry = (another or not known.refused) and known.next_s > now.s + BEACON_SKIPS_S
            if hurry and (another or known.attempts > 1) and self._dial_tokens.take(now.s):
                known.node_id = None if another else node_id
                known.attempts, known.next_s = 0, now.s
            return None if known.in_flight else self._due_s(known)
        next_s = now.s + self._head_start(node_id)
        new = self._hints.hear(address, node_id, next_s, now.s)
        return None if new is None else self._due_s(new)

    def resolved(self, name: str, addresses: Iterable[str], reason: str, now: Now) -> None:
        """A seed's name was looked up: its addresses are candidates; those it no longer has are not."""
        seed = self._seeds[name]
        found = [a for a in addresses if not self._is_own(a, now)]
        seed.error, seed.attempts = reason, 0 if found else seed.attempts + 1
        seed.next_s = now.s + (RESOLVE_S if found else self._backoff_s(seed.attempts))
        if not found:
            return
        for address in seed.addresses:
            stale = self._known.get(address)
            gone = address not in found and stale is not None and not stale.in_flight
            if gone and stale is not None and self._is_unlinked(stale):
                del self._known[address]
        for address in found:
            self._promote(address).seed = name
        seed.addresses = found

    def dial_failed(self, event: DialFailed, now: Now) -> None:
        """A dial came to nothing: back off, or forget a mere hint or memory that nobody answers to."""
        candidate: Candidate | None = self._known.get(event.address) or self._hints.get(event.address)
        if candidate is None:
            return
        candidate.in_flight, candidate.error, candidate.refused = False, event.reason, event.refused
        candidate.attempts += 1
        if event.node_id is not None:
            candidate.node_id = event.node_id
        spare = candidate.node_id is None and candidate.seed in self._met()
        candidate.next_s = now.s + self._backoff_s(inf if spare else candidate.attempts)
        if candidate.saved:
            if self._linked:
                del self._known[event.address]
            elif candidate.lost_s is None:
                candidate.lost_s = now.s
        if candidate.beacon and not event.refused and candidate.attempts >= BEACON_TRIES_MAX:
            self._hints.drop(event.address)

    def is_self(self, address: str, now: Now) -> None:
        """We dialled ourselves at `address`: not again for `OWN_S`."""
        self._own[address] = now.s + OWN_S
        self._hints.drop(address)
        self._known.pop(address, None)

    # --- what to do -------------------------------------------------------------------------------------

    def tick(self, now: Now, choose: Choice | None = None) -> list[Effect]:
        """Look up seeds and dial candidates that are due; forget members lost for too long.

        Args:
            choose: picks those to dial among those that are due; None: all of them.
        """
        effects: list[Effect] = []
        for name, seed in self._seeds.items():
            if seed.next_s <= now.s:
                seed.next_s = now.s + RESOLVE_S
                effects.append(Resolve(name))
        for address, candidate in list(self._known.items()):
            lost_s = candidate.lost_s
            spare = candidate.seed is None and not candidate.in_flight
            if spare and lost_s is not None and now.s - lost_s > MEMBER_FORGET_S:
                del self._known[address]
        return effects + self._dials(now, choose)

    def shrink(self, room: int, listed: Container[object], rng: Random) -> None:
        """Keep at most `room` known addresses, of seeds and links all.

        Those `listed` elsewhere go first, at random, then those never linked with, then who has been lost
        for longest: what cannot be learnt again is kept.
        """
        excess = len(self._known) - room
        if excess <= 0:
            return
        spare = [(a, c) for a, c in self._known.items() if c.seed is None and self._is_unlinked(c)]
        spare = [(a, c) for a, c in spare if not c.in_flight]
        rng.shuffle(spare)
        spare.sort(
            key=lambda each: (each[1].node_id not in listed, bool(each[1].error), each[1].lost_s or 0.0)
        )
        for address, _ in spare[:excess]:
            del self._known[address]

    def _dials(self, now: Now, choose: Choice | None) -> list[Effect]:
        """Choose whom to dial now: seeds and members first, then hints."""
        flights = Flights(self._all())
        due = [c for c in self._all() if not c.in_flight and c.next_s <= now.s and self._is_unlinked(c)]
        due.sort(key=lambda c: (c.beacon, c.saved, self._hints.rank(c) if c.beacon else (c.next_s, 0, 0.0)))
        effects: list[Effect] = []
        for candidate in due if choose is None else choose(due):
            held = not flights.has_room(candidate)
            if held or (candidate.beacon and not self._dial_tokens.take(now.s)):
                self._held_s = now.s + HELD_WAIT_S
                continue
            candidate.in_flight = True
            flights.add(candidate)
            if candidate.beacon:
                self._hints.dialled(candidate.address, now.s)
            effects.append(Dial(candidate.address))
        return effects

    def _promote(self, address: str) -> Candidate:
        """Return the candidate at `address` as a known one; what was a hint keeps its dial in flight."""
        candidate = self._known.get(address) or self._hints.drop(address) or Candidate(address)
        candidate.beacon = candidate.saved = False
        if address not in self._known and len(self._known) >= CANDIDATES_MAX:
            self._forget_one()
        self._known[address] = candidate
        return candidate

    def _forget_one(self) -> None:
        """Make room among the known: who has been lost for longest goes, seeds and the linked stay."""
        spare = (c for c in self._known.values() if c.seed is None and not c.in_flight)
        lost = [c for c in spare if self._is_unlinked(c)]
        if lost:
            del self._known[min(lost, key=lambda c: c.lost_s or 0.0).address]

    def _all(self) -> list[Candidate]:
        return [*self._known.values(), *self._hints.all()]

    def _missing(self) -> Iterator[Candidate]:
        """Those that should be linked and are not.

        Spare addresses of a name that somebody is linked by are not: they may be the same node's, or out of
        reach. They are dialled, slowly, for they may be other nodes'.
        """
        met = self._met()
        return (c for c in self._all() if self._is_unlinked(c) and not (c.node_id is None and c.seed in met))

    def _met(self) -> set[str | None]:
        """Seeds by one of whose addresses somebody is linked."""
        at = {a for a, c in self._known.items() if c.node_id in self._linked}
        return {name for name, seed in self._seeds.items() if not at.isdisjoint(seed.addresses)}

    def _is_own(self, address: str, now: Now) -> bool:
        return now.s < self._own.get(address, 0.0)

    def _due_s(self, candidate: Candidate) -> float:
        """When to dial, or to look again whether there is room."""
        return max(candidate.next_s, self._held_s)

    def _is_unlinked(self, candidate: Candidate) -> bool:
        return candidate.node_id != self._node_id and candidate.node_id not in self._linked

    def _head_start(self, node_id: bytes) -> float:
        """How long to leave it to the other one to dial us, in seconds."""
        return 0.0 if self._node_id < node_id else HIGHER_ID_WAITS_S

    def _backoff_s(self, attempts: float) -> float:
        """0.5, 1, 2, … 30 s, each times 0.5 to 1, so that nodes that lost each other spread out."""
        whole_s: float = min(BACKOFF_S_MIN * 2 ** min(attempts - 1, 10), BACKOFF_S_MAX)
        return whole_s * self._rng.uniform(0.5, 1.0)
