"""A running session of anti-entropy as initiator: with whom, over which window, how long it is waited for.

One runs at a time (`reconciliation`), so whoever holds it keeps out all other peers.
"""

from dataclasses import dataclass, field

SESSION_TIMEOUT_S = 5.0
"""A session that heard nothing for so long is given up: the peer may be reading somebody's pages. The next
round will try another peer, and who holds no more than we do is not waited for."""

ANSWER_S_MAX = 30.0
"""How long a peer that sends other things, which are a sign of life, may owe its answer: it may have dropped
the question, and one that is busy for ever must not keep us from all others. Our choice: what lies before the
answer is a frame of 1 MiB at most, which so takes a line of 300 kbit/s."""

FRUITLESS_S_MAX = 60.0
"""How long a session may bring nothing that is stored here, whatever the peer answers: pages of what is
known, fingerprints that never agree, ids that nobody has. Our choice, three sync intervals: others have their
turns then, and honest peers list 150,000 ids in it at a round trip of 100 ms."""

RECORD_S = 2.0
"""By how much each record that is stored here lengthens that, up to `FRUITLESS_S_MAX` from now: a catch-up
over a slow line goes on for as long as it takes, and one record a minute holds no session. Our choice: the
largest record that is pushed, of 64 KiB, takes 1.8 s of a line of 300 kbit/s."""

LARGE_S = 30.0
"""The same for a larger one: 1 MiB takes 28 s of such a line."""

SEARCH_S_MIN = 30.0
"""How much of that pages of what is known leave to the search for what is missing, which may lie far behind:
who holds the oldest 12,000 of 30,000 records of 500 bytes would read those for 70 s at 100 kB/s first."""


@dataclass(slots=True)
class Session:
    """A running session.

    Attributes:
        peer: with whom.
        lower_ms, upper_ms: the window, Unix milliseconds.
        begun_s, heard_s, answered_s: when it began, and when the peer last gave a sign of life and an answer
            (monotonic seconds).
        fruitless_s: when it is given up if it brings no further record.
        joining: it is to catch up with a peer just linked, which held `peer_records`.
        announced: how many records were announced to the peer.
        fetching: the peer's pages are being read, the next one from `after` on.
        fetched: pages are read no more: they were, and brought something, or the last session left a
            difference, as with a full store that takes nothing from them.
        held: the next message, kept back until the backlog shrinks.
    """

    peer: bytes
    lower_ms: int
    upper_ms: int
    begun_s: float
    joining: bool
    peer_records: int
    announced: int = 0
    fetching: bool = False
    after: bytes = b""
    fetched: bool = False
    held: bytes | None = None
    heard_s: float = field(init=False)
    answered_s: float = field(init=False)
    fruitless_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.heard_s = self.answered_s = self.begun_s
        self.fruitless_s = self.begun_s + FRUITLESS_S_MAX

    @property
    def deadline_s(self) -> float:
        """When it is given up, unless the peer gives a sign of life or brings records (monotonic seconds)."""
        return min(self.heard_s + SESSION_TIMEOUT_S, self.fruitless_s)

    def fruitless(self, now_s: float) -> bool:
        """Whether it has brought nothing, or next to nothing, for too long."""
        return now_s >= self.fruitless_s

    def brought(self, records: int, large: int, now_s: float) -> None:
        """The peer has brought so many records that are stored now, of which so many are large.

        Whether they were asked for does not matter: who has them to push has them to offer.
        """
        more_s = RECORD_S * (records - large) + LARGE_S * large
        self.fruitless_s = min(self.fruitless_s + more_s, now_s + FRUITLESS_S_MAX)

    def brings_little(self, now_s: float) -> bool:
        """Whether its pages brought so little for so long that what is missing is better searched for."""
        return now_s >= self.fruitless_s - SEARCH_S_MIN

    def answered(self, now_s: float) -> None:
        """The peer has answered."""
        self.heard_s = self.answered_s = now_s

    def alive(self, now_s: float) -> None:
        """The peer sent something else, which bears out no longer than `ANSWER_S_MAX`."""
        self.heard_s = min(now_s, self.answered_s + ANSWER_S_MAX)
