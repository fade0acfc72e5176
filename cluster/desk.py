"""What the cluster needs from the node it serves: admission, and payloads by digest.

The node implements `Desk`; the cluster never sees the store behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cluster.messages import WireRecord
from cluster.vocabulary import Holdings
from validator import Record


@dataclass(slots=True)
class Admitted:
    """What became of a peer's records: see `cluster.vocabulary.Received`, whose fields these are."""

    stored: list[bytes] = field(default_factory=list[bytes])
    known: list[bytes] = field(default_factory=list[bytes])
    ignored: list[bytes] = field(default_factory=list[bytes])
    rejected: int = 0
    full: bool = False
    large: list[bytes] = field(default_factory=list[bytes])
    lost: list[bytes] = field(default_factory=list[bytes])


class Desk(Holdings, Protocol):
    """The one desk that admits every record, seen from the cluster. All synchronous, none waits."""

    def admit(self, records: Sequence[WireRecord], peer: str) -> Admitted:
        """Judge and store a peer's records and publish what is new. `peer`: node id in hex."""
        ...

    def lookup(self, digests: Sequence[bytes]) -> list[Record]:
        """Return those of the records that are held and alive, in the order asked for."""
        ...

    def listing(self, after: bytes, count_max: int) -> list[Record]:
        """Return at most `count_max` living records with keys above `after`, in order."""
        ...
