"""One address worth dialling; cluster/candidates.py is the table of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Candidate:
    """An address worth dialling.

    Attributes:
        address: str, `host:port`.
        node_id: who is thought to be there, or None.
        seed: the `--join` value it comes from, or None.
        saved: whether nothing but an earlier run of this node speaks for it.
        beacon: whether nothing but a beacon speaks for it.
        heard: how many beacons named it.
        attempts: dials that came to nothing in a row.
        next_s: when to dial (again), monotonic seconds.
        lost_s: since when it should be linked and is not, monotonic seconds, or None.
        in_flight: whether a dial is under way.
        refused: whether the last dial found somebody who does not fit; beacons do not hurry the next.
        error: why the last dial failed or the last link ended; empty when neither happened.
    """

    address: str
    node_id: bytes | None = None
    seed: str | None = None
    saved: bool = False
    beacon: bool = False
    heard: int = 1
    attempts: int = 0
    next_s: float = 0.0
    lost_s: float | None = None
    in_flight: bool = False
    refused: bool = False
    error: str = ""


Choice = Callable[[Sequence[Candidate]], list[Candidate]]
"""A rule by which candidates are chosen, in the order in which to dial them."""
