"""What others take by `from cluster import ...`: loaded as one when the first name is asked for."""

from cluster.config import LINK_LIMITS, ClusterConfig
from cluster.desk import Admitted, Desk
from cluster.engine import EngineConfig
from cluster.messages import CONFIRM_DIGESTS_MAX, WireRecord
from cluster.negentropy import Items
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
]
