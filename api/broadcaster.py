"""`/websocket`, the original broadcaster's pair in one: with credentials a socket publishes, else it listens.

The original had a listener that put each frame into Redis and a publisher that sent each on. Here the
cluster is between the two, so any node does for either. Credentials that are wrong never get here: 401.
Those that may only read are a listener's.
"""

import trio

from api.access import Access
from api.cursor import parse_since
from api.errors import Problem
from api.feeds import Feeds
from api.forms import Raws
from api.posting import submit
from api.socket import GOING_AWAY, NOT_UTF8, POLICY, TOO_LARGE, TRY_LATER, Closed, Socket

CODE_BY_STATUS = {413: TOO_LARGE, 503: TRY_LATER, 507: TRY_LATER, 429: TRY_LATER}
"""Close codes for a record that is refused; for any other reason it is `POLICY`."""


async def serve_broadcaster(feeds: Feeds, access: Access, socket: Socket) -> None:
    """Serve one socket. Raises Problem before it is accepted, Closed afterwards."""
    if access.publishes(socket.headers):
        with feeds.open("publish", socket.address):
            await socket.accept()
            await _publish(feeds, access, socket)
    else:
        await _listen(feeds, socket)


async def _publish(feeds: Feeds, access: Access, socket: Socket) -> None:
    """Make a record of each message; an empty one has nothing to say."""
    while (message := await socket.receive()) is not None:
        try:
            raw = message if isinstance(message, str) else message.decode()
        except UnicodeDecodeError:
            raise Closed(NOT_UTF8, "a record is text: encode binary data, for example base64") from None
        if raw:
            try:
                access.take_posts(socket.address, 1, trio.current_time())
                submit(feeds.node, None, raw, None)
            except Problem as problem:
                code = CODE_BY_STATUS.get(problem.status, POLICY)
                raise Closed(code, f"{problem.code}: {problem.detail}") from None


async def _listen(feeds: Feeds, socket: Socket) -> None:
    """Send every record's raw as a text frame: from now on, or from `?since=` on."""
    node = feeds.node
    since = socket.argument("since") or "now"
    position = parse_since(since, node.boot, node.wall_ms(), node.store_statistics().seq)
    feed = feeds.follow(position, socket.argument("prefix"), Raws())
    reader = feeds.open("raw", socket.address)
    try:
        await socket.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_hear_nothing, socket, nursery.cancel_scope)
            while not feeds.closing:
                reader.listen()
                run = feed.take()
                if run is None:
                    await reader.wait()
                elif run.data:
                    await socket.send(run.data)
                    reader.sent(run.records)
                else:
                    await trio.lowlevel.checkpoint()
            raise Closed(GOING_AWAY, feed.cursor)
    finally:
        reader.leave(cut_at=feed.cursor if socket.cut else None)


async def _hear_nothing(socket: Socket, scope: trio.CancelScope) -> None:
    """Wait for the end; a listener has nothing to say."""
    if await socket.receive() is not None:
        raise Closed(POLICY, "this socket listens: to publish, connect with credentials that may write")
    scope.cancel()
