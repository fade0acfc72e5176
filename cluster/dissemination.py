"""How a new record reaches every node: pushed along a tree, and announced beside it.

Up to 64 nodes all are linked with all, so one hop and one payload per node is the optimum, and the
origin takes it. What remains is an origin that dies, or is cut off, half way. So each receiver tells
four others which records it has (IHAVE): its two neighbours on the ring of node ids and two at random.
Random ones alone leave 3 to 6 % uncovered in simulation; the ring is what makes it a guarantee, since
a chain of neighbours leads from any node that has the record to any other that is alive.

In a larger cluster a node is linked with few (cluster/hyparview.py), so what is new is passed on: pushed
along the origin's tree and announced to the peers beside it (cluster/plumtree.py).

What a peer brings unasked and without an origin nobody else was told of: whoever stores it announces it.
Records over `EAGER_BYTES_MAX` are announced instead of pushed, by the origin too: above that size a
second payload costs more than a round trip.
"""

from collections.abc import Iterable, Sequence
from random import Random

from cluster.codec import split_digests, split_node_ids
from cluster.members import Members
from cluster.messages import FACTS, IHAVE_DIGESTS_MAX, Graft, IHave, Prune, Want
from cluster.plumtree import Trees
from cluster.pull import GRAFT_S_START, Pull
from cluster.vocabulary import Degraded, Effect, Holdings, Now, PushRecords, Received, Send, Serve
from validator import Record

EAGER_BYTES_MAX = 64 * 1024
"""Largest record that is pushed without being asked for. Gossipsub's measurements put the point where
announcing first begins to win between 64 and 128 KiB."""
_FEW_CHARS = EAGER_BYTES_MAX // 8

ANNOUNCE_DELAY_S = 0.010
"""How long announcements gather, so that a burst costs one IHAVE per neighbour instead of one a record, and
so that they do not compete with payloads still on their way: with 10 nodes on 2 cores the last node has a
record 1.1 ms sooner than with 1 ms. An origin's death costs 9 ms more (docs/decisions/0005)."""

ANNOUNCE_PAUSE_S = 0.050
"""The least time between two rounds of announcements. In a stream of 5,000 records a second with 10 nodes,
one each 10 ms cost a receiver as much as the records did. Where a push was lost they do not pause."""

TREE_GRAFT_S = 0.020
"""The graft timer that trees begin with. Asking too early costs one payload there and doubles the
timer; asking late delays a whole branch: after a third of 1,000 nodes died, the last one waited 180 ms
with the full mesh's 250."""

FACT_ANNOUNCE_DELAY_S = 1.0
"""The same for member facts, which nobody waits for: one IHAVE a second then covers all of them."""

RANDOM_NEIGHBOURS = 2


def large_among(records: Iterable[Record]) -> list[bytes]:
    """Return the digests of those that are announced instead of pushed; of few characters none is."""
    return [r.digest for r in records if len(r.raw) > _FEW_CHARS and r.size_bytes > EAGER_BYTES_MAX]


