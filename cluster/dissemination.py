"""How a new record reaches every node: the origin pushes it to all, receivers announce it to a few.

Up to 64 nodes all are linked with all, so one hop and one payload per node is the optimum, and the
origin takes it. What remains is an origin that dies, or is cut off, half way. So each receiver tells
four others which records it has (IHAVE): its two neighbours on the ring of node ids and two at random.
Random ones alone leave 3 to 6 % uncovered in simulation; the ring is what makes it a guarantee, since
a chain of neighbours leads from any node that has the record to any other that is alive.

Records over `EAGER_BYTES_MAX` are announced instead of pushed, by the origin too: above that size a
second payload costs more than a round trip.
"""

from collections.abc import Iterable, Sequence
from random import Random

from cluster.codec import split_digests
from cluster.messages import IHave, Want
from cluster.pull import Pull
from cluster.vocabulary import Effect, Holdings, Now, PushRecords, Received, Send, Serve

EAGER_BYTES_MAX = 64 * 1024
"""Largest record that is pushed without being asked for. Gossipsub's measurements put the point where
announcing first begins to win between 64 and 128 KiB."""

ANNOUNCE_DELAY_S = 0.010
"""How long announcements gather, so that a burst costs one IHAVE per neighbour instead of one a record, and
so that they do not compete with payloads still on their way: with 10 nodes on 2 cores the last node has a
record 1.1 ms sooner than with 1 ms. An origin's death costs 9 ms more (docs/decisions/0005)."""

IHAVE_DIGESTS_MAX = 16_384
"""Digests in one IHAVE: 512 KiB, half a frame."""

RANDOM_NEIGHBOURS = 2


class Dissemination:
    """Push what is posted here, announce what was pushed to us, serve what others want."""

    def __init__(self, node_id: bytes, holdings: Holdings, pull: Pull, rng: Random) -> None:
        self._node_id = node_id
        self._holdings = holdings
        self._pull = pull
        self._rng = rng
        self._to_announce: dict[tuple[bytes, bytes], list[bytes]] = {}  # (origin, from whom): digests
        self._announce_s: float | None = None
        self.pushed_total = 0
        self.duplicate_total = 0
        self.degraded_total = 0

    @property
    def deadline_s(self) -> float | None:
        """When `tick` must be called next (monotonic seconds), or None."""
        return self._announce_s

    def stored(
        self, digests: Sequence[bytes], large: Sequence[bytes], peers: Sequence[bytes]
    ) -> list[Effect]:
        """Send records posted here to every peer: `digests` as payloads, `large` as announcements."""
        effects: list[Effect] = []
        if digests and peers:
            self.pushed_total += len(digests) * len(peers)
            effects.append(PushRecords(peers, digests))
        if large:
            effects += [message for peer in peers for message in announce(peer, self._node_id, large)]
        return effects

    def received(self, event: Received, now: Now) -> None:
        """Take note of what a peer's records came to, and plan to announce what was new.

        Pages of a catch-up are not announced: whoever is behind catches up by itself.
        """
        if event.stored:
            self._pull.stored()
        for digest in event.stored:
            origin = self._pull.arrived(digest, now.s)
            if event.of_page or origin == b"":
                continue
            source = event.peer if origin is None else origin
            self._to_announce.setdefault((source, event.peer), []).append(digest)
            if self._announce_s is None:
                self._announce_s = now.s + ANNOUNCE_DELAY_S
        for digest in event.known:
            self._pull.arrived(digest, now.s)
        self._pull.refused(event.ignored)
        if event.known and not event.of_page:
            self.duplicate_total += len(event.known)
            self._pull.came_twice()
        if event.full:
            self._pull.pause(now.s)

    def ihave(self, peer: bytes, message: IHave, peers: Sequence[bytes], now: Now) -> None:
        """Note which of the announced records are missing here.

        They are wanted at once when nobody will push them: the origin is the announcer itself (a large
        record), unknown (a reconciliation), or not linked with us.
        """
        if self._pull.paused(now.s):
            return
        missing = [d for d in split_digests(message.digests) if not self._holdings.has(d)]
        if missing:
            at_once = message.origin == peer or message.origin not in peers
            self._pull.announced(peer, message.origin, missing, now.s, at_once=at_once)

    def want(self, peer: bytes, message: Want) -> list[Effect]:
        """Serve what a peer asks for; what has expired meanwhile is left out when it is looked up."""
        return [Serve(peer, split_digests(message.digests))]

    def degraded(self, peer: bytes, digests: Sequence[bytes]) -> list[Effect]:
        """A peer's outbox was full: announce what it was not sent, so that loss becomes delay."""
        self.degraded_total += len(digests)
        return announce(peer, b"", digests)

    def tick(self, peers: Sequence[bytes], now: Now) -> list[Effect]:
        """Announce what has gathered, if it is time."""
        if self._announce_s is None or now.s < self._announce_s:
            return []
        self._announce_s = None
        effects: list[Effect] = []
        for (origin, source), digests in self._to_announce.items():
            for peer in self._neighbours(peers, {origin, source}):
                effects += announce(peer, origin, digests)
        self._to_announce = {}
        return effects

    def _neighbours(self, peers: Iterable[bytes], but: set[bytes]) -> list[bytes]:
        """The two next on the ring of node ids, one to each side, and two at random, without `but`."""
        others = sorted(p for p in peers if p not in but)
        if len(others) <= 2 + RANDOM_NEIGHBOURS:
            return others
        after = next((i for i, p in enumerate(others) if p > self._node_id), 0)
        ring = [others[after], others[after - 1]]
        rest = [p for p in others if p not in ring]
        return ring + self._rng.sample(rest, RANDOM_NEIGHBOURS)


def announce(peer: bytes, origin: bytes, digests: Sequence[bytes]) -> list[Effect]:
    """Tell `peer` that we hold `digests`. `origin`: who pushes them eagerly; empty when nobody does."""
    parts = (digests[i : i + IHAVE_DIGESTS_MAX] for i in range(0, len(digests), IHAVE_DIGESTS_MAX))
    return [Send(peer, IHave(origin, b"".join(part))) for part in parts]
