"""What a node shows of itself besides counts: its peers and its journal."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PeerView:
    """A peer as people want to see it.

    Attributes:
        id: node id in hex. name, address, http: what it calls itself and where it listens.
        state: `up`, `suspect`; `member`, known by the member list and needing no link; or `lost`.
        in_sync: whether it held the same at the last comparison; None before the first.
        rtt_ms, offset_ms, lag_ms: round trip, its clock minus ours, its event loop's lateness.
        records: how many it holds. heard_s: seconds since its last word. error: why there is no link.
    """

    id: str
    name: str
    address: str
    http: str
    state: str
    in_sync: bool | None = None
    rtt_ms: float | None = None
    offset_ms: int | None = None
    lag_ms: int | None = None
    records: int | None = None
    heard_s: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class JournalView:
    """A journal as people want to see it.

    Attributes:
        path: where it is. restored: how many records it gave back at the start.
        waiting: records held that are not in it yet.
        trouble: why nothing can be written just now; empty when all is well.
        set_aside: where a journal lies that was found damaged at the start; empty if none was.
    """

    path: str
    restored: int
    waiting: int
    trouble: str
    set_aside: str
