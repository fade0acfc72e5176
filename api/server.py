"""The HTTP server: bind, accept, guard, stop.

hypercorn on trio serves well until somebody is rude to it. Stock 0.18.0 ends the process on one malformed
request, keeps clients that do not read for ever, and hangs at shutdown because of them; quart-trio 0.12
leaks every connection it answers early. Upstream knows part of it (pgjones/hypercorn issues 203, 225, 329).
Nothing is patched here: `serve` accepts the connections itself and runs subclasses of hypercorn's classes,
each of which says what it changes and why. Their bases are pinned to a release, and
tests/api/test_server_pins.py fails when a new one no longer fits.

    api.limits      every bound, with its reason
    api.guard       the counts that all connections share
    api.access      who may do what: Host and Origin, credentials, rates (pure)
    api.heads       which request heads are refused (pure)
    api.tls         HTTPS, if there is a certificate
    api.connection  one TCP connection: deadlines, closing, containment
    api.protocol    HTTP/1.1 on it
    api.fastpath    small POSTs to the busiest routes, past all of what follows
    api.exchange    one request or one WebSocket on that
    api.inbox       the way to the application
    api.body        one request through Quart: the whole body, then the handler
"""

import resource
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final, cast

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.logging import Logger
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    LifespanState,
    ResponseSummary,
    Scope,
    WWWScope,
)

from api.access import Access
from api.body import (
    FAST_PATH_EXTENSION,
    GUARD_EXTENSION,
    LeanHTTP,
    client_address,
    send_handshake_problem,
    send_problem,
)
from api.connection import GuardedConnection
from api.counts import ServerCounts, ServerStatistics
from api.fastpath import FastPath
from api.guard import Guard
from api.limits import HttpLimits
from api.reply import Handler

__all__ = ["HttpLimits", "LeanHTTP", "ServerCounts", "ServerStatistics", "serve"]

BACKLOG: Final = 1024
"""Connections the kernel holds for us before accept: a start of all subscribers at once."""

FILES_RESERVED: Final = 64
"""File descriptors left for all that is not an HTTP connection: peers, journal, listeners, logs."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("api.server")


async def serve(
    app: ASGIFramework,
    bind: str,
    limits: HttpLimits,
    *,
    shutdown: Callable[[], Awaitable[None]],
    access: Access | None = None,
    tls: ssl.SSLContext | None = None,
    statistics: ServerStatistics | None = None,
    fast_routes: Mapping[bytes, Handler] | None = None,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` until `shutdown` returns, then end within `graceful_timeout_s`.

    Args:
        app: an ASGI application. A QuartTrio app should have `LeanHTTP` as its `asgi_http_class`.
        bind: `host:port`; an IPv6 host in brackets; port 0 takes a free one.
        limits: HttpLimits. `connections_max` is lowered to what RLIMIT_NOFILE leaves.
        shutdown: awaited once; its return ends the server.
        access: who may do what; None for the rules that need no settings.
        tls: as `server_context` makes it, for HTTPS; None for HTTP.
        statistics: where to count; None for nowhere.
        fast_routes: handlers by path for POSTs that need not go through `app` (see api/fastpath.py).
        task_status: `started` is called with the list of URLs once connections are accepted.

    Raises:
        OSError: the address cannot be bound (the owner's fault; nothing was started).
        ValueError: `bind` is not `host:port`.
    """
    with _listen(bind) as listener:
        vanished_ms = round(limits.vanished_timeout_s * 1000)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, vanished_ms)  # so has each accepted
        guard = Guard(fit_to_files(limits), statistics, access)
        fast_path = FastPath(fast_routes or {}, guard)
        config, context = _config(limits), WorkerContext(None)
        wrapped = ASGIWrapper(partial(_gate, app, guard, fast_path))
        state: LifespanState = {}
        lifespan = Lifespan(wrapped, config, state)
        async with trio.open_nursery() as lifespan_nursery:
            await lifespan_nursery.start(lifespan.handle_lifespan)
            await lifespan.wait_for_startup()
            async with trio.open_nursery() as connections:
                handler = partial(GuardedConnection, guard, fast_path, wrapped, config, context, state, tls)
                async with trio.open_nursery() as accepting:
                    accepting.start_soon(
                        partial(
                            trio.serve_listeners,
                            handler,
                            [trio.SocketListener(listener)],
                            handler_nursery=connections,
                        )
                    )
                    task_status.started([_url(listener, tls is not None)])
                    await shutdown()
                    await context.terminated.set()  # from here on every answer is its connection's last
                    accepting.cancel_scope.cancel()
                guard.close_idle()
                connections.cancel_scope.deadline = trio.current_time() + limits.graceful_timeout_s
            await lifespan.wait_for_shutdown()
            lifespan_nursery.cancel_scope.cancel()


