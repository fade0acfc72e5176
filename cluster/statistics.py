"""What a cluster member counts, for people to look at."""

from dataclasses import dataclass
from typing import Self

from cluster.dissemination import Dissemination
from cluster.pull import Pull
from cluster.receipts import Receipts
from cluster.reconciliation import Reconciliation


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """One reading of the protocol's counters; totals since the start."""

    pushed_total: int
    duplicate_total: int
    degraded_total: int
    missing: int
    asked_total: int
    overflow_total: int
    sync_rounds_total: int
    sync_found_total: int
    sync_bytes_out: int
    sync_bytes_in: int
    graft_ms: float
    held_total: int

    @classmethod
    def read(cls, d: Dissemination, r: Reconciliation, p: Pull, receipts: Receipts) -> Self:
        """Read all counters of the engine's parts."""
        return cls(
            pushed_total=d.pushed_total,
            duplicate_total=d.duplicate_total,
            degraded_total=d.degraded_total,
            missing=len(p),
            asked_total=p.asked_total,
            overflow_total=p.overflow_total,
            sync_rounds_total=r.rounds_total,
            sync_found_total=r.found_total,
            sync_bytes_out=r.bytes_out,
            sync_bytes_in=r.bytes_in,
            graft_ms=p.graft_s * 1000,
            held_total=receipts.held_total,
        )


@dataclass(frozen=True, slots=True)
class ClusterStatistics:
    """One reading of the driver's counters; totals since the start."""

    records_in_total: int
    announcements_dropped_total: int
    handshakes_refused_total: int
    outbox_bytes: int
