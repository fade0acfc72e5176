"""What a cluster member is told at its start, and what it counts."""

from dataclasses import dataclass

from cluster.engine import EngineConfig


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """How this node takes part. `host`, `port`: where to listen for peers; `group`: None for no beacons."""

    cluster: str
    name: str
    rules: str
    host: str
    port: int
    engine: EngineConfig
    group: tuple[str, int] | None
    lan: bool


@dataclass(frozen=True, slots=True)
class ClusterStatistics:
    """One reading of the driver's counters; totals since the start."""

    records_in_total: int
    announcements_dropped_total: int
    handshakes_refused_total: int
    outbox_bytes: int
