"""What can have happened: frozen facts, published after the fact.

Counterpart of cluster/vocabulary.py: those are what the engine hears and says, these are what the
whole node may know.
"""

import msgspec

from validator import Record


class RecordStored(msgspec.Struct, frozen=True, gc=False):
    """A record is now held.

    Attributes:
        seq: int, this node's arrival number; a cursor into the store.
        record: the record.
        source: str, node id of the peer that sent it; empty when a client posted it here.
    """

    seq: int
    record: Record
    source: str


class RecordSuperseded(msgspec.Struct, frozen=True, gc=False):
    """Two records claimed one id; `loser` was held and is gone, `winner` has the smaller key."""

    winner: Record
    loser: Record


class RecordExpired(msgspec.Struct, frozen=True, gc=False):
    """A record's life is over and the store has dropped it."""

    record: Record


class PeerUp(msgspec.Struct, frozen=True, gc=False):
    """A link to a peer is up. `peer`: node id in hex; `name`: what the peer calls itself."""

    peer: str
    name: str


class PeerDown(msgspec.Struct, frozen=True, gc=False):
    """A link to a peer is gone. `reason`: one sentence for people."""

    peer: str
    name: str
    reason: str


Event = RecordStored | RecordSuperseded | RecordExpired | PeerUp | PeerDown
