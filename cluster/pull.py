"""Records we know of but do not hold: from whom to want them, and when.

Every way of hearing about a record (a neighbour's IHAVE, the result of a reconciliation, an announced
large record) ends in this one table, so a record is asked for once at a time whoever told of it. An
entry whose origin will push it waits a *graft timer* first, because the payload is most likely on its
way; one nobody will push is asked for at once.

The graft timer adapts: four times the largest recent gap between an IHAVE and the eager payload that
followed it, within 5 to 250 ms, and twice as long after a payload that came twice (PlumTree leaves the
value open; iroh-gossip uses 80 ms; our choice to measure it, because asking too early is paid for with
a second payload and asking late with delay only when an origin dies). It does not run out while whoever is
to push the record delivers others of its origin, or did a moment ago: a link keeps the order, so what is late
on it is behind, not lost (docs/decisions/0008).
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cluster.messages import FACTS
from cluster.shares import Shares

ASKED_MAX = 2_048
"""Records asked of one peer at a time: 64 KiB of digests, and an answer that other traffic can pass."""

GRAFT_S_MIN = 0.005
GRAFT_S_MAX = 0.250
GRAFT_S_START = 0.120
"""Before anything is measured. When an origin dies and a single node of 64 has its record, three or four
graft timers pass one after the other until all have it; that shall be well under a second."""
GRAFT_FACTOR = 4.0
GAP_FADE = 0.99
"""A maximum that fades by a hundredth with each frame stands in for a high percentile of the gap. With each
record it would forget within 10 ms of a burst, and busy nodes would ask for what is on its way."""

ASK_TIMEOUT_S = 3.0
"""How long a peer may take to send what was asked of it before another is asked."""

STREAM_S = 0.4
"""How long after its last push a peer is taken to have more on its way. More than the longest graft timer: of
ten nodes on two cores each waits long for its turn, and then asked for what lay in its own socket, unread."""

STREAMS_MAX = 1_024
"""Origins whose streams through one peer are remembered; with one more all of that peer's are forgotten, and
what is behind on it may be asked for. Our choice: 0.1 MB; in a large cluster a peer may name any origin."""

BEHIND_S_MAX = 20.0
"""How long a record may be behind on the link that is to bring it: as long as a full outbox may take, and one
sync interval, in which a reconciliation finds what was lost there all the same."""

TRIES_MAX = 8
"""After so many unanswered requests the entry is dropped; it may have expired everywhere."""

FULL_PAUSE_S = 20.0
"""How long to ask for nothing after the store refused for want of room: one sync interval."""


@dataclass(slots=True)
class _Missing:
    """One record that is not here: whose it is, who would push it, who has it, who was asked, what next.

    `teller`: whose share it is in: who announced it first; empty once our own reconciliation has found it.
    """

    teller: bytes
    origin: bytes
    pusher: bytes
    heard_s: float
    due_s: float
    announcers: list[bytes] = field(default_factory=list[bytes])
    asked: bytes | None = None
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Ask:
    """What to ask of a peer. `origins`: whose records it shall push from now on (a set in order)."""

    peer: bytes
    digests: list[bytes] = field(default_factory=list[bytes])
    origins: dict[bytes, None] = field(default_factory=dict[bytes, None])


class Pull:
    """The table of missing records."""

    def __init__(self) -> None:
        self._missing: OrderedDict[bytes, _Missing] = OrderedDict()
        self._shares = Shares()
        self._asked_of: dict[bytes, int] = {}
        self._gap_s = GRAFT_S_START / GRAFT_FACTOR
        self._paused_until_s = 0.0
        self._cautious = False
        self._waiting = False
        self._delivered_s: dict[bytes, float] = {}
        self._pushed_s: dict[bytes, dict[bytes, float]] = {}  # by peer and origin
        self._next_s: float | None = None
        self.overflow_total = 0
        self.asked_total = 0

    def __len__(self) -> int:
        return len(self._missing)

    @property
    def found(self) -> int:
        """How many of them our own reconciliation found."""
        return self._shares[b""]

    @property
    def graft_s(self) -> float:
        """How long an announced record is given to arrive by itself, in seconds."""
        return min(max(self._gap_s * GRAFT_FACTOR, GRAFT_S_MIN), GRAFT_S_MAX)

    @property
    def deadline_s(self) -> float | None:
        """When `tick` is next worth calling (monotonic seconds; may be early, never late), or None."""
        return self._next_s if self._missing else None

    def announced(
        self,
        peer: bytes,
        origin: bytes,
        digests: Iterable[bytes],
        now_s: float,
        *,
        at_once: bool,
        pusher: bytes = b"",
        found: bool = False,
    ) -> None:
        """Note that `peer` holds `digests`, none of which is held here; `tick` then asks for them.

        Args:
            origin: whose tree they travel on; empty when on none.
            at_once: nobody will send them by itself.
            pusher: which peer should send them by itself; empty when that is not known.
            found: our own reconciliation found them; they have places of their own, also if announced before.
        """
        due_s = now_s if at_once else now_s + self.graft_s
        teller = b"" if found else peer
        room = self._shares.room(teller)
        for digest in digests:
            entry = self._missing.get(digest)
            if entry is None:
                if room <= 0:
                    self.overflow_total += 1
                    continue
                room -= 1
                self._shares.take(teller)
                due_from = b"" if at_once else pusher  # who announces it will not push it
                entry = self._missing[digest] = _Missing(teller, origin, due_from, now_s, due_s)
            elif entry.asked is None:
                entry.due_s = min(entry.due_s, due_s)
                if at_once:
                    entry.pusher = b""  # by its own word it will not come by itself
            if found and entry.teller and room > 0:
                self._shares.move(entry.teller, teller)
                entry.teller, room = teller, room - 1
            if peer not in entry.announcers:
                entry.announcers.append(peer)
        self._wake(due_s)

    def arrived(self, digests: Iterable[bytes], now_s: float) -> dict[bytes, bytes]:
        """Forget the digests of one frame, which are here now.

        Returns:
            by digest, the origin it was announced with; those that were not expected are left out.
        """
        origins: dict[bytes, bytes] = {}
        if not self._missing:
            return origins
        heard_s = now_s
        for digest in digests:
            entry = self._pop(digest)
            if entry is None:
                continue
            origins[digest] = entry.origin
            if entry.asked is not None:
                self._delivered_s[entry.asked] = now_s
                self._give_back(entry)
            else:
                heard_s = min(heard_s, entry.heard_s)
        if heard_s < now_s:
            self._gap_s = max(now_s - heard_s, self._gap_s * GAP_FADE)
        return origins

    def pushed(self, peer: bytes, origin: bytes, now_s: float) -> None:
        """`peer` has pushed records of `origin`: what it is to push of them besides is behind, not lost."""
        streams = self._pushed_s.setdefault(peer, {})
        if len(streams) >= STREAMS_MAX and origin not in streams:
            streams.clear()
        streams[origin] = now_s

    def begin(self, graft_s: float) -> None:
        """Begin with this graft timer: what was measured before does not hold any more."""
        self._gap_s = graft_s / GRAFT_FACTOR

    def came_first(self, count: int) -> None:
        """So many payloads were here before they were announced: there is less to wait for."""
        self._gap_s *= GAP_FADE ** min(count, 1_000)

    def stored(self) -> None:
        """A record was stored: there is room, ask as usual again."""
        self._cautious = False

    def came_twice(self) -> None:
        """A payload arrived that was held already: we asked too early, so wait twice as long."""
        self._gap_s = min(self._gap_s * 2, GRAFT_S_MAX / GRAFT_FACTOR)

    def refused(self, digests: Iterable[bytes]) -> None:
        """Forget digests that arrived but were not taken: they would not be taken from others either."""
        for digest in digests:
            entry = self._pop(digest)
            if entry is not None and entry.asked is not None:
                self._give_back(entry)

    def pause(self, now_s: float) -> None:
        """Ask for nothing for `FULL_PAUSE_S`: the store has no room. Forgets all entries.

        After the pause one record is asked for at a time, until one has been stored.
        """
        self._cautious = True
        self._missing.clear()
        self._shares.clear()
        self._asked_of.clear()
        self._paused_until_s = now_s + FULL_PAUSE_S

    def paused(self, now_s: float) -> bool:
        """Whether the store was full a moment ago."""
        return now_s < self._paused_until_s

    def link_down(self, peer: bytes, now_s: float) -> None:
        """Stop waiting for `peer`: what it would have pushed or was asked for is due from others now."""
        self._asked_of.pop(peer, None)
        self._delivered_s.pop(peer, None)
        self._pushed_s.pop(peer, None)
        for digest, entry in list(self._missing.items()):
            if peer in entry.announcers:
                entry.announcers.remove(peer)
            if entry.asked == peer:
                entry.asked = None
                entry.due_s = now_s
            elif entry.pusher == peer and entry.asked is None:
                entry.due_s = now_s
            if not entry.announcers and entry.asked is None:
                self._pop(digest)
        self._wake(now_s)

    def tick(self, now_s: float) -> list[Ask]:
        """Say what to ask of whom now, one entry per peer, and plan the next deadline."""
        if self._next_s is None or now_s < self._next_s:
            return []
        self._next_s, self._waiting = None, False
        asks: dict[bytes, Ask] = {}
        dropped: list[bytes] = []
        for digest, entry in self._missing.items():
            if entry.due_s > now_s:
                self._wake(entry.due_s)
                continue
            if entry.asked is not None:
                # Slow is not silent: the time-out counts from the last record that peer delivered.
                entry.due_s = max(entry.due_s, self._delivered_s.get(entry.asked, 0.0) + ASK_TIMEOUT_S)
            else:
                entry.due_s = max(entry.due_s, self._comes_s(entry))
            if entry.due_s > now_s:
                self._wake(entry.due_s)
                continue
            peer = self._choose(entry)
            if peer is None:
                if entry.tries >= TRIES_MAX or not entry.announcers:
                    dropped.append(digest)
                else:
                    self._waiting = True
                continue  # every announcer is busy: `arrived` wakes us when one has room
            entry.asked, entry.due_s = peer, now_s + ASK_TIMEOUT_S
            entry.tries += 1
            self._asked_of[peer] = self._asked_of.get(peer, 0) + 1
            ask = asks.setdefault(peer, Ask(peer))
            ask.digests.append(digest)
            if entry.origin not in (b"", FACTS):  # a push was waited for, or a parent said it would not push
                ask.origins[entry.origin] = None
            self._wake(entry.due_s)
        self.refused(dropped)
        self.asked_total += sum(len(ask.digests) for ask in asks.values())
        return list(asks.values())

    def _pop(self, digest: bytes) -> _Missing | None:
        entry = self._missing.pop(digest, None)
        if entry is not None:
            self._shares.give(entry.teller)
        return entry

    def _comes_s(self, entry: _Missing) -> float:
        """Until when the record is taken to be behind others of its origin that its pusher has pushed."""
        pushed_s = self._pushed_s.get(entry.pusher, {}).get(entry.origin)
        return 0.0 if pushed_s is None else min(pushed_s, entry.heard_s + BEHIND_S_MAX) + STREAM_S

    def _choose(self, entry: _Missing) -> bytes | None:
        """Pick whom to ask: the announcers in turn, skipping those with enough to do."""
        if entry.asked is not None:
            self._give_back(entry)
            entry.asked = None
        if entry.tries >= TRIES_MAX:
            return None
        turn = entry.tries % max(len(entry.announcers), 1)
        order: Sequence[bytes] = entry.announcers[turn:] + entry.announcers[:turn]
        if self._cautious and entry.origin != FACTS:
            return None if self._asked_of else next(iter(order), None)
        return next((p for p in order if self._asked_of.get(p, 0) < ASKED_MAX), None)

    def _give_back(self, entry: _Missing) -> None:
        """Note that the peer asked for `entry` has room for another request."""
        if entry.asked in self._asked_of:
            self._asked_of[entry.asked] -= 1
            if self._asked_of[entry.asked] == 0:
                del self._asked_of[entry.asked]
            if self._waiting and self._asked_of.get(entry.asked, 0) in (0, ASKED_MAX // 2):
                self._wake(0.0)  # twice a batch, because looking through the table costs its length

    def _wake(self, at_s: float) -> None:
        self._next_s = at_s if self._next_s is None else min(self._next_s, at_s)
