"""What a cluster member counts, for people to look at."""

from dataclasses import dataclass


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


@dataclass(frozen=True, slots=True)
class ClusterStatistics:
    """One reading of the driver's counters; totals since the start."""

    records_in_total: int
    announcements_dropped_total: int
    handshakes_refused_total: int
    outbox_bytes: int
