"""Receipts: how many nodes hold a record, counted at the node where a client waits to know.

That node asks its peers (`Confirm`), beside the push and not instead of it. A peer answers (`Held`) once it
holds a record, whatever way it came, and again when it has lost it to a smaller key. Nothing is inferred from
having been sent: a payload that was degraded, pulled, refused or never read is counted for what became of it.
A count goes with its link, so the dead are not counted.

Up to 64 nodes the one who asks is linked with all, and each peer answers for itself. In a larger cluster a
question goes on to all links, and each node answers only to the first who asked it, for itself and all that
report to it: the answers of a wave gather along a spanning tree (the echo algorithm). No node ever turns to
another asker, so none is counted twice; what hangs on a node that died meanwhile is not counted at all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cluster.codec import split_digests
from cluster.messages import CONFIRM_DIGESTS_MAX, NODES_MAX, Confirm, Held
from cluster.vocabulary import Ask, Effect, Holdings, Now, Reached, Send

ASKED_DIGESTS_MAX = 4_096
"""Digests that one peer may have asked for at a time: 16 of the largest questions, a second's work. Beyond it
the oldest question is forgotten; it has been answered, or its client waits in vain and is told so."""

LIFE_S_MAX = 60.0
"""The longest a client may wait, and so the longest that a question is remembered."""

REPORT_S = 0.005
"""How long reports of others gather before they are passed on. Our choice: a wave has few hops."""

SWEEP_S = 1.0
"""How often questions are looked through for those that are over."""

_Key = tuple[bytes, int]


@dataclass(slots=True, eq=False)
class _Question:
    """One question as this node knows it. `asker`: who gets the answer; `cut`: that link is gone; `whole_s`:
    since when (monotonic seconds) a peer is known to hold all of it."""

    key: _Key
    asker: bytes
    digests: list[bytes]
    until_s: float
    onward: bool
    cut: bool = False
    asked: frozenset[bytes] = frozenset()
    reported: dict[bytes, list[int]] = field(default_factory=dict[bytes, list[int]])
    whole_s: dict[bytes, float] = field(default_factory=dict[bytes, float])
    told: list[int] = field(default_factory=list[int])
    of: int = 1

    def confirm(self, now: Now) -> Confirm:
        """Word it for a peer."""
        left_ms = max(int((self.until_s - now.s) * 1000), 0)
        return Confirm(*self.key, b"".join(self.digests), left_ms, self.onward)

    def counts(self, holdings: Holdings) -> list[int]:
        """How many nodes hold each of the digests, this one and those that report to it."""
        reports = self.reported.values()
        sums = (int(holdings.has(d)) + sum(r[i] for r in reports) for i, d in enumerate(self.digests))
        return [min(count, NODES_MAX) for count in sums]


class Receipts:
    """The questions that were asked here, and those of others that this node answers."""

    def __init__(self, node_id: bytes, holdings: Holdings) -> None:
        self._node_id = node_id
        self._holdings = holdings
        self._questions: dict[_Key, _Question] = {}
        self._by_digest: dict[bytes, list[_Question]] = {}
        self._of_asker: dict[bytes, dict[_Key, _Question]] = {}  # each in the order they came
        self._asker_digests: dict[bytes, int] = {}
        self._news: dict[_Question, None] = {}  # to be passed on at `_report_s`
        self._report_s: float | None = None
        self._sweep_s: float | None = None
        self.held_total = 0

    @property
    def deadline_s(self) -> float | None:
        """When `tick` must be called next (monotonic seconds), or None."""
        return min((t for t in (self._report_s, self._sweep_s) if t is not None), default=None)

    def __len__(self) -> int:
        return len(self._questions)

    # --- asked here -------------------------------------------------------------------------------------

    def ask(self, event: Ask, peers: Sequence[bytes], size: int, now: Now, *, onward: bool) -> list[Effect]:
        """Ask all peers. `size`: nodes of the cluster; `onward`: whether peers should ask theirs."""
        question = _Question(
            (self._node_id, event.number),
            self._node_id,
            list(event.digests),
            now.s + min(event.life_s, LIFE_S_MAX),
            onward,
            asked=frozenset(peers),
            of=max(size, 1 + len(peers)) if onward else 1 + len(peers),
        )
        assert len(question.digests) <= CONFIRM_DIGESTS_MAX
        self._add(question)
        return [Send(peer, question.confirm(now)) for peer in peers]

    def forget(self, number: int) -> None:
        """Drop a question that was asked here."""
        question = self._questions.get((self._node_id, number))
        if question is not None:
            self._drop(question)

    def counts(self, number: int) -> tuple[list[int], int]:
        """Tell how many nodes hold each record of a question asked here, as far as this one knows.

        Returns:
            for each digest the nodes known to hold it now, this one included; and how many nodes there were
            when it was asked. What this node itself holds no more (superseded, over) counts as held by none:
            whoever reported it may have dropped it too.
        """
        question = self._questions[self._node_id, number]
        counts = question.counts(self._holdings)
        held = [self._holdings.has(d) for d in question.digests]
        return [min(c, question.of) * h for c, h in zip(counts, held, strict=True)], question.of

    def arrivals(self, number: int) -> dict[bytes, float]:
        """Tell which peers hold all of a question asked here, and since when (monotonic seconds)."""
        return dict(self._questions[self._node_id, number].whole_s)

    # --- what happens -----------------------------------------------------------------------------------

    def changed(self, digests: Iterable[bytes]) -> list[Effect]:
        """Take note that records have come to be held here, or are held no more."""
        if not self._by_digest:
            return []
        touched = dict.fromkeys(q for d in digests for q in self._by_digest.get(d, ()))
        return [effect for question in touched for effect in self._tell(question)]

    def confirm(self, peer: bytes, message: Confirm, peers: Sequence[bytes], now: Now) -> list[Effect]:
        """Answer a peer's question, now or when there is something to answer."""
        key = message.origin, message.number
        known = self._questions.get(key)
        if known is not None:
            if known.asker != peer:
                return []  # one's own, or asked by another before: counted there
            known.told = [0] * len(known.digests)  # its link broke and is back
            return self._tell(known)
        digests = split_digests(message.digests)
        if message.origin == self._node_id or not self._room(peer, len(digests), message.onward):
            return []
        others = [p for p in peers if p not in (peer, message.origin)] if message.onward else []
        life_s = min(message.life_ms / 1000, LIFE_S_MAX)
        question = _Question(key, peer, digests, now.s + life_s, message.onward, asked=frozenset(others))
        question.told = [0] * len(digests)
        self._add(question)
        self._sweep_s = self._sweep_s or now.s + SWEEP_S
        return self._tell(question) + [Send(other, question.confirm(now)) for other in others]

    def held(self, peer: bytes, message: Held, now: Now) -> list[Effect]:
        """Take a peer's answer: it replaces the one before."""
        question = self._questions.get((message.origin, message.number))
        if question is None or peer not in question.asked or len(message.counts) != len(question.digests):
            return []
        self.held_total += 1
        question.reported[peer] = message.counts
        if not all(message.counts):
            question.whole_s.pop(peer, None)
        elif peer not in question.whole_s:
            question.whole_s[peer] = now.s
        if question.asker == self._node_id:
            return self._tell(question)
        self._news[question] = None
        self._report_s = self._report_s or now.s + REPORT_S
        return []

    def link_up(self, peer: bytes, now: Now) -> list[Effect]:
        """Ask again a peer whose link broke while somebody waits here."""
        own = self._of_asker.get(self._node_id, {}).values()
        return [Send(peer, q.confirm(now)) for q in own if peer in q.asked and not q.onward]

    def link_down(self, peer: bytes) -> list[Effect]:
        """Count no more what a peer reported, and answer its questions no more."""
        for question in list(self._of_asker.get(peer, {}).values()):
            if question.onward:
                question.cut = True  # remembered, so that no other asker gets an answer as well
            else:
                self._drop(question)
        shrunk = [q for q in self._questions.values() if q.reported.pop(peer, None) is not None]
        for question in shrunk:
            question.whole_s.pop(peer, None)
        return [effect for question in shrunk for effect in self._tell(question)]

    def tick(self, now: Now) -> list[Effect]:
        """Pass on what has gathered and forget what is over, if it is time."""
        effects: list[Effect] = []
        if self._report_s is not None and now.s >= self._report_s:
            self._report_s = None
            effects = [effect for question in list(self._news) for effect in self._tell(question)]
        if self._sweep_s is not None and now.s >= self._sweep_s:
            foreign = [q for q in self._questions.values() if q.key[0] != self._node_id]
            over = [q for q in foreign if q.until_s <= now.s]
            for question in over:
                self._drop(question)
            self._sweep_s = now.s + SWEEP_S if len(foreign) > len(over) else None
        return effects

    # --- the table --------------------------------------------------------------------------------------

    def _tell(self, question: _Question) -> list[Effect]:
        """Report how things are to whoever asked, unless that is known there."""
        if question.asker == self._node_id:
            return [Reached(question.key[1])]
        self._news.pop(question, None)
        counts = question.counts(self._holdings)
        if question.cut or counts == question.told:
            return []
        question.told = counts
        return [Send(question.asker, Held(*question.key, counts))]

    def _room(self, asker: bytes, digests: int, onward: bool) -> bool:
        """Make room for a question. One that goes on is refused instead: forgetting one that a neighbour asks
        as well would have it answered twice."""
        while self._asker_digests.get(asker, 0) + digests > ASKED_DIGESTS_MAX:
            if onward:
                return False
            self._drop(next(iter(self._of_asker[asker].values())))
        return True

    def _add(self, question: _Question) -> None:
        self._questions[question.key] = question
        asker = question.asker
        self._of_asker.setdefault(asker, {})[question.key] = question
        self._asker_digests[asker] = self._asker_digests.get(asker, 0) + len(question.digests)
        for digest in question.digests:
            self._by_digest.setdefault(digest, []).append(question)

    def _drop(self, question: _Question) -> None:
        del self._questions[question.key]
        self._news.pop(question, None)
        asker = question.asker
        del self._of_asker[asker][question.key]
        self._asker_digests[asker] -= len(question.digests)
        if not self._of_asker[asker]:
            del self._of_asker[asker], self._asker_digests[asker]
        for digest in question.digests:
            self._by_digest[digest].remove(question)
            if not self._by_digest[digest]:
                del self._by_digest[digest]
