"""Floor 1: the truth. Which records this node holds, at most one for each id, until their life is over.

A `Store` takes a record and answers `Stored` or `Held`, or raises `StoreFull`; it lists by time, by arrival,
by id and by digest, removes what is over when told the time, and shows its keys to reconciliation through an
`IndexWindow`. `open_store` makes the one the configuration asks for.

Everything here is plain synchronous code that reads no clock: the wall time comes in as `wall_ms`. It may
import validator and no other room.

It does not judge records (validator), announce them (eventbus), talk to peers (cluster) or decide when to
sweep (node). It never evicts a living record: a full store refuses.
"""

from storage.base import BYTES_MAX, RECORDS_MAX, Held, Store, Stored, StoreFull, StoreLimits, StoreStatistics
from storage.index import Index, IndexWindow
from storage.memory import MemoryStore

__all__ = [
    "BYTES_MAX",
    "RECORDS_MAX",
    "Held",
    "Index",
    "IndexWindow",
    "MemoryStore",
    "Store",
    "StoreFull",
    "StoreLimits",
    "StoreStatistics",
    "Stored",
    "open_store",
]


def open_store(ttl_ms: int, limits: StoreLimits | None = None) -> Store:
    """Open the store a node keeps its records in.

    Args:
        ttl_ms: int >= 1, how long a record lives from its time stamp, in milliseconds.
        limits: how much it may hold; None for the defaults.

    Raises:
        ValueError: `ttl_ms` is less than 1 (the caller's fault).
    """
    return MemoryStore(ttl_ms, limits)
