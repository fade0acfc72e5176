"""What a cluster member is told at its start, and the limits of its peer port."""

from dataclasses import dataclass
from typing import Final

from cluster.candidates import BEACON_DIALS_PER_S
from cluster.codec import FRAME_BYTES_MAX
from cluster.connection import WRITE_TIMEOUT_S
from cluster.engine import EngineConfig
from cluster.flights import DIALS_IN_FLIGHT_MAX
from cluster.handshake import HANDSHAKE_TIMEOUT_S
from cluster.key import ClusterKey
from cluster.membership import PEERS_MAX
from cluster.outbox import EAGER_BYTES_MAX

LINK_LIMITS: Final[dict[str, float]] = {
    "frame_bytes_max": FRAME_BYTES_MAX,
    "outbox_bytes_max": EAGER_BYTES_MAX,
    "peers_max": PEERS_MAX,
    "dials_in_flight_max": DIALS_IN_FLIGHT_MAX,
    "beacon_dials_per_s": BEACON_DIALS_PER_S,
    "handshake_timeout_s": HANDSHAKE_TIMEOUT_S,
    "peer_write_timeout_s": WRITE_TIMEOUT_S,
}
"""The limits of the peer port, for people to look up."""


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """How this node takes part. `host`, `port`: where to listen for peers; `group`: None for no beacons;
    `keys`: none for an open cluster; `version`: the release this node runs."""

    cluster: str
    name: str
    rules: str
    host: str
    port: int
    engine: EngineConfig
    group: tuple[str, int] | None
    lan: bool
    keys: tuple[ClusterKey, ...]
    version: str
