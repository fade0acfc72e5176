"""What the floors above take of this room. It loads most of it: who needs one light module names that."""

from cluster.exports import LINK_LIMITS, counted_address
from node.admission import Answer, PostedRecord, Submission
from node.config import Config, ConfigError
from node.lag import LagView
from node.log_output import log_output
from node.node import Node
from node.reach import Reach
from node.receipts import WAITING_RECORDS_MAX, Receipt, ReceiptsFull
from node.version import VERSION
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
    "counted_address",
    "log_output",
]
