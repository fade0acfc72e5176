"""What peers say to each other: frozen messages, one per frame.

Messages carry record payloads only in `Push` and `Page`; everything else speaks of records by their
32-byte digests. Fields are positional on the wire (MessagePack arrays): new fields go to the end with a
default, and a reader ignores fields it does not know, so that a release talks to the one before it.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

PROTOCOL_MIN = PROTOCOL_MAX = 1
NODE_ID_BYTES = 16
DIGEST_BYTES = 32

FACTS = b"\xff" * NODE_ID_BYTES
"""Stands for the origin where member facts of many nodes are announced."""

Text = Annotated[str, Meta(max_length=256)]
NodeId = Annotated[bytes, Meta(min_length=NODE_ID_BYTES, max_length=NODE_ID_BYTES)]
WallMs = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Origin = Annotated[bytes, Meta(max_length=NODE_ID_BYTES)]
Key = Annotated[bytes, Meta(max_length=40)]
Hops = Annotated[int, Meta(ge=0, le=16)]
Fingerprint = Annotated[bytes, Meta(min_length=16, max_length=16)]

FRAME_RECORDS_MAX = 4_096
"""Records in one frame. Those that fit a batch (cluster/codec.py) are no more than 2,400, however small; a
frame full of the smallest, 200,000, would take a hundred times its size when decoded."""


class WireRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A record as it travels: its four facts. The receiver computes the digest itself."""

    id: str
    raw: str
    signature: str
    time_stamp: int


Records = Annotated[list[WireRecord], Meta(max_length=FRAME_RECORDS_MAX)]


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """The first message in each direction. Features are described, not negotiated.

    Attributes:
        protocol_min, protocol_max: the versions the sender speaks; the link uses min(max, max).
        features: what else the sender can do; unknown words are ignored.
        node_id: 16 random bytes, new with each start of a node without a data directory.
        incarnation: Unix milliseconds of the sender's start.
        cluster: the cluster's name; another one is refused.
        name: what the node calls itself, for people.
        port: the TCP port the sender listens on for peers.
        http: the sender's HTTP address, for people.
        rules: the sender's validator chain and record life; other ones are refused.
        records: how many records the sender holds.
        wall_ms: the sender's wall clock.
        seen: the host at which the sender sees the receiver; empty when it cannot tell.
        size: how many nodes the sender knows of, itself included.
        links: how many links the sender has; a node without any is welcome even where it is full.
        version: the release the sender runs, for people.
    """

    protocol_min: int
    protocol_max: int
    features: Annotated[list[Text], Meta(max_length=64)]
    node_id: NodeId
    incarnation: WallMs
    cluster: Text
    name: Text
    port: Annotated[int, Meta(ge=0, le=65535)]
    http: Text
    rules: Text
    records: Count
    wall_ms: WallMs
    seen: Text = ""
    size: Count = 1
    links: Count = 0
    version: Text = ""


class Ready(msgspec.Struct, frozen=True, array_like=True):
    """The dialling side keeps this connection: the link is up."""


class Bye(msgspec.Struct, frozen=True, array_like=True):
    """The link is over: a stable slug, a sentence for people, and who says so to whom heard no hello."""

    code: Text
    reason: Annotated[str, Meta(max_length=1024)]
    node_id: NodeId | None = None


class Ping(msgspec.Struct, frozen=True, array_like=True):
    """Are you there, and do we hold the same?

    Attributes:
        seq: echoed in the answer.
        wall_ms: the sender's wall clock.
        lag_ms: how late the sender's event loop runs.
        records: how many records the sender holds.
        lower_ms, upper_ms: bounds of the window, Unix milliseconds, told as ages before `wall_ms`
            to keep an idle link's ping small.
        fingerprint: of the sender's records in the window.
        rtt_us: the round trip it measured last, in microseconds; 0 before the first.
    """

    seq: Count
    wall_ms: WallMs
    lag_ms: Count
    records: Count
    lower_age_ms: Count
    upper_age_ms: Count
    fingerprint: Fingerprint
    rtt_us: Count = 0


class Pong(msgspec.Struct, frozen=True, array_like=True):
    """The answer to `Ping`: the same facts of the other side, over the asker's window."""

    seq: Count
    wall_ms: WallMs
    lag_ms: Count
    records: Count
    fingerprint: Fingerprint


class Push(msgspec.Struct, frozen=True, array_like=True):
    """Records: sent eagerly, or because they were wanted.

    Attributes:
        origin: node id of the node that accepted them, whose tree they travel on; empty when wanted.
    """

    records: Records
    origin: Origin = b""


class Ack(msgspec.Struct, frozen=True, array_like=True):
    """So many records you pushed with an origin since the link came up are through admission here."""

    pushed: Count


CONFIRM_DIGESTS_MAX = 256
"""Records in one question: a slice of a batch and room around it, so that an answer stays under 1 KiB."""

