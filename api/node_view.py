"""What `/v1/node` and `/v1/peers` show of a node, collected."""

import msgspec

from api.counts import ServerCounts, ServerStatistics
from api.feeds import FeedCounts, FeedLimits, Feeds
from api.limits import HttpLimits
from api.parse import BATCH_LINES_MAX, JSON_DEPTH_MAX, WAIT_TIMEOUT_S_MAX
from api.records import LIMIT_MAX
from node.exports import (
    LINK_LIMITS,
    VERSION,
    WAITING_RECORDS_MAX,
    JournalView,
    LagView,
    LinksView,
    Node,
    PeerView,
)
from validator import FUTURE_MS_MAX, ID_BYTES_MAX, RAW_BYTES_MAX, SIGNATURE_BYTES_MAX


class AccessView(msgspec.Struct, frozen=True):
    """What clients need to be let in: `protected` or `open`. None of their secrets is known here."""

    writing: str
    reading: str
    https: bool


class LimitsView(msgspec.Struct, frozen=True):
    """Every bound of a node; units are last in the names."""

    ttl_ms: int
    sync_interval_s: float
    future_ms_max: int
    id_bytes_max: int
    raw_bytes_max: int
    signature_bytes_max: int
    records_max: int
    bytes_max: int
    json_depth_max: int
    page_records_max: int
    batch_lines_max: int
    wait_timeout_s_max: float
    waiting_records_max: int
    frame_bytes_max: float
    outbox_bytes_max: float
    peers_max: float
    dials_in_flight_max: float
    beacon_dials_per_s: float
    handshake_timeout_s: float
    peer_write_timeout_s: float
    http: HttpLimits
    feeds: FeedLimits


class NodeView(msgspec.Struct, frozen=True):
    """A node: what it is, what it holds, what it has done since its start, what it refuses."""

    id: str
    name: str
    version: str
    cluster: str
    links: str
    link_keys: LinksView
    access: AccessView
    rules: str
    started_at: int
    wall_ms: int
    ready: bool
    http: list[str]
    peer: str
    announced_on: list[str]
    tier: str
    members: int
    peers_up: int
    in_sync: bool
    records: int
    bytes: int
    oldest_time_stamp: int | None
    journal: JournalView | None
    admission: dict[str, int]
    gossip: dict[str, int | float]
    loop_lag: LagView
    clients: ServerCounts
    feeds: FeedCounts
    limits: LimitsView


class PeersView(msgspec.Struct, frozen=True):
    """Peers that are linked, known as members, or lost; `links` says in one line how links are secured."""

    links: str
    peers: list[PeerView]


def node_view(feeds: Feeds, limits: HttpLimits, statistics: ServerStatistics) -> NodeView:
    """Collect what `/v1/node` shows."""
    node = feeds.node
    store = node.store_statistics()
    return NodeView(
        id=node.id.hex(),
        name=node.name,
        version=VERSION,
        cluster=node.config.cluster,
        links=str(node.links),
        link_keys=node.links,
        access=_access_view(node),
        rules=node.rules,
        started_at=node.started.wall_ms,
        wall_ms=node.wall_ms(),
        ready=node.ready,
        http=node.http_urls,
        peer=node.peer_address,
        announced_on=node.announced_on,
        tier=node.tier,
        members=node.members,
        peers_up=sum(p.state in ("up", "suspect") for p in node.peers()),
        in_sync=node.in_sync,
        records=store.records,
        bytes=store.bytes,
        oldest_time_stamp=store.oldest_time_stamp,
        journal=node.journal,
        admission=node.admission_totals(),
        gossip=node.gossip_totals(),
        loop_lag=node.lag.view(),
        clients=statistics.snapshot(),
        feeds=feeds.statistics.snapshot(),
        limits=_limits_view(feeds, limits),
    )


def _limits_view(feeds: Feeds, limits: HttpLimits) -> LimitsView:
    node = feeds.node
    store = node.store_statistics()
    return LimitsView(
        ttl_ms=node.config.ttl_ms,
        sync_interval_s=node.config.sync_interval_s,
        future_ms_max=FUTURE_MS_MAX,
        id_bytes_max=ID_BYTES_MAX,
        raw_bytes_max=RAW_BYTES_MAX,
        signature_bytes_max=SIGNATURE_BYTES_MAX,
        records_max=store.records_max,
        bytes_max=store.bytes_max,
        json_depth_max=JSON_DEPTH_MAX,
        page_records_max=LIMIT_MAX,
        batch_lines_max=BATCH_LINES_MAX,
        wait_timeout_s_max=WAIT_TIMEOUT_S_MAX,
        waiting_records_max=WAITING_RECORDS_MAX,
        **LINK_LIMITS,
        http=limits,
        feeds=feeds.limits,
    )


def peers_view(node: Node) -> PeersView:
    """Collect what `/v1/peers` shows."""
    return PeersView(str(node.links), node.peers())


def _access_view(node: Node) -> AccessView:
    config = node.config
    writing = config.auth_password is not None or config.write_token is not None
    return AccessView(
        "protected" if writing else "open",
        "open" if config.read_token is None else "protected",
        config.http_cert is not None,
    )
