"""One request and its answer, or one WebSocket: hypercorn's streams with their loose ends tied.

Both subclasses keep one promise stock does not: an application that sends to somebody who is gone gives
the others their turn. Stock returns at once without a checkpoint, and one loop of sends to one closed
WebSocket then freezes the whole process.
"""

import math
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, cast

import trio
from hypercorn.protocol.events import Body, Data, Event, StreamClosed
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, WSStream
from hypercorn.typing import ASGIReceiveEvent, ASGISendEvent
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping
from wsproto.events import Event as WSEvent
from wsproto.frame_protocol import CloseReason

from api.errors import Problem, render

CUT: Final = "slow"
"""The `reason` of a disconnect message when the client took nothing for the time of a write."""

ENDED_EXTENSION: Final = "dayfly.ended"
"""Where a scope's extensions have a function that tells whether the connection is over, so that nobody takes
what is sent. A disconnect message does not tell: who has shut the sending side may still read."""

LAST_WORD_S: Final = 0.5
"""How long the answer for an application that was cancelled may take: it fits any buffer that has room."""


def _disconnect(message: ASGIReceiveEvent, cut: bool) -> ASGIReceiveEvent:
    return cast("ASGIReceiveEvent", {**message, "reason": CUT}) if cut else message


class _Buffer(Protocol):
    """hypercorn's buffer of one message, with types."""

    def extend(self, event: object) -> None:
        """Add a part. Raises FrameTooLargeError."""

    def to_message(self) -> ASGIReceiveEvent:
        """Return the whole as ASGI's message."""
        ...

    def clear(self) -> None:
        """Forget it."""


class GuardedHTTPStream(HTTPStream):
    """One HTTP request and its answer."""

    app_put: Callable[[ASGIReceiveEvent], Awaitable[None]]

    async def app_send(self, message: ASGISendEvent | None) -> None:
        """Pass a message on; once the exchange is over, drop it and let others run.

        Stock hands messages for a closed stream to h11, which raises, and answers for an application that
        has ended without a word with an empty 500.
        """
        if not self.closed:
            if message is None and self.state is ASGIHTTPState.REQUEST:
                await self._answer_instead()
            await super().app_send(message)
        elif message is not None:
            await trio.lowlevel.checkpoint()

    async def _answer_instead(self) -> None:
        """Answer with a problem what the application did not answer: it failed, or was cancelled."""
        problem = Problem("internal", "the node failed to answer; what went wrong is logged")
        if trio.current_effective_deadline() == -math.inf:
            problem = Problem("timeout", "the node gave up before the answer was ready; the work may be done")
        status, headers, body = render(problem, self.scope["path"])
        wire = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        wire.append((b"content-length", b"%d" % len(body)))
        with trio.move_on_after(LAST_WORD_S, shield=True):
            await super().app_send({"type": "http.response.start", "status": status, "headers": wire})
            await super().app_send({"type": "http.response.body", "body": body, "more_body": False})

    async def hang_up(self, cut: bool) -> None:
        """Tell the application that the client sends no more, without closing the exchange.

        Args:
            cut: it was cut because it took nothing for the time of a write.

        Stock takes a half-closed connection for a closed one. A client that shuts its sending side
        down (`nc -N`) still reads; whether it is gone for good shows when something is sent to it.
        """
        if not self.closed:
            await self.app_put(_disconnect({"type": "http.disconnect"}, cut))