class Dissemination:
    """Push what is new, announce what was pushed to us, serve what others want."""

    def __init__(
        self, node_id: bytes, holdings: Holdings, members: Members, pull: Pull, trees: Trees, rng: Random
    ) -> None:
        self._node_id = node_id
        self._holdings = holdings
        self._members = members
        self._pull = pull
        self._trees = trees
        self._rng = rng
        self._to_announce: dict[tuple[bytes, bytes], list[bytes]] = {}  # (origin, from whom): digests
        self._announce_s: float | None = None
        self._announced_s = -ANNOUNCE_PAUSE_S
        # Digests of this round of announcements and of the one before. Four neighbours announce what was just
        # brought; looking here first is eight times as fast as asking the store (12 % of a receiver's time).
        self._lately: tuple[set[bytes], set[bytes]] = set(), set()
        self._facts: list[bytes] = []
        self._facts_s: float | None = None
        self.partial = False
        self.pushed_total = 0
        self.duplicate_total = 0
        self.degraded_total = 0

    @property
    def deadline_s(self) -> float | None:
        """When `tick` must be called next (monotonic seconds), or None."""
        return min((t for t in (self._announce_s, self._facts_s) if t is not None), default=None)

    def turn(self, *, partial: bool) -> None:
        """The tier has changed: trees begin anew, and so does the graft timer."""
        self.partial = partial
        self._trees.clear()
        self._pull.begin(TREE_GRAFT_S if partial else GRAFT_S_START)

    # --- what is new ------------------------------------------------------------------------------------

    def stored(
        self, digests: Sequence[bytes], large: Sequence[bytes], peers: Sequence[bytes], now: Now
    ) -> list[Effect]:
        """Send records accepted here to every peer: `digests` as payloads, `large` as announcements."""
        effects = self._push(self._node_id, self._node_id, digests, peers, now) if digests else []
        if large:
            origin = b"" if self.partial else self._node_id
            effects += [message for peer in peers for message in announce(peer, origin, large)]
        return effects

    def published(self, fact: bytes, peers: Sequence[bytes], now: Now) -> list[Effect]:
        """Send this node's member fact on its way: `fact` is its digest."""
        return self._push(self._members.tree(fact), self._node_id, [fact], peers, now)

    def received(self, event: Received, peers: Sequence[bytes], now: Now) -> list[Effect]:
        """Take note of what a peer's records came to, pass on what is new, and plan to announce it.

        Pages of a catch-up are not announced: whoever is behind catches up by itself.
        """
        effects: list[Effect] = []
        if event.origin:
            self._pull.pushed(event.peer, event.origin, now.s)
        expected = self._pull.arrived(event.stored, now.s)
        if event.stored and not event.of_page:
            effects += self._news(event, expected, peers, now)
        if any(not self._members.has(digest) for digest in event.stored):
            self._pull.stored()
        self._pull.arrived(event.known, now.s)
        self._pull.refused(event.ignored)
        if event.known and not event.of_page:
            effects += self._came_twice(event, now)
        if event.full:
            self._pull.pause(now.s)
        return effects

    def _news(
        self, event: Received, expected: dict[bytes, bytes], peers: Sequence[bytes], now: Now
    ) -> list[Effect]:
        """Pass on what a peer brought, or plan to announce it. `expected`: as `Pull.arrived` returns it."""
        effects: list[Effect] = []
        if event.origin and not (expected or event.large or self._members.among(event.stored)):
            return self._pass_on(event.origin, event.peer, event.stored, peers, now)  # nearly always
        onward: dict[bytes, list[bytes]] = {}
        mended: list[bytes] = []
        unasked = b"" if self.partial else self._node_id  # nobody was told of it: it is announced from here
        for digest in event.stored:
            tree = self._members.tree(digest)
            origin = expected.get(digest, unasked)
            if tree and not event.origin:
                mended.append(tree)  # the tree did not bring it
            if digest in event.large and (self.partial or not origin):
                self._plan(b"", event.peer, [digest], now)
            else:
                onward.setdefault(tree or event.origin or origin, []).append(digest)
        for origin, digests in onward.items():
            effects += self._pass_on(origin, event.peer, digests, peers, now)
        if not event.origin and self._announce_s is not None:
            # It had to be asked for, so others may lack it too: no pause.
            self._announce_s = min(self._announce_s, now.s + ANNOUNCE_DELAY_S)
        if mended and self.partial:
            effects.append(Send(event.peer, Graft(b"".join(mended))))
        return effects

    def _pass_on(
        self, origin: bytes, source: bytes, digests: Sequence[bytes], peers: Sequence[bytes], now: Now
    ) -> list[Effect]:
        if self.partial and origin:
            effects = self._push(origin, source, digests, peers, now)
            self._trees.first(origin, source)
            return effects
        if origin or self.partial:
            self._plan(origin, source, digests, now)
        return []

    def _push(
        self, origin: bytes, source: bytes, digests: Sequence[bytes], peers: Sequence[bytes], now: Now
    ) -> list[Effect]:
        """Push to the eager peers of the origin's tree and plan to announce to the lazy ones."""
        fact = self._members.has(digests[0])
        if self.partial and fact:
            self._trees.plant(origin, source, peers)
        eager, lazy = self._split(origin, source, peers)
        if lazy or fact:
            self._plan(origin, source, digests, now)
        if not eager:
            return []
        self.pushed_total += len(digests) * len(eager)
        return [PushRecords(eager, digests, origin)]

    def _split(self, origin: bytes, source: bytes, peers: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
        others = [p for p in peers if p not in (origin, source)]
        return self._trees.split(origin, others) if self.partial else (others, [])

    def _came_twice(self, event: Received, now: Now) -> list[Effect]:
        """Payloads were spent in vain: prune who pushed them, or ask later next time."""
        self.duplicate_total += len(event.known)
        if not (self.partial and event.origin):
            self._pull.came_twice()
        elif self._trees.again(event.origin, event.peer, now.s):
            return [Send(event.peer, Prune(event.origin))]
        return []

    # --- what peers say ---------------------------------------------------------------------------------

    def ihave(self, peer: bytes, message: IHave, peers: Sequence[bytes], now: Now) -> None:
        """Note which of the announced records are missing here.

        They are wanted at once when nobody will push them: the announcer should (its outbox was full, or the
        record is large or came unasked), the origin is unknown (a reconciliation), or, in the full mesh, not
        linked with us. Nor does anybody wait for member facts, and a full store does not keep them out.
        """
        digests, origin = split_digests(message.digests), message.origin
        if self._pull.paused(now.s) and origin != FACTS:
            return
        now_here, then_here = self._lately
        unsure = [d for d in digests if d not in now_here and d not in then_here]
        missing = [d for d in unsure if not (self._holdings.has(d) or self._members.has(d))]
        pusher = (self._trees.parent(origin) or b"") if self.partial else origin
        at_once = origin in (b"", FACTS) or peer == pusher or not (self.partial or origin in peers)
        if self.partial and not at_once:
            self._trees.announced(origin, peer)
            self._pull.came_first(len(digests) - len(missing))
        if missing:
            self._pull.announced(peer, origin, missing, now.s, at_once=at_once, pusher=pusher)

    def want(self, peer: bytes, message: Want) -> list[Effect]:
        """Serve what a peer asks for; what has expired meanwhile is left out when it is looked up."""
        return [Serve(peer, split_digests(message.digests))]

    def prune(self, peer: bytes, message: Prune, now: Now) -> None:
        """A peer has a shorter way."""
        if self.partial:
            self._trees.pruned(message.origin, peer, now.s)

    def graft(self, peer: bytes, message: Graft) -> list[Effect]:
        """A peer has lost its way, or found ours shorter: push to it from now on.

        What waits to be announced beside the tree would pass it by now, so it is told of that at once; one
        that was in the tree has been pushed that, and would ask for it again.
        """
        effects: list[Effect] = []
        origins = split_node_ids(message.origins) if self.partial else []
        grafted = {origin for origin in origins if self._trees.grafted(origin, peer)}
        for (origin, source), digests in self._to_announce.items():
            if origin in grafted and source != peer:
                effects += announce(peer, origin, digests)
        return effects

    def degraded(self, event: Degraded) -> list[Effect]:
        """A peer's outbox was full: announce what it was not sent, so that loss becomes delay."""
        self.degraded_total += len(event.digests)
        return announce(event.peer, event.origin, event.digests)

    def link_down(self, peer: bytes, now: Now) -> None:
        """A link is gone: what it would have brought is due from others, now and later."""
        self._pull.link_down(peer, now.s)
        self._trees.link_down(peer)
        if self._announce_s is not None:
            self._announce_s = now.s

    # --- time -------------------------------------------------------------------------------------------

    def tick(self, peers: Sequence[bytes], now: Now) -> list[Effect]:
        """Announce what has gathered and ask for what is missing, if it is time."""
        grafts = self._trees.orphans()
        effects: list[Effect] = [Send(p, Graft(b"".join(origins))) for p, origins in grafts.items()]
        if self._announce_s is not None and now.s >= self._announce_s:
            self._announce_s, self._announced_s = None, now.s
            self._lately = set(), self._lately[0]
            for (origin, source), digests in self._to_announce.items():
                for peer in self._beside(origin, source, peers):
                    effects += announce(peer, origin, digests)
            self._to_announce = {}
        if self._facts_s is not None and now.s >= self._facts_s:
            self._facts_s = None
            facts = [d for d in self._facts if self._members.has(d)]
            for peer in self._neighbours(peers, set()) if facts else ():
                effects += announce(peer, FACTS, facts)
            self._facts = []
        for ask in self._pull.tick(now.s):
            effects.append(Send(ask.peer, Want(b"".join(ask.digests))))
            if self.partial and ask.origins:
                for origin in ask.origins:
                    self._trees.grafted(origin, ask.peer)
                effects.append(Send(ask.peer, Graft(b"".join(ask.origins))))
        return effects

    def _plan(self, origin: bytes, source: bytes, digests: Sequence[bytes], now: Now) -> None:
        """Put aside what is to be announced."""
        records = digests
        if facts := self._members.among(digests):
            records = [d for d in digests if not self._members.has(d)]
            self._facts += facts
            self._facts_s = self._facts_s or now.s + FACT_ANNOUNCE_DELAY_S
        if records:
            self._to_announce.setdefault((origin, source), []).extend(records)
            self._lately[0].update(records)
            due_s = max(now.s + ANNOUNCE_DELAY_S, self._announced_s + ANNOUNCE_PAUSE_S)
            self._announce_s = self._announce_s or due_s

    def _beside(self, origin: bytes, source: bytes, peers: Sequence[bytes]) -> list[bytes]:
        """Whom to tell of a record: the peers beside the tree, or all when no tree carries it."""
        if not self.partial:
            return self._neighbours(peers, {origin, source})
        return self._split(origin, source, peers)[1] if origin else [p for p in peers if p != source]

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
