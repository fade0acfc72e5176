"""Floor 1: the truth. Which records this node holds, at most one for each id, until their life is over.

A `Store` takes a record and answers `Stored` or `Held`, or raises `StoreFull`; it lists by time, by arrival,
by id and by digest, removes what is over when told the time, and shows its keys to reconciliation through an
`IndexWindow`. `open_store` makes the one the configuration asks for: in memory, or with a journal in a data
directory, where the saved peer file lies too.

The store is plain synchronous code that reads no clock: the wall time comes in as `wall_ms`. Only the
journal touches the world, from one thread of its own. The room may import validator and no other.

It does not judge records (validator), announce them (eventbus), talk to peers (cluster) or decide when to
sweep (node). It never evicts a living record: a full store refuses.
"""

from pathlib import Path

from storage.base import BYTES_MAX, RECORDS_MAX, Held, Store, Stored, StoreFull, StoreLimits, StoreStatistics
from storage.data_dir import PEERS_NAME, DataDir, StoreUnusable
from storage.index import Index, IndexWindow
from storage.journal import JournalBehind, JournalStore
from storage.journal_writer import JournalWriter
from storage.memory import MemoryStore
from storage.peer_file import read_peers, write_peers
from storage.restore import JournalReport, Progress

__all__ = [
    "BYTES_MAX",
    "PEERS_NAME",
    "RECORDS_MAX",
    "DataDir",
    "Held",
    "Index",
    "IndexWindow",
    "JournalBehind",
    "JournalReport",
    "JournalStore",
    "JournalWriter",
    "MemoryStore",
    "Progress",
    "Store",
    "StoreFull",
    "StoreLimits",
    "StoreStatistics",
    "StoreUnusable",
    "Stored",
    "open_store",
    "read_peers",
    "write_peers",
]


def open_store(
    ttl_ms: int,
    limits: StoreLimits | None = None,
    data_dir: Path | None = None,
    wall_ms: int = 0,
    progress: Progress = lambda done, total: None,
) -> MemoryStore | JournalStore:
    """Open the store a node keeps its records in.

    Args:
        ttl_ms: int >= 1, how long a record lives from its time stamp, in milliseconds.
        limits: how much it may hold; None for the defaults.
        data_dir: where the journal is; None to keep records in memory only. Reading the journal of a
            million records takes about ten seconds, during which this blocks.
        wall_ms: int, Unix milliseconds now; with `data_dir` only, for what is over by now.
        progress: with `data_dir` only; called on this thread with the rows read so far and their total
            (0: not known).

    Raises:
        ValueError: `ttl_ms` is less than 1 (the caller's fault).
        StoreUnusable: the data directory or the journal cannot be used; the text names the path and says
            why. Nothing was changed.
    """
    if data_dir is None:
        return MemoryStore(ttl_ms, limits)
    return JournalStore(ttl_ms, limits, DataDir(data_dir), wall_ms, progress)
