"""HTTP/1.1 on one connection: hypercorn's H11Protocol, told what not to accept.

What is overridden, and why (h11 parses, hypercorn drives; both are kept):

- `_handle_events` (driver loop): stock answers `Expect: 100-continue` before the application could refuse,
  counts neither headers nor chunks, and can wait for ever on a connection it has closed already.
- `_create_stream`: makes the guarded exchanges, and never offers permessage-deflate: one megabyte of it
  unpacks to a gigabyte, and every socket would hold 120 KiB for the compressor.
- `_check_protocol`: no HTTP/2, neither by upgrade nor by prior knowledge; bad settings in either end the
  whole process in stock.
- `stream_send`: head and body leave in one write, and a connection that cannot be reused says so.

A request that may take the fast path (api/fastpath.py) is answered here, without an exchange of its own.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from typing import Final, cast

import h11
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, EndBody, Request, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.typing import (
    AppWrapper,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ConnectionState,
    H11SendableEvent,
    Scope,
    TaskGroup,
    WorkerContext,
)

from api.errors import CODE_BY_HEAD_STATUS, PROBLEM_JSON, Problem, problem_json
from api.exchange import ENDED_EXTENSION, GuardedHTTPStream, GuardedWSStream
from api.fastpath import FastPath, Headers
from api.heads import is_websocket, refusal_status
from api.limits import HttpLimits

JOIN_BYTES_MAX: Final = 64 * 1024
"""Largest body that is copied behind its head to save a write; larger ones go in a write of their own."""

PIECES_FREE: Final = 4096
"""Pieces a body may come in whatever its size."""

PIECE_BYTES_MEAN_MIN: Final = 64
"""Beyond the free ones a body's pieces must hold this many bytes on average: parsing costs h11 about 10 µs
a piece, so a body of 8 MiB in chunks of one byte would be a minute and a half of CPU."""

HEADS_KEPT: Final = 64
"""Answers' heads that are kept checked, the latest ones. `Date` is in each: they serve for a second."""

_REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus}

_END: Final = h11.EndOfMessage()


@lru_cache(HEADS_KEPT)
def _checked(status: int, headers: tuple[tuple[bytes, bytes], ...]) -> h11.Response:
    """Make an answer's head. The same one is not checked header by header again: 26 µs of CPU a request."""
    return h11.Response(headers=list(headers), status_code=status, reason=_REASONS.get(status, b""))


