"""`/v1/stream`: what happens here, as it happens, over one HTTP answer that does not end."""

from collections.abc import AsyncGenerator

import trio
from quart import Blueprint, Response, request

from api.body import Live, LiveResponse, client_address
from api.cursor import PREFIX, SINCE, parse_since
from api.feed import Feed
from api.feeds import Feeds, Reader
from api.forms import FeedEvent, KeepAliveEvent, Lines, ServerSentEvents
from api.operation import NDJSON, TEXT, Answer, Operation, Parameter, operation

SSE = "text/event-stream"

_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
"""No cache may keep it, and nginx may not gather it."""

_LAST_EVENT_ID = Parameter("Last-Event-ID", "header", "As `since`, and stronger.", SINCE.schema)
_STREAM = Operation(
    (
        Answer(
            200,
            "Events until the client hangs up; by Accept as NDJSON, one event a line.",
            {SSE: TEXT, NDJSON: TEXT},
        ),
    ),
    parameters=(SINCE, PREFIX, _LAST_EVENT_ID),
    hears=(FeedEvent, KeepAliveEvent),
)


def make_blueprint(feeds: Feeds) -> Blueprint:
    """Make the route over `feeds`."""
    routes = Blueprint("stream", __name__)
    node = feeds.node

    @routes.get("/v1/stream")
    @operation(_STREAM)
    async def stream() -> Response:
        """Follow records and what becomes of them: server-sent events, or NDJSON if asked for."""
        boot, wall_ms, newest_seq = node.boot, node.wall_ms(), node.store_statistics().seq
        position = parse_since(request.args.get("since") or "now", boot, wall_ms, newest_seq)
        if last_seen := request.headers.get("last-event-id"):
            position = parse_since(last_seen, boot, wall_ms, newest_seq)
        wants_lines = request.accept_mimetypes.best_match([SSE, NDJSON]) == NDJSON
        address, prefix = client_address(request.scope), request.args.get("prefix", "")

        def begin() -> Live:
            reader = feeds.open("ndjson" if wants_lines else "sse", address)
            form = Lines() if wants_lines else ServerSentEvents()
            feed = feeds.follow(position, prefix, form)
            pieces = _pieces(reader, feed, form)

            def over(cut: bool) -> None:
                reader.leave(cut_at=feed.cursor if cut else None)

            return Live(pieces, over)

        return LiveResponse({**_HEADERS, "content-type": NDJSON if wants_lines else SSE}, begin)

    return routes


async def _pieces(reader: Reader, feed: Feed, form: Lines | ServerSentEvents) -> AsyncGenerator[bytes]:
    """Yield what there is to say until the node stops, and a sign of life at once and in every silence.

    A silence is one of the wire: records that come and are not wanted here do not end it.
    """
    yield form.keep_alive(feed.cursor)  # the client has its cursor before anything has happened
    keep_alive_s = reader.feeds.limits.keep_alive_s
    due_s = trio.current_time() + keep_alive_s
    while not reader.feeds.closing:
        reader.listen()
        run = feed.take()
        if run is None:
            with trio.move_on_at(due_s):
                await reader.wait()
        elif run.data:
            yield run.data
            reader.sent(run.records)
            due_s = trio.current_time() + keep_alive_s
        else:
            await trio.lowlevel.checkpoint()
        if trio.current_time() >= due_s:
            yield form.keep_alive(feed.cursor)
            due_s = trio.current_time() + keep_alive_s
