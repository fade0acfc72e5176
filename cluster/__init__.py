"""Floor 2: gossip. How a record reaches every other node, and how nodes find and keep each other.

The engine decides, drivers act. Pure, with time and randomness passed in: `messages` and `codec` (what
peers say), `vocabulary` (what the engine hears and says), `membership`, `liveness`, `dissemination`,
`pull`, `negentropy`, `reconciliation` and `receipts` behind the one door `engine`; `compatibility`, `beacon`,
`address`; `key` and `certificate` (who may be in). Drivers, the only files that touch sockets and tasks:
`transport` (TCP), `tls` and `security` (what encrypts it), `handshake`, `link` (one reader and one writer per
peer), `intake`, `discovery` (multicast) and `service`, which feeds the engine and carries out its effects;
`doorbell` brings it what is posted here, and `backpressure` lets whoever posts a batch wait.
`outbox` and `window` are between: what waits to be written to one peer, and how far it is behind.

May import eventbus and validator; never storage, never node: `desk` says what it needs of the node.
"""

from cluster.config import LINK_LIMITS, ClusterConfig
from cluster.desk import Admitted, Desk
from cluster.dissemination import EAGER_BYTES_MAX
from cluster.engine import EngineConfig
from cluster.messages import CONFIRM_DIGESTS_MAX, WireRecord
from cluster.negentropy import Items
from cluster.service import ClusterService
from cluster.vocabulary import Now

__all__ = [
    "CONFIRM_DIGESTS_MAX",
    "EAGER_BYTES_MAX",
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
