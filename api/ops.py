"""Routes for operators: who is this node, whom does it see, is it alive, is it ready."""

from typing import Any

import msgspec
from quart import Blueprint, Response

from api.counts import ServerStatistics
from api.feeds import Feeds
from api.limits import HttpLimits
from api.parse import JSON_DEPTH_MAX, WAIT_TIMEOUT_S_MAX
from api.records import BATCH_LINES_MAX, LIMIT_MAX
from node import LINK_LIMITS, VERSION, WAITING_RECORDS_MAX, Node
from validator import FUTURE_MS_MAX, ID_BYTES_MAX, RAW_BYTES_MAX, SIGNATURE_BYTES_MAX


def make_blueprint(feeds: Feeds, limits: HttpLimits, statistics: ServerStatistics) -> Blueprint:
    """Make the routes over the node of `feeds`. `limits`, `statistics`: the HTTP server's, to be shown."""
    node = feeds.node
    routes = Blueprint("ops", __name__)

    @routes.get("/healthz")
    async def healthz() -> Response:
        """Alive: this answer is the proof. A journal in trouble is told of: reads and gossip go on."""
        return _text("ok\n" + _trouble(node))

    @routes.get("/readyz")
    async def readyz() -> Response:
        """Ready: listening, and caught up with a peer or alone past the grace time."""
        return _text("ready\n" + _trouble(node)) if node.ready else _text("catching up\n", 503)

    @routes.get("/status")
    async def status() -> Response:
        """Answer 200 with nothing, as the original broadcaster did for its probes."""
        return _text("")

    @routes.get("/v1/node")
    async def show_node() -> Response:
        """Show this node: what it is, what it holds, what it refuses."""
        return _json(node_view(feeds, limits, statistics))

    @routes.get("/v1/peers")
    async def show_peers() -> Response:
        """Show linked peers, and those that should be linked and are not, with the reason."""
        return _json({"links": str(node.links), "peers": [msgspec.to_builtins(p) for p in node.peers()]})

    return routes


def node_view(feeds: Feeds, limits: HttpLimits, statistics: ServerStatistics) -> dict[str, Any]:
    """Collect what `/v1/node` shows."""
    node = feeds.node
    store = node.store_statistics()
    peers = node.peers()
    return {
        "id": node.id.hex(),
        "name": node.name,
        "version": VERSION,
        "cluster": node.config.cluster,
        "links": str(node.links),
        "link_keys": msgspec.to_builtins(node.links),
        "access": _access_view(node),
        "rules": node.rules,
        "started_at": node.started.wall_ms,
        "wall_ms": node.wall_ms(),
        "ready": node.ready,
        "http": node.http_urls,
        "peer": node.peer_address,
        "announced_on": node.announced_on,
        "tier": node.tier,
        "members": node.members,
        "peers_up": sum(p.state in ("up", "suspect") for p in peers),
        "in_sync": node.in_sync,
        "records": store.records,
        "bytes": store.bytes,
        "oldest_time_stamp": store.oldest_time_stamp,
        "journal": node.journal and msgspec.to_builtins(node.journal),
        "admission": node.admission_totals(),
        "gossip": node.gossip_totals(),
        "loop_lag": msgspec.to_builtins(node.lag.view()),
        "clients": msgspec.to_builtins(statistics.snapshot()),
        "feeds": feeds.statistics.view(),
        "limits": {
            "ttl_ms": node.config.ttl_ms,
            "sync_interval_s": node.config.sync_interval_s,
            "future_ms_max": FUTURE_MS_MAX,
            "id_bytes_max": ID_BYTES_MAX,
            "raw_bytes_max": RAW_BYTES_MAX,
            "signature_bytes_max": SIGNATURE_BYTES_MAX,
            "records_max": store.records_max,
            "bytes_max": store.bytes_max,
            "json_depth_max": JSON_DEPTH_MAX,
            "page_records_max": LIMIT_MAX,
            "batch_lines_max": BATCH_LINES_MAX,
            "wait_timeout_s_max": WAIT_TIMEOUT_S_MAX,
            "waiting_records_max": WAITING_RECORDS_MAX,
            **LINK_LIMITS,
            "http": msgspec.to_builtins(limits),
            "feeds": msgspec.to_builtins(feeds.limits),
        },
    }


def _access_view(node: Node) -> dict[str, Any]:
    """Show what clients need to be let in; none of their secrets is known here."""
    config = node.config
    writing = config.auth_password is not None or config.write_token is not None
    return {
        "writing": "protected" if writing else "open",
        "reading": "open" if config.read_token is None else "protected",
        "https": config.http_cert is not None,
    }


def _trouble(node: Node) -> str:
    return f"posts are refused: {node.journal.trouble}\n" if node.journal and node.journal.trouble else ""


def _text(body: str, status: int = 200) -> Response:
    return Response(body, status, {"content-type": "text/plain; charset=utf-8", "cache-control": "no-store"})


def _json(view: object) -> Response:
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    return Response(msgspec.json.encode(view), 200, headers)
