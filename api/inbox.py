"""The way from a connection's reader to one call of the application, and the tasks of a connection.

Stock hypercorn uses a memory channel of ten messages for it. That has two faults here. When the
application answers without reading the body, the channel is full and "the client is gone" has no room:
reader and application wait for each other for ever. And every piece of a body costs two task switches:
200,000 chunks of one byte kept the server busy for seconds. An `Inbox` is bounded in bytes, takes the
end of the connection at any time, and hands adjacent pieces of a body out as one.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, cast

import structlog
import trio
from hypercorn.config import Config
from hypercorn.trio.task_group import TaskGroup
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent, Scope

EVENTS_MAX: Final = 64
"""Messages in hand before the reader waits. Our choice: enough to switch tasks rarely."""

BYTES_MAX: Final = 64 * 1024
"""Payload in hand before the reader waits: one receive from the socket."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("api.server")


class Inbox:
    """A bounded queue of ASGI messages with one putter and any number of receivers."""

    def __init__(self) -> None:
        self._events: deque[ASGIReceiveEvent] = deque()
        self._bytes = 0
        self._ended = False
        self._putters = trio.lowlevel.ParkingLot()
        self._receivers = trio.lowlevel.ParkingLot()

    async def put(self, event: ASGIReceiveEvent) -> None:
        """Add a message; wait while more is in hand than one inbox may hold.

        A disconnect never waits and ends the inbox: whoever waits in `put` goes on, and what is put
        later is dropped.
        """
        if self._ended:
            return
        self._events.append(event)
        self._bytes += _payload_bytes(event)
        self._receivers.unpark()
        if event["type"] in ("http.disconnect", "websocket.disconnect"):
            self._ended = True
            self._putters.unpark_all()
            return
        while not self._ended and (self._bytes > BYTES_MAX or len(self._events) > EVENTS_MAX):
            await self._putters.park()

    async def receive(self) -> ASGIReceiveEvent:
        """Take the next message; adjacent pieces of a body come as one, a disconnect again and again."""
        while not self._events:
            await self._receivers.park()
        if self._ended and len(self._events) == 1:
            # No await above when it is at hand already, and an application may ask in a loop.
            await trio.lowlevel.checkpoint()
            return self._events[0]
        event = self._next()
        self._putters.unpark()
        if self._events:
            self._receivers.unpark()
        return event

    def _next(self) -> ASGIReceiveEvent:
        event = self._events.popleft()
        self._bytes -= _payload_bytes(event)
        if event["type"] != "http.request":
            return event
        pieces, more_body = [event["body"]], event["more_body"]
        while self._events and self._events[0]["type"] == "http.request":
            piece = self._events.popleft()
            assert piece["type"] == "http.request"  # narrows the type for the checkers
            self._bytes -= len(piece["body"])
            pieces.append(piece["body"])
            more_body = piece["more_body"]
        return {"type": "http.request", "body": b"".join(pieces), "more_body": more_body}


def _payload_bytes(event: ASGIReceiveEvent) -> int:
    if event["type"] == "http.request":
        return len(event["body"])
    if event["type"] == "websocket.receive":
        return len(event["bytes"] or event["text"] or b"")
    return 0


class ConnectionTasks(TaskGroup):
    """The tasks of one connection. Overrides `spawn_app` to use an `Inbox` (see above)."""

    async def spawn_app(
        self,
        app: AppWrapper,
        config: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Start one call of the application; return how to put messages to it."""
        inbox = Inbox()
        assert self._nursery is not None  # the connection enters the group before it reads
        self._nursery.start_soon(_run_app, app, scope, inbox.receive, send)
        return inbox.put


async def _run_app(
    app: AppWrapper,
    scope: Scope,
    receive: Callable[[], Awaitable[ASGIReceiveEvent]],
    send: Callable[[ASGISendEvent | None], Awaitable[None]],
) -> None:
    """Call the application; its failure is logged and answered 500, and goes no further."""
    try:
        await app(scope, receive, send, trio.to_thread.run_sync, trio.from_thread.run)
    except* Exception as failed:  # a bug in a handler costs its request
        log_failure("handler failed", failed)
    finally:
        await send(None)


def log_failure(event: str, error: BaseException) -> None:
    """Log one warning with the types of what was raised, and where; never with a payload."""
    leaf = error
    while isinstance(leaf, BaseExceptionGroup):
        leaf = cast("BaseExceptionGroup[BaseException]", leaf).exceptions[0]
    step = leaf.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    place = f"{step.tb_frame.f_code.co_qualname}:{step.tb_lineno}" if step is not None else ""
    _log.warning(event, error=type(leaf).__qualname__, place=place)
