"""A running session of anti-entropy as initiator: with whom, over which window, how long it is waited for.

One runs at a time (`reconciliation`), so whoever holds it keeps out all other peers.
"""

from dataclasses import dataclass

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

SEARCH_S_MIN = 30.0
"""How much of that pages of what is known leave to the search for what is missing, which may lie far behind
them: who holds the oldest 12,000 of 30,000 records of 500 bytes would read those for 70 s at 100 kB/s first."""


@dataclass(slots=True)
class Session:
    """A running session.

    Attributes:
        peer: with whom.
        lower_ms, upper_ms: the window, Unix milliseconds.
        heard_s, answered_s, brought_s: when the peer last gave a sign of life, an answer, and a record
            that was asked for and stored (monotonic seconds).
        joining: it is to catch up with a peer just linked, which held `peer_records`.
        announced: how many records were announced to the peer.
        fetching: the peer's pages are being read, the next one from `after` on.
        fetched: pages are read no more: they were, or the last session left a difference, as with a full
            store that takes nothing from them.
        held: the next message, kept back until the backlog shrinks.
    """

    peer: bytes
    lower_ms: int
    upper_ms: int
    heard_s: float
    answered_s: float
    brought_s: float
    joining: bool
    peer_records: int
    announced: int = 0
    fetching: bool = False
    after: bytes = b""
    fetched: bool = False
    held: bytes | None = None

    @property
    def deadline_s(self) -> float:
        """When it is given up, unless the peer gives a sign of life (monotonic seconds)."""
        return min(self.heard_s + SESSION_TIMEOUT_S, self.brought_s + FRUITLESS_S_MAX)

    def fruitless(self, now_s: float) -> bool:
        """Whether it brought nothing for too long."""
        return now_s >= self.brought_s + FRUITLESS_S_MAX

    def brings_little(self, now_s: float) -> bool:
        """Whether its pages brought nothing for so long that what is missing is better searched for."""
        return now_s >= self.brought_s + FRUITLESS_S_MAX - SEARCH_S_MIN

    def answered(self, now_s: float) -> None:
        """The peer has answered."""
        self.heard_s = self.answered_s = now_s

    def alive(self, now_s: float) -> None:
        """The peer sent something else, which bears out no longer than `ANSWER_S_MAX`."""
        self.heard_s = min(now_s, self.answered_s + ANSWER_S_MAX)