async def _gate(
    app: ASGIFramework,
    guard: Guard,
    fast_path: FastPath,
    scope: Scope,
    receive: ASGIReceiveCallable,
    send: ASGISendCallable,
) -> None:
    """Let a request through to the application if it may pass (api/access.py)."""
    if scope["type"] == "lifespan":
        await app(scope, receive, send)
        return
    is_websocket = scope["type"] == "websocket"
    method = scope["method"] if scope["type"] == "http" else "GET"
    problem = guard.access.check(
        list(scope["headers"]),
        method,
        scope["path"],
        client_address(scope),
        trio.current_time(),
        is_websocket=is_websocket,
    )
    if problem is None:
        extensions = cast("dict[str, object]", scope["extensions"])  # ASGI allows any value
        extensions |= {GUARD_EXTENSION: guard, FAST_PATH_EXTENSION: fast_path}
        await app(scope, receive, send)
    elif is_websocket:
        await send_handshake_problem(problem, scope["path"], send)
    else:
        await send_problem(problem, scope["path"], send)


def _listen(bind: str) -> trio.socket.SocketType:
    host, colon, port = bind.rpartition(":")
    if not colon or not port.isdecimal():
        raise ValueError(f"{bind!r} is not host:port")
    host = host.removeprefix("[").removesuffix("]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, int(port)), family=family, backlog=BACKLOG)
    return trio.socket.from_stdlib_socket(listener)


def _url(listener: trio.socket.SocketType, tls: bool) -> str:
    host, port = listener.getsockname()[:2]
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def fit_to_files(limits: HttpLimits) -> HttpLimits:
    """Lower `connections_max` below the file limit: at that limit accept fails ten times a second."""
    files_max = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files_max == resource.RLIM_INFINITY:
        return limits
    fitted = limits.lowered_to(max(files_max - FILES_RESERVED, 1))
    if fitted.connections_max < limits.connections_max:
        _log.warning(
            "fewer connections than configured: the file limit is low (see ulimit -n)",
            connections_max=fitted.connections_max,
            configured=limits.connections_max,
            files_max=files_max,
        )
    return fitted


def _config(limits: HttpLimits) -> Config:
    """Set what hypercorn's own classes read; sockets, timers and HTTP/2 are not theirs here."""
    config = Config()
    config.logger_class = _StructLogger
    config.accesslog = config.errorlog = None
    config.include_server_header = False
    config.h11_max_incomplete_size = limits.header_bytes_max
    config.websocket_ping_interval = limits.websocket_ping_interval_s
    config.websocket_max_message_size = limits.websocket_message_bytes_max
    return config


class _StructLogger(Logger):
    """hypercorn's logger, silent but for warnings and worse, which go to structlog."""

    async def access(self, request: WWWScope, response: ResponseSummary, request_time: float) -> None:
        """Write no access log: at thousands of records a second it would be most of the disk traffic."""

    async def warning(self, message: str, *args: object, **kwargs: object) -> None:
        """Log at warning."""
        _log.warning(message)

    async def error(self, message: str, *args: object, **kwargs: object) -> None:
        """Log at warning: nothing of hypercorn's stops the node."""
        _log.warning(message)

    async def exception(self, message: str, *args: object, **kwargs: object) -> None:
        """Log at warning, with the traceback."""
        _log.warning(message, exc_info=True)
