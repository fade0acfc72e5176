"""Floor 3: one node. The desk where records are admitted, the wiring of all lower floors, the lifetime.

`Node` owns the store, the bus and the cluster and is the only reader of the wall clock. `Admission` is
the rule of the desk. `Config` is one table of settings. Above them, imported by nobody, is the roof:
`cli` and `__main__` build everything, `demo` runs several nodes.

It does not speak HTTP (api) and does not decide how records travel (cluster).
"""

from cluster import LINK_LIMITS
from node.admission import Answer, PostedRecord, Submission
from node.config import Config, ConfigError
from node.lag import LagView
from node.node import VERSION, Node
from node.receipts import WAITING_RECORDS_MAX, Reach, Receipt, ReceiptsFull
from node.views import JournalView, LinksView, PeerView

__all__ = [
    "LINK_LIMITS",
    "VERSION",
    "WAITING_RECORDS_MAX",
    "Answer",
    "Config",
    "ConfigError",
    "JournalView",
    "LagView",
    "LinksView",
    "Node",
    "PeerView",
    "PostedRecord",
    "Reach",
    "Receipt",
    "ReceiptsFull",
    "Submission",
]
