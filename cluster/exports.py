"""What the floors above take of this room. It loads most of it: who needs one light module names that."""

from cluster.address import counted_address
from cluster.config import LINK_LIMITS, ClusterConfig
from cluster.desk import Admitted, Desk
from cluster.dissemination import large_among
from cluster.engine import EngineConfig
from cluster.messages import CONFIRM_DIGESTS_MAX, WireRecord
from cluster.negentropy import Items, fingerprint
from cluster.service import ClusterService
from cluster.vocabulary import Now

__all__ = [
    "CONFIRM_DIGESTS_MAX",
    "LINK_LIMITS",
    "Admitted",
    "ClusterConfig",
    "ClusterService",
    "Desk",
    "EngineConfig",
    "Items",
    "Now",
    "WireRecord",
    "counted_address",
    "fingerprint",
    "large_among",
]
