"""Which WebSocket routes there are, and what becomes of a refusal before and after the handshake."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, WebsocketScope
from quart import Blueprint, Response
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIWebsocketConnection

from api.access import Access
from api.body import send_handshake_problem
from api.broadcaster import serve_broadcaster
from api.cursor import PREFIX, SINCE
from api.errors import Problem
from api.feeds import Feeds
from api.forms import FeedEvent
from api.jsonsocket import Asked, Posted, Reply, serve_json
from api.operation import TEXT, Answer, Operation, operation
from api.socket import Closed, Socket

Route = Callable[[Socket], Awaitable[None]]
E = TypeVar("E", bound=Exception)


SOCKET_ROUTES: Final[dict[str, Callable[[Feeds, Access, Socket], Awaitable[None]]]] = {
    "/v1/ws": serve_json,
    "/websocket": serve_broadcaster,
}

_SINCE = SINCE._replace(text=f"{SINCE.text} By default `now`.")
_SWITCHED = Answer(101, "The socket is open.")
_UPGRADE = {"upgrade": "websocket", "connection": "upgrade"}

_JSON_SOCKET = Operation(
    (_SWITCHED,),
    ("upgrade-required", "bad-origin"),
    says=(Asked,),
    hears=(Reply, Posted, FeedEvent),
)
_BROADCASTER = Operation(
    (_SWITCHED,),
    ("upgrade-required", "bad-origin"),
    (_SINCE, PREFIX),
    says=(TEXT,),
    hears=(TEXT,),
)


def make_blueprint() -> Blueprint:
    """Make the answers to requests for these routes that are no handshake (RFC 9110 section 15.5.22)."""
    routes = Blueprint("sockets", __name__)

    @routes.get("/v1/ws")
    @operation(_JSON_SOCKET)
    async def json_socket() -> Response:
        """Post and follow over one WebSocket: JSON both ways."""
        raise Problem("upgrade-required", "connect to it with a WebSocket client", _UPGRADE)

    @routes.get("/websocket")
    @operation(_BROADCASTER)
    async def broadcaster() -> Response:
        """Hear each record's raw; or, with credentials that may write, make a record of each frame."""
        raise Problem("upgrade-required", "connect to it with a WebSocket client", _UPGRADE)

    return routes


def make_sockets(feeds: Feeds, access: Access) -> Callable[[QuartTrio, WebsocketScope], "LiveWebSocket"]:
    """Make the routes over `feeds`; what is returned serves as a QuartTrio app's `asgi_websocket_class`."""
    routes: dict[str, Route] = {path: partial(serve, feeds, access) for path, serve in SOCKET_ROUTES.items()}
    return partial(LiveWebSocket, routes)


class LiveWebSocket(TrioASGIWebsocketConnection):
    """One WebSocket: to its route, or to Quart (which refuses it) if there is none."""

    def __init__(self, routes: dict[str, Route], app: QuartTrio, scope: WebsocketScope) -> None:
        super().__init__(app, scope)
        self._route = routes.get(scope["path"])

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve it to its end."""
        if self._route is None:
            await super().__call__(receive, send)
            return
        socket = Socket(self.scope, receive, send)
        try:
            await self._route(socket)
        except* Problem as refused:  # a group, because routes have tasks
            await send_handshake_problem(_first(refused), self.scope["path"], send)
        except* Closed as closed:
            end = _first(closed)
            await socket.close(end.code, end.reason)


def _first(group: BaseExceptionGroup[E]) -> E:
    leaf = group.exceptions[0]
    return _first(leaf) if isinstance(leaf, BaseExceptionGroup) else leaf