class GuardedWSStream(WSStream):
    """One WebSocket."""

    app_put: Callable[[ASGIReceiveEvent], Awaitable[None]] | None
    _over: trio.Event
    """Set once the socket is closed."""
    _heard = True
    """Whether the client sent anything since the last ping."""
    _taking = False
    """Whether bytes of the client wait for the application: then it is not the client who is silent."""

    async def app_send(self, message: ASGISendEvent | None) -> None:
        """Pass a message on; once the socket is closed, drop it and let others run."""
        if self.closed:
            if message is not None:
                await trio.lowlevel.checkpoint()
        elif message is not None and message["type"] == "websocket.send" and "frames" in message:
            # Frames that are made already, maybe for a hundred sockets: api/forms.py.
            if self.connection.state is ConnectionState.OPEN:
                frames = cast("dict[str, bytes]", message)["frames"]
                await self.send(Data(stream_id=self.stream_id, data=frames))
            else:
                await trio.lowlevel.checkpoint()
        else:
            await super().app_send(message)

    async def handle(self, event: Event) -> None:
        """Take an event from the connection.

        Stock answers data sent before the handshake's answer with 400 while the application may be
        answering too, and tells the application nothing.
        """
        if isinstance(event, StreamClosed) or self.closed:
            await super().handle(event)
            self._over.set()
        elif isinstance(event, Body | Data):
            self._heard = self._taking = True
            await self._take(event)
            self._taking = False
        else:
            self._over = trio.Event()
            await super().handle(event)

    async def hang_up(self, cut: bool) -> None:
        """Close: a WebSocket cannot be half-closed. `cut`: as above."""
        if cut and self.app_put is not None and not self.closed:
            code = CloseReason.ABNORMAL_CLOSURE.value
            await self.app_put(_disconnect({"type": "websocket.disconnect", "code": code}, cut))
        await self.handle(StreamClosed(stream_id=self.stream_id))

    async def _take(self, event: Body | Data) -> None:
        if not self.handshake.accepted:
            await self._refuse_early_data()
            return
        await super().handle(event)
        if self.state is ASGIWebsocketState.CONNECTED and (
            # Too large a message: stock answers 1009 and then waits for ever, telling nobody.
            self.connection.state is ConnectionState.LOCAL_CLOSING
        ):
            await self._end()

    async def _handle_events(self) -> None:
        """Do what the client's frames ask for.

        Stock drops the connection without a word when a client breaks the protocol; the reason is owed
        (RFC 6455 section 7.1.7).
        """
        for event in self.connection.events():
            if isinstance(event, CloseConnection) and self.connection.state is ConnectionState.OPEN:
                await self._send_wsproto_event(CloseConnection(event.code, event.reason))
                await self._end()
                return
            if not await self._handle_frame(event):
                return

    async def _handle_frame(self, event: WSEvent) -> bool:
        """Do what one frame asks for; return whether to go on."""
        if isinstance(event, Message):
            return await self._take_message(event)  # pyright: ignore[reportUnknownArgumentType] - wsproto
        if isinstance(event, Ping):
            await self._send_wsproto_event(event.response())
        elif isinstance(event, CloseConnection):
            if self.connection.state is ConnectionState.REMOTE_CLOSING:
                await self._send_wsproto_event(event.response())
            await self._end()
        return True

    async def _take_message(self, part: "Message[Any]") -> bool:
        """Gather a message and hand it on when it is whole; False if it is too large."""
        buffer = cast("_Buffer", self.buffer)
        try:
            buffer.extend(part)
        except FrameTooLargeError:
            await self._send_wsproto_event(CloseConnection(CloseReason.MESSAGE_TOO_BIG))
            return False
        if part.message_finished and self.app_put is not None:
            message = buffer.to_message()
            buffer.clear()
            await self.app_put(message)
        return True

    async def _refuse_early_data(self) -> None:
        """Answer 400 to bytes that came before the handshake's answer (RFC 6455 section 4.1)."""
        answering = self.state is not ASGIWebsocketState.HANDSHAKE
        self.closed = True  # from here on nothing the application sends counts
        self._over.set()
        if self.app_put is not None:
            code = CloseReason.ABNORMAL_CLOSURE.value
            await self.app_put({"type": "websocket.disconnect", "code": code})
        if not answering:
            await self._send_error_response(400)
        await self._end()

    async def _end(self) -> None:
        await self.send(StreamClosed(stream_id=self.stream_id))

    async def _send_pings(self) -> None:
        """Ping until the socket is closed; end it when an interval brought no byte at all.

        Stock never looks for the answers, so a vanished client stays for ever; and it sleeps through the
        end of the socket, which keeps the connection's tasks alive for up to one interval.
        """
        interval_s = self.config.websocket_ping_interval
        if interval_s is None:
            return
        self._heard = True
        while True:
            with trio.move_on_after(interval_s):
                await self._over.wait()
            if self.closed:
                return
            if not (self._heard or self._taking):
                await self._end()
                return
            self._heard = False
            await self._send_wsproto_event(Ping())
