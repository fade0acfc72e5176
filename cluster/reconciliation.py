"""Anti-entropy: find out with one peer what each of us lacks, whatever was lost and why.

The set difference is found with Negentropy Protocol V1 over the records' keys. Equal stores cost one
fingerprint however many records they hold; a joiner that has less than half of what the peer holds
skips the search and reads the peer's records in order of time (`Fetch` and `Page`), then reconciles.
Whoever was cut off does so too, from where its own records end, as soon as a session shows that the peer
holds many after that: ids that are neither listed nor asked for are 64 bytes per record saved.

One session runs at a time as initiator, so that a joiner with ten peers takes each record once. As
responder a node keeps no state at all. Whatever a session finds goes through the table of missing
records (`pull`): what we lack we want, what the peer lacks we announce to it.

The window. A reconciliation covers [now - ttl + margin, now - 2 s): older ones are about to expire at
slightly different instants, newer ones are still on their way, and both would make equal stores look
different for ever. On join and on heal the newer ones are included, because nobody is sending them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from cluster.dissemination import announce
from cluster.messages import IHAVE_DIGESTS_MAX, Fetch, Reconcile, Reconciled
from cluster.negentropy import FINE, Items, Negentropy, NegentropyError, fingerprint
from cluster.pull import Pull
from cluster.session import Session
from cluster.shares import SHARE_MAX
from cluster.vocabulary import Close, Effect, Holdings, Now, Received, Send
from validator import FUTURE_MS_MAX, key_bound

SYNC_FRAME_BYTES_MAX = 8 * 1024
"""Negentropy's frame limit, ours and that of whoever speaks to us. Our choice, measured over 10^6 keys: what
such a message asks for takes 7 to 10 ms, one of 12 KiB 13 to 20, one of 64 KiB 60 to 100; what does not fit
costs another round."""

STABLE_AGE_MS = 2_000
"""How old a record must be before its absence means loss rather than being on its way."""

MARGIN_MS_MAX = 2 * FUTURE_MS_MAX
"""How long before its end a record leaves the window: twice the largest clock offset of a link."""

PULL_BACKLOG_MAX = 8_192
"""Records found and still to be pulled beyond which a session waits before it looks for more."""

ANNOUNCED_MAX = SHARE_MAX
"""Records announced to the peer in one session, `IHAVE_DIGESTS_MAX` of them in one step. Our choice: what
the peer remembers of one, 256 KiB. Whoever lacks more finds it in a session of its own, and a full store that
holds less than we do throws all of it away: of 200,000 that was 5.9 MB and two stalls of 60 ms each round."""

RETRY_S_MIN, RETRY_S_MAX = 2.0, 20.0
"""How soon after a session with a peer a difference in fingerprints starts another. It doubles while
differences persist, up to one default sync interval: a full store or a record that only the peer
accepts must not keep both busy."""


@dataclass(slots=True)
class _History:
    """What the last session with a peer came to."""

    next_s: float = 0.0
    retry_s: float = RETRY_S_MIN


class Reconciliation:
    """Run sessions with peers, one at a time, and answer theirs."""

    def __init__(
        self, holdings: Holdings, pull: Pull, rng: Random, ttl_ms: int, sync_interval_s: float
    ) -> None:
        self._holdings = holdings
        self._pull = pull
        self._rng = rng
        self._ttl_ms = ttl_ms
        self._margin_ms = min(MARGIN_MS_MAX, ttl_ms // 4)
        self._sync_interval_s = sync_interval_s
        self._round_s: float | None = None
        self._session: Session | None = None
        self._joins: dict[bytes, int] = {}  # peers still to catch up with, and how much they hold
        self._history: dict[bytes, _History] = {}
        self.rounds_total = 0
        self.found_total = 0
        self.bytes_out = 0
        self.bytes_in = 0

    # --- what the rest of the engine asks ---------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether no session runs or waits and nothing that one found is left to pull: we are as complete as
        we know. What peers announce does not count: who announces what nobody has would keep us from it."""
        return self._session is None and not self._joins and not self._pull.found

    @property
    def session_peer(self) -> bytes | None:
        """With whom a session runs as initiator, or None."""
        return self._session.peer if self._session else None

    @property
    def deadline_s(self) -> float | None:
        """When `tick` must be called next (monotonic seconds), or None."""
        times = [t for t in (self._round_s,) if t is not None]
        if self._session:
            times.append(self._session.deadline_s)
        return min(times, default=None)

    def window_ages_ms(self, ahead_ms: int) -> tuple[int, int]:
        """Bounds of the stable window as ages before our wall clock.

        Args:
            ahead_ms: by how much our clock is ahead of the peer's (0 when it is behind): what is on its
                way by the peer's clock must stay out.
        """
        return self._ttl_ms - self._margin_ms, STABLE_AGE_MS + ahead_ms

    def fingerprint(self, lower_ms: int, upper_ms: int) -> bytes:
        """Return the 16-byte Negentropy fingerprint of what we hold in [lower_ms, upper_ms)."""
        items = self._holdings.window(max(lower_ms, 0), max(upper_ms, 0))
        return fingerprint(items, 0, len(items))

    # --- inputs -----------------------------------------------------------------------------------------

    def join(self, peer: bytes, peer_records: int, now: Now) -> list[Effect]:
        """A link came up on which it is ours to catch up."""
        self._joins[peer] = peer_records
        return self._next(now)

    def differs(self, peer: bytes, now: Now, *, ours: bool) -> list[Effect]:
        """A ping showed that `peer` holds something else in the stable window.

        Args:
            ours: of the two sides that notice, we are the one to start; the other one only takes note
                and starts at the next periodic round if the difference is still there.
        """
        history = self._history.setdefault(peer, _History())
        if not ours or self._session or now.s < history.next_s or self._pull.paused(now.s):
            return []
        return self._start(peer, now, joining=False)

    def equals(self, peer: bytes) -> None:
        """A ping showed that `peer` holds the same in the stable window."""
        self._history.pop(peer, None)

    def link_down(self, peer: bytes, now: Now) -> list[Effect]:
        """Forget a peer; go on with the next one if a session ran with it."""
        self._joins.pop(peer, None)
        self._history.pop(peer, None)
        if self._session and self._session.peer == peer:
            self._session = None
        return self._next(now)

    def reconcile(self, peer: bytes, message: Reconcile) -> list[Effect]:
        """Answer a peer's session: stateless, one message for one message.

        Not while we read a peer's pages: all that a session would find is on its way in them, and was
        announced and sent a second time. The asking side gives up and asks again later.
        """
        self.bytes_in += len(message.message)
        if self._session is not None and self._session.fetching:
            return []
        items = self._holdings.window(message.lower_ms, message.upper_ms)
        try:
            _check_length(message.message)
            answer = _negentropy(items).respond(message.message)
        except NegentropyError as error:
            return [Close(peer, "bad-sync", str(error))]
        self.bytes_out += len(answer)
        return [Send(peer, Reconciled(message.lower_ms, message.upper_ms, answer))]

    def reconciled(self, peer: bytes, message: Reconciled, now: Now) -> list[Effect]:
        """Take the responder's answer: pull what we lack, announce what it lacks, go on or end."""
        session = self._session
        if session is None or session.peer != peer or session.held is not None:
            return []  # an answer to a session given up meanwhile
        if (message.lower_ms, message.upper_ms) != (session.lower_ms, session.upper_ms):
            return []  # likewise, with the same peer
        self.bytes_in += len(message.message)
        session.answered(now.s)
        items = self._holdings.window(session.lower_ms, session.upper_ms)
        try:
            _check_length(message.message)
            have_max = min(ANNOUNCED_MAX - session.announced, IHAVE_DIGESTS_MAX)
            step = _negentropy(items).reconcile(message.message, have_max)
        except NegentropyError as error:
            self._session = None
            return [Close(peer, "bad-sync", str(error)), *self._next(now)]
        # Ids can come twice under a frame limit; what is already on its way is not found again.
        need = [d for d in step.need if not self._holdings.has(d)]
        self.found_total += len(step.have) + len(need)
        session.announced += len(step.have)
        effects = announce(peer, b"", [key[8:] for key in step.have])
        if self._pull.paused(now.s):  # we can take nothing; what the peer lacks it finds in its own round
            return effects + self._finish(now)
        if need:
            self._pull.announced(peer, b"", need, now.s, at_once=True, found=True)
        if step.beyond is not None and not session.fetched:
            return [*effects, self._fetch(session, step.beyond)]
        if step.message is None:
            return effects + self._finish(now)
        session.held = step.message
        return effects + self.resume()

    def received(self, event: Received, now: Now) -> list[Effect]:
        """A peer's records have been admitted: after a page ask for the next, or go on to reconcile."""
        session = self._session
        if session is None or session.peer != event.peer:
            return []
        if event.stored and not event.origin:
            session.brought(len(event.stored), len(event.large), now.s)
        if not event.of_page:
            session.alive(now.s)
            return []
        session.answered(now.s)
        return self._page(session, event, now) if session.fetching else []

    def _page(self, session: Session, event: Received, now: Now) -> list[Effect]:
        self.found_total += len(event.stored)
        if event.last is None:
            return []
        if event.more and event.last <= session.after:
            self._session = None
            return [
                Close(event.peer, "bad-sync", "a page leads nowhere: more follows, and from where it began"),
                *self._next(now),
            ]
        over = event.full or event.last >= key_bound(session.upper_ms) or session.brings_little(now.s)
        if event.more and not over:
            return [self._fetch(session, event.last)]
        session.fetching, session.fetched = False, not session.brings_little(now.s)
        return self._initiate(session)

    def alive(self, peer: bytes, now: Now) -> None:
        """Bytes of an unfinished message came from `peer`: a session with it is not silent."""
        if self._session is not None and self._session.peer == peer:
            self._session.alive(now.s)

    def resume(self) -> list[Effect]:
        """Send a message that was kept back, if the backlog of missing records allows it."""
        session = self._session
        if session is None or session.held is None or self._pull.found > PULL_BACKLOG_MAX:
            return []
        message, session.held = session.held, None
        return self._send(session, message)

    def tick(self, peers: Sequence[bytes], now: Now) -> list[Effect]:
        """Give up a silent session; start the periodic round with a random peer."""
        effects: list[Effect] = []
        session = self._session
        if session and session.held is not None and self._pull.found:
            session.answered(now.s)  # not silent: we are the ones who wait
        if session and now.s >= session.deadline_s:
            again = session.joining and not session.fruitless(now.s)
            if again and session.peer_records > len(self._holdings):
                self._joins[session.peer] = 0  # once more, after the others
            effects += self._finish(now)
        if self._round_s is None or now.s >= self._round_s:
            due = self._round_s is not None
            self._round_s = now.s + self._sync_interval_s
            unequal = [p for p in peers if p in self._history]
            if due and unequal and self._session is None and not self._pull.paused(now.s):
                effects += self._start(self._rng.choice(unequal), now, joining=False)
        return effects

    # --- sessions ---------------------------------------------------------------------------------------

    def _next(self, now: Now) -> list[Effect]:
        """Start with the next peer to catch up with, the one that holds most first, unless one runs."""
        if self._session or not self._joins:
            return []
        peer = max(self._joins, key=lambda p: self._joins[p])
        return self._start(peer, now, joining=True)

    def _start(self, peer: bytes, now: Now, *, joining: bool) -> list[Effect]:
        self.rounds_total += 1
        upper_age_ms = -FUTURE_MS_MAX if joining else STABLE_AGE_MS
        lower_ms = max(now.wall_ms - self._ttl_ms + self._margin_ms, 0)
        peer_records = self._joins.pop(peer, 0)
        upper_ms = max(now.wall_ms - upper_age_ms, 0)
        session = Session(peer, lower_ms, upper_ms, now.s, joining, peer_records)
        self._session = session
        session.fetched = peer in self._history and self._history[peer].retry_s > RETRY_S_MIN
        if joining and peer_records > 2 * len(self._holdings):
            return [self._fetch(session, b"")]
        return self._initiate(session)

    def _fetch(self, session: Session, after: bytes) -> Effect:
        """Read the peer's records from `after` on; whatever else differs, a new opening will show."""
        session.fetching = session.fetched = True
        session.after = after
        return Send(session.peer, Fetch(after))

    def _initiate(self, session: Session) -> list[Effect]:
        """Open: with one fingerprint when the stores may well be equal, else with the newest ids first,
        because what is missing is mostly what was posted during an outage that has just ended."""
        items = self._holdings.window(session.lower_ms, session.upper_ms)
        negentropy = _negentropy(items)
        return self._send(
            session, negentropy.probe() if session.joining else negentropy.initiate(newest_first=True)
        )

    def _send(self, session: Session, message: bytes) -> list[Effect]:
        self.bytes_out += len(message)
        return [Send(session.peer, Reconcile(session.lower_ms, session.upper_ms, message))]

    def _finish(self, now: Now) -> list[Effect]:
        session, self._session = self._session, None
        assert session is not None
        history = self._history.setdefault(session.peer, _History())
        history.next_s = now.s + history.retry_s
        history.retry_s = min(history.retry_s * 2, RETRY_S_MAX)
        return self._next(now)


def _negentropy(items: Items) -> Negentropy:
    return Negentropy(items, SYNC_FRAME_BYTES_MAX, FINE)


def _check_length(message: bytes) -> None:
    if len(message) > SYNC_FRAME_BYTES_MAX:
        raise NegentropyError(f"message has {len(message)} bytes, more than {SYNC_FRAME_BYTES_MAX}")
