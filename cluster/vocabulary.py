"""What the engine hears (inputs) and says (effects). Each effect names what a driver must do.

The engine never sees a payload: records are digests here, and whoever writes to a peer looks the
payload up at that moment. Counterpart for peers: cluster/messages.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from cluster.messages import Hello, Message
from cluster.negentropy import Items


class Now(NamedTuple):
    """One reading of both clocks. `s`: monotonic seconds, for every timer; `wall_ms`: Unix ms, for life."""

    s: float
    wall_ms: int


class Holdings(Protocol):
    """What the engine may ask of the store: synchronous, read-only, no payloads."""

    def __len__(self) -> int:
        """How many records are held."""
        ...

    def has(self, digest: bytes) -> bool:
        """Whether a record with this 32-byte digest is held."""
        ...

    def window(self, lower_ms: int, upper_ms: int) -> Items:
        """Return the keys with `lower_ms` <= time stamp < `upper_ms`: a view, good until the next change."""
        ...


# --- inputs -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LinkUp:
    """A handshake is done. `address`: where the peer can be dialled; `ours`: the hello we sent."""

    hello: Hello
    ours: Hello
    address: str
    dialled: bool


@dataclass(frozen=True, slots=True)
class LinkDown:
    """A link that was up is gone."""

    peer: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Heard:
    """A peer sent a message other than records; None: bytes of one not yet complete."""

    peer: bytes
    message: Message | None


@dataclass(frozen=True, slots=True)
class Received:
    """A peer's records have been through admission.

    Attributes:
        peer: who sent them.
        stored: digests now held that were not before.
        known: digests that were held already: payloads spent in vain.
        ignored: digests not taken through nobody's fault, or that lost to a record held.
        rejected: how many records no honest node would have sent.
        full: whether the store refused for want of room.
        of_page: whether they came in a `Page` of a catch-up rather than a `Push`.
        last, more: where to go on after a page and whether there is more: with the first of its records
            if there is, with the last if not; else None.
        origin: who accepted them, if they were pushed; empty if they were wanted.
        large: those of the stored that are announced rather than pushed.
        lost: digests no longer held, because one of the stored has their id and the smaller key.
    """

    peer: bytes
    stored: Sequence[bytes]
    known: Sequence[bytes] = ()
    ignored: Sequence[bytes] = ()
    rejected: int = 0
    full: bool = False
    of_page: bool = False
    last: bytes | None = None
    more: bool = False
    origin: bytes = b""
    large: Sequence[bytes] = ()
    lost: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Stored:
    """Records that clients posted here are now held. `large`: those to announce rather than push."""

    digests: Sequence[bytes]
    large: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Missed:
    """The driver lost count of what was stored (a lagging subscription): let anti-entropy repair it."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """This node is about to stop: the last input but the links' ends."""


@dataclass(frozen=True, slots=True)
class Degraded:
    """A peer's outbox was full: these digests of `origin` were not sent to it as payloads."""

    peer: bytes
    digests: Sequence[bytes]
    origin: bytes


@dataclass(frozen=True, slots=True)
class BeaconHeard:
    """Somebody of our cluster announced itself by multicast. A hint, not a fact."""

    node_id: bytes
    address: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """A seed's name was looked up: all its addresses, or none with the reason."""

    seed: str
    addresses: Sequence[str]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DialFailed:
    """A dial came to nothing.

    Attributes:
        node_id: who is there, when we are linked with it already.
        is_self: we are there ourselves.
        refused: somebody is there, but the two do not fit (another cluster, another clock, …).
    """

    address: str
    reason: str
    node_id: bytes | None = None
    is_self: bool = False
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """A client waits for nodes to hold these records. `number`: names the question from now on; `life_s`:
    how long the client waits."""

    number: int
    digests: Sequence[bytes]
    life_s: float


@dataclass(frozen=True, slots=True)
class Forget:
    """Nobody waits for the answer to this question any more."""

    number: int


@dataclass(frozen=True, slots=True)
class Tick:
    """The engine's deadline has come. `late_s`: how much later than asked for, a sign of a stall here."""

    late_s: float = 0.0


Input = (
    LinkUp
    | LinkDown
    | Heard
    | Received
    | Stored
    | Missed
    | Leaving
    | Degraded
    | BeaconHeard
    | Resolved
    | DialFailed
    | Ask
    | Forget
    | Tick
)

# --- effects ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Queue a message for a peer, before any records."""

    peer: bytes
    message: Message


@dataclass(frozen=True, slots=True)
class PushRecords:
    """Queue records for all these peers, encoded once. An outbox without room answers `Degraded`.

    `origin`: who accepted them.
    """

    peers: Sequence[bytes]
    digests: Sequence[bytes]
    origin: bytes


@dataclass(frozen=True, slots=True)
class Serve:
    """Send a peer the records it wants, looked up as its link has room."""

    peer: bytes
    digests: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class ServePage:
    """Send a peer the next `Page` after this key, as its link has room."""

    peer: bytes
    after: bytes


@dataclass(frozen=True, slots=True)
class Dial:
    """Try to link with `address` (`host:port`); answer `LinkUp` or `DialFailed`."""

    address: str


@dataclass(frozen=True, slots=True)
class Close:
    """End a peer's link with a `Bye`. The engine has forgotten the peer already."""

    peer: bytes
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Announce:
    """Send one beacon."""


@dataclass(frozen=True, slots=True)
class Resolve:
    """Look up a seed's name; answer `Resolved`."""

    seed: str


@dataclass(frozen=True, slots=True)
class Reached:
    """There is news about a question that was asked here: look at `Receipts.counts`."""

    number: int


Effect = Send | PushRecords | Serve | ServePage | Dial | Close | Announce | Resolve | Reached
