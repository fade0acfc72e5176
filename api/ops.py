"""Routes for operators: who is this node, whom does it see, is it alive, is it ready."""

import msgspec
from quart import Blueprint, Response

from api.counts import ServerStatistics
from api.feeds import Feeds
from api.limits import HttpLimits
from api.node_view import NodeView, PeersView, node_view, peers_view
from api.operation import JSON, PLAIN, TEXT, Answer, Operation, operation
from node.exports import Node

_PROBE = Answer(200, "One line, or more if there is trouble.", {PLAIN: TEXT})
_NOT_READY = Answer(503, "`catching up`", {PLAIN: TEXT})


def make_blueprint(feeds: Feeds, limits: HttpLimits, statistics: ServerStatistics) -> Blueprint:
    """Make the routes over the node of `feeds`. `limits`, `statistics`: the HTTP server's, to be shown."""
    node = feeds.node
    routes = Blueprint("ops", __name__)

    @routes.get("/healthz")
    @operation(Operation((_PROBE,)))
    async def healthz() -> Response:
        """Alive: this answer is the proof. A journal in trouble is told of: reads and gossip go on."""
        return _text("ok\n" + _trouble(node))

    @routes.get("/readyz")
    @operation(Operation((_PROBE, _NOT_READY)))
    async def readyz() -> Response:
        """Ready: listening, and caught up with a peer or alone past the grace time."""
        return _text("ready\n" + _trouble(node)) if node.ready else _text("catching up\n", 503)

    @routes.get("/status")
    @operation(Operation((Answer(200, "Nothing.", {PLAIN: TEXT}),)))
    async def status() -> Response:
        """Answer 200 with nothing, as the original broadcaster did for its probes."""
        return _text("")

    @routes.get("/v1/node")
    @operation(Operation((Answer(200, "The node.", {JSON: NodeView}),)))
    async def show_node() -> Response:
        """Show this node: what it is, what it holds, what it refuses."""
        return _json(node_view(feeds, limits, statistics))

    @routes.get("/v1/peers")
    @operation(Operation((Answer(200, "Its peers.", {JSON: PeersView}),)))
    async def show_peers() -> Response:
        """Show linked peers, and those that should be linked and are not, with the reason."""
        return _json(peers_view(node))

    return routes


def _trouble(node: Node) -> str:
    return f"posts are refused: {node.journal.trouble}\n" if node.journal and node.journal.trouble else ""


def _text(body: str, status: int = 200) -> Response:
    return Response(body, status, {"content-type": "text/plain; charset=utf-8", "cache-control": "no-store"})


def _json(view: msgspec.Struct) -> Response:
    headers = {"content-type": JSON, "cache-control": "no-store"}
    return Response(msgspec.json.encode(view), 200, headers)
