"""The application: one blueprint per file, one place where errors become answers."""

from functools import partial

import structlog
from quart import Response, has_websocket_context, request, websocket
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from api import metrics, ops, page, records, seed, sockets, stream
from api.access import Access
from api.body import LeanHTTP
from api.counts import ServerStatistics
from api.errors import Problem, internal, render
from api.feeds import Feeds
from api.ids import AnyIdConverter
from api.limits import HttpLimits
from api.reference import add_reference
from api.reply import Handler
from node.exports import Node

_log = structlog.get_logger("dayfly.api")


def create_app(
    feeds: Feeds,
    limits: HttpLimits,
    statistics: ServerStatistics,
    access: Access | None = None,
) -> QuartTrio:
    """Build the application over the node of `feeds`. To add routes: a blueprint file, a line below.

    Args:
        feeds: of the node; their `run` is the caller's to start, and `close` to call when the server stops.
        limits, statistics: the server's, to be shown.
        access: the server's, asked by WebSockets that post; None: anybody may.
    """
    node = feeds.node
    app = QuartTrio("dayfly", static_folder=None)
    app.asgi_http_class = LeanHTTP
    app.config["MAX_CONTENT_LENGTH"] = None  # the floor bounds bodies before they get here (api/body.py)
    app.config["RESPONSE_TIMEOUT"] = None
    app.config["BODY_TIMEOUT"] = None
    app.url_map.merge_slashes = False  # an id may hold any slashes
    app.url_map.converters["any_id"] = AnyIdConverter
    app.register_blueprint(seed.make_blueprint(node))
    app.register_blueprint(records.make_blueprint(feeds))
    app.register_blueprint(stream.make_blueprint(feeds))
    app.register_blueprint(ops.make_blueprint(feeds, limits, statistics))
    app.register_blueprint(metrics.make_blueprint(feeds, statistics))
    app.register_blueprint(page.make_blueprint())
    app.register_blueprint(sockets.make_blueprint())
    access = access or Access()
    add_reference(app, access.credentials)  # the last: it describes all others
    app.asgi_websocket_class = sockets.make_sockets(feeds, access)  # type: ignore[assignment]  # makes one: as a class
    app.register_error_handler(Problem, _show_problem)
    app.register_error_handler(HTTPException, _show_http)
    app.register_error_handler(Exception, _show_bug)
    return app


def fast_routes(node: Node) -> dict[bytes, Handler]:
    """Return the handlers of the routes that are posted to most, by path; for `serve`."""
    return {
        b"/postNewData": partial(seed.answer_post, node),
        b"/v1/records": partial(records.answer_post, node),
    }


async def _show_problem(problem: Problem) -> Response:
    path = websocket.path if has_websocket_context() else request.path
    status, headers, body = render(problem, path)
    return Response(body, status, headers)


async def _show_http(error: HTTPException) -> Response:
    """Word the framework's own refusals as ours."""
    if has_websocket_context():
        problem = Problem("not-found", "there is no WebSocket at this path")
    elif isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or []))
        problem = Problem("method", f"{request.method} is not taken here; use {allowed}", {"allow": allowed})
    elif isinstance(error, NotFound):
        problem = Problem("not-found", "no such route; /v1/node, /v1/records and /v1/peers are good starts")
    else:
        problem = Problem("bad-request", str(error.description))
    return await _show_problem(problem)


async def _show_bug(error: Exception) -> Response:
    """Log a bug with its traceback and say no more than that there is one."""
    _log.error("request failed", path=request.path[:200], exc_info=error)
    return await _show_problem(internal(error))