IHAVE_DIGESTS_MAX = 2_048
"""Digests in one announcement: 64 KiB. Our choice: all new, they take 6 ms where they are heard."""

NODES_MAX = 65_535
"""The largest count in an answer: more nodes than a cluster can have."""

Digests = Annotated[bytes, Meta(min_length=DIGEST_BYTES, max_length=CONFIRM_DIGESTS_MAX * DIGEST_BYTES)]
Nodes = Annotated[int, Meta(ge=0, le=NODES_MAX)]


class Confirm(msgspec.Struct, frozen=True, array_like=True):
    """Tell me when you hold these records, and if you cease to.

    Attributes:
        origin, number: the question: the node where a client waits, and its number there.
        digests: 32 bytes each, joined.
        life_ms: how much longer the client waits.
        onward: whether to ask your other peers too and to add what they report.
    """

    origin: NodeId
    number: Count
    digests: Digests
    life_ms: Count
    onward: bool = False


class Held(msgspec.Struct, frozen=True, array_like=True):
    """The answer to `Confirm`, as often as it changes.

    `counts`: for each of the digests, in their order, how many nodes hold it that nobody else reports.
    """

    origin: NodeId
    number: Count
    counts: Annotated[list[Nodes], Meta(max_length=CONFIRM_DIGESTS_MAX)]


class IHave(msgspec.Struct, frozen=True, array_like=True):
    """The sender holds these records.

    Attributes:
        origin: node id of who pushes them; the sender's: ask it; empty: nobody does; `FACTS`: member facts.
        digests: 32 bytes each, joined.
    """

    origin: Origin
    digests: Annotated[bytes, Meta(max_length=IHAVE_DIGESTS_MAX * DIGEST_BYTES)]


class Want(msgspec.Struct, frozen=True, array_like=True):
    """Send me these records. `digests`: 32 bytes each, joined."""

    digests: bytes


class Prune(msgspec.Struct, frozen=True, array_like=True):
    """What this node accepts reaches me by another way: announce it to me, do not push it (PlumTree)."""

    origin: NodeId


class Graft(msgspec.Struct, frozen=True, array_like=True):
    """Push to me what these nodes accept (PlumTree). `origins`: 16 bytes each, joined."""

    origins: bytes


class Reconcile(msgspec.Struct, frozen=True, array_like=True):
    """A Negentropy V1 message over the initiator's window, in Unix milliseconds."""

    lower_ms: WallMs
    upper_ms: WallMs
    message: bytes


class Reconciled(msgspec.Struct, frozen=True, array_like=True):
    """The responder's Negentropy V1 message over the same window."""

    lower_ms: WallMs
    upper_ms: WallMs
    message: bytes


class Fetch(msgspec.Struct, frozen=True, array_like=True):
    """Send me your records in order of time, from after this key (empty: from the oldest)."""

    after: Key


class Page(msgspec.Struct, frozen=True, array_like=True):
    """The answer to `Fetch`. `last`: key to go on after; `more`: there may be further ones."""

    records: Records
    last: Key
    more: bool


class Member(msgspec.Struct, frozen=True, array_like=True):
    """Where a node of the cluster can be dialled. `address`: `host:port` of its peer port."""

    node_id: NodeId
    address: Text


Members = Annotated[list[Member], Meta(max_length=1024)]


class Peers(msgspec.Struct, frozen=True, array_like=True):
    """Nodes the sender has links to, so that a newcomer finds all from one."""

    members: Members


class ForwardJoin(msgspec.Struct, frozen=True, array_like=True):
    """A newcomer walks the overlay (HyParView): pass it on; where the walk ends it gets a link."""

    member: Member
    hops: Hops


PATH_BYTES_MAX = 17 * NODE_ID_BYTES
Path = Annotated[bytes, Meta(max_length=PATH_BYTES_MAX)]
Swapped = Annotated[list[Member], Meta(max_length=16)]


class Shuffle(msgspec.Struct, frozen=True, array_like=True):
    """Members walk the overlay to be swapped for others (HyParView).

    Attributes:
        members: whom the node that shuffles knows, itself first.
        path: node ids the walk came by, joined, the one that shuffles first.
        hops: how much further it goes.
    """

    members: Swapped
    path: Path
    hops: Hops


class Shuffled(msgspec.Struct, frozen=True, array_like=True):
    """The answer to `Shuffle`, going back along its `path`: what is left of it, nearest last."""

    members: Swapped
    path: Path


Message = (
    Hello
    | Ready
    | Bye
    | Ping
    | Pong
    | Push
    | Ack
    | IHave
    | Want
    | Reconcile
    | Reconciled
    | Fetch
    | Page
    | Peers
    | Prune
    | Graft
    | ForwardJoin
    | Shuffle
    | Shuffled
    | Confirm
    | Held
)