class GuardedH11(H11Protocol):
    """One HTTP/1.1 connection's protocol state."""

    def __init__(
        self,
        limits: HttpLimits,
        fast_path: FastPath,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        task_group: TaskGroup,
        state: ConnectionState,
        tls: bool,
        client: tuple[str, int] | None,
        server: tuple[str, int] | None,
        send: Callable[[Event], Awaitable[None]],
    ) -> None:
        super().__init__(self._call_app, config, context, task_group, state, tls, client, server, send)
        self._tls = tls
        self.finished = False
        """Set by the connection once it is being closed: no further event counts."""
        self.cut = False
        """Set by the connection when the client took nothing for the time of a write."""
        self._limits = limits
        self._fast_path = fast_path
        self._framework = app
        self._head = b""
        self._awaited: tuple[h11.Request, Headers, int] | None = None
        self._pieces = 0
        self._pieces_bytes = 0

    @property
    def awaits_body(self) -> bool:
        """Whether a request may take the fast path if its body comes with the next bytes."""
        return self._awaited is not None

    @property
    def answering(self) -> bool:
        """Whether an HTTP request is in hand."""
        return isinstance(self.stream, GuardedHTTPStream)

    async def go_on(self) -> None:
        """Wait for that body no longer."""
        await self._handle_events()

    async def hang_up(self) -> None:
        """Take note that the client sends no more."""
        if isinstance(self.stream, GuardedHTTPStream | GuardedWSStream):
            await self.stream.hang_up(self.cut)

    async def _call_app(
        self,
        scope: Scope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        sync_spawn: Callable[..., object],
        call_soon: Callable[..., object],
    ) -> None:
        """Call the application so that its first look at the body sends the awaited 100; tell of our end."""

        async def continue_and_receive() -> ASGIReceiveEvent:
            if self.connection.they_are_waiting_for_100_continue:
                await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))
            return await receive()

        cast("dict[str, dict[str, object]]", scope)["extensions"][ENDED_EXTENSION] = lambda: self.finished
        awaited = self.connection.they_are_waiting_for_100_continue
        asked = continue_and_receive if awaited else receive
        await self._framework(scope, asked, send, sync_spawn, call_soon)

    async def _handle_events(self) -> None:
        if self._awaited is not None:
            await self._end_wait(*self._awaited)
        while self._awaited is None and not self.finished:
            try:
                event = self._next_event()
            except h11.RemoteProtocolError as error:
                await self._refuse(error.error_status_hint)
                return
            if isinstance(event, h11.Request):
                await self._begin(event)
            elif event is h11.PAUSED:
                await self.can_read.clear()
                await self.can_read.wait()
            elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed) or self.stream is None:
                return
            elif isinstance(event, h11.Data):
                await self._take_piece(event)
            elif isinstance(event, h11.EndOfMessage):
                await self.stream.handle(EndBody(stream_id=STREAM_ID))
            else:
                await self.stream.handle(cast("StreamEvent", event))  # WebSocket bytes

    def _next_event(self) -> object:
        """Return h11's next event; what comes behind a connection's last request waits, and is never read.

        h11 takes it for an error, and the good request before it, done already, would be answered with 400.
        Clients put a line end behind a body (RFC 9112 section 2.2), or the next request.
        """
        if self.connection.their_state is h11.MUST_CLOSE and self.connection.trailing_data[0]:
            return h11.PAUSED
        return self.connection.next_event()

    async def _begin(self, request: h11.Request) -> None:
        await self.send(Updated(idle=False))
        headers = list(request.headers)
        status = refusal_status(request, headers, self._limits)
        if status is not None:
            await self._refuse(status)
            return
        self._pieces = self._pieces_bytes = 0
        size = self._fast_path.body_bytes(request, headers)
        if size is None:
            await self._create_stream(request)
        elif len(self.connection.trailing_data[0]) >= size:
            await self._answer_at_once(request, headers)
        else:
            self._awaited = request, headers, size

    async def _end_wait(self, request: h11.Request, headers: Headers, size: int) -> None:
        """Go the fast path if the body has come whole, else the ordinary way."""
        self._awaited = None
        if len(self.connection.trailing_data[0]) >= size:
            await self._answer_at_once(request, headers)
        else:
            await self._create_stream(request)

    async def _answer_at_once(self, request: h11.Request, headers: Headers) -> None:
        """Answer a request whose body is in hand whole, and be ready for the next."""
        pieces: list[bytes] = []
        while isinstance(event := self.connection.next_event(), h11.Data):
            pieces.append(bytes(event.data))
        status, more, body = await self._fast_path.answer(
            request.target, headers, b"".join(pieces), self.client[0] if self.client else ""
        )
        wire = [(name.encode(), value.encode("latin-1")) for name, value in more.items()]
        wire.append((b"content-length", str(len(body)).encode()))
        answer = (self._response(status, wire), h11.Data(data=body), _END)
        await self.send(RawData(data=b"".join([self._serialise(event) for event in answer])))
        await self._maybe_recycle()

    async def _take_piece(self, piece: h11.Data) -> None:
        self._pieces += 1
        self._pieces_bytes += len(piece.data)
        if self._pieces > PIECES_FREE + self._pieces_bytes // PIECE_BYTES_MEAN_MIN:
            await self._refuse(400)
        elif self.stream is not None:
            await self.stream.handle(Body(stream_id=STREAM_ID, data=bytes(piece.data)))

    async def _send_error_response(self, status_code: int) -> None:
        """Answer what never became a request with a problem; stock sends an empty body."""
        code = CODE_BY_HEAD_STATUS.get(status_code, "bad-request")
        body = problem_json(Problem(code, "the request's head or framing is not acceptable"))
        headers = [
            (b"content-type", PROBLEM_JSON.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            *self.config.response_headers("h11"),
        ]
        reason = _REASONS.get(status_code, b"")
        response = h11.Response(status_code=status_code, headers=headers, reason=reason)
        await self._send_h11_event(response)
        with suppress(h11.LocalProtocolError):  # the answer to HEAD ends with its head
            await self._send_h11_event(h11.Data(data=body))
            await self._send_h11_event(h11.EndOfMessage())

    async def _refuse(self, status: int) -> None:
        """Answer with a problem if no answer has begun, and close."""
        await self._close_stream()
        if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            await self._send_error_response(status)
        await self.send(Closed())

    async def _check_protocol(self, event: h11.Request) -> None:
        """Do nothing: an upgrade to HTTP/2 is ignored, as RFC 9110 section 7.8 allows."""

    async def _create_stream(self, request: h11.Request) -> None:
        headers = list(request.headers)
        stream_class: type[GuardedHTTPStream | GuardedWSStream] = GuardedHTTPStream
        if is_websocket(request):
            stream_class = GuardedWSStream
            self.connection = H11WSConnection(cast("h11.Connection", self.connection))
            headers = [pair for pair in headers if pair[0] != b"sec-websocket-extensions"]
        self.stream = stream_class(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self._tls,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=headers,
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self.connection_state,
            )
        )

    async def stream_send(self, event: StreamEvent) -> None:
        """Put an answer on the wire: its head waits for the first piece of the body, so both go at once."""
        if isinstance(event, Response) and event.status_code >= 200:
            self._head = self._serialise(self._response(event.status_code, event.headers))
        elif isinstance(event, Body):
            await self._send_behind_head(self._serialise(h11.Data(data=event.data)))
        elif isinstance(event, EndBody):
            await self._send_behind_head(self._serialise(h11.EndOfMessage()))
        else:
            if isinstance(event, StreamClosed):
                await self._send_behind_head(b"")  # the application failed between head and body
            await super().stream_send(event)

    def _response(self, status: int, headers: Headers) -> h11.Response:
        close = [(b"connection", b"close")] if self._must_close() else []
        return _checked(status, (*headers, *self.config.response_headers("h11"), *close))

    def _must_close(self) -> bool:
        """Whether this answer is the connection's last: the node stops, or the body is still coming."""
        if isinstance(self.connection, H11WSConnection) or self.context.terminated.is_set():
            return True
        return self.connection.their_state in {h11.SEND_BODY, h11.ERROR}

    def _serialise(self, event: H11SendableEvent) -> bytes:
        try:
            return self.connection.send(event) or b""
        except h11.LocalProtocolError:
            if self.connection.their_state is not h11.ERROR:
                raise
            return b""  # stock's rule: after a client's error nothing can be said properly

    async def _send_behind_head(self, data: bytes) -> None:
        head, self._head = self._head, b""
        if head and len(data) > JOIN_BYTES_MAX:
            await self.send(RawData(data=head))
            head = b""
        if head or data:
            await self.send(RawData(data=head + data))
