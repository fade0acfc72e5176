"""One request through Quart: the whole body first, then the handler, then the answer.

Quart-Trio runs two tasks per request, one that reads and one that handles, and lets the reader's end
cancel the handler. That leaks the connection (the reader ends while hypercorn makes the connection ready
for its next request, inside the handler's last send), cancels a handler whose client hangs up although the
record may be stored already, and buffers a body without bound. Bodies here are records: small, bounded,
and of no use in part. So they are read inline, and there is one task.
"""

from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import NamedTuple, cast

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, WebsocketScope
from quart import Response
from quart.wrappers.response import DataBody
from quart_trio.asgi import TrioASGIHTTPConnection
from werkzeug.wrappers import Response as WerkzeugResponse

from api.access import is_writing
from api.errors import Problem, render
from api.exchange import CUT, ENDED_EXTENSION
from api.fastpath import FastPath
from api.guard import Guard, no_room
from api.limits import HttpLimits

GUARD_EXTENSION = "dayfly.guard"
"""Where `serve` puts the server's Guard into a scope's extensions."""

FAST_PATH_EXTENSION = "dayfly.fast_path"
"""The same for its FastPath."""

_RECEIVE_EXTENSION = "dayfly.receive"
"""Where `LeanHTTP` puts a request's `receive`, for `watching`."""


class Live(NamedTuple):
    """A live answer's pieces, some of them maybe empty, and whom to tell once when it is over, whatever ended
    it: with True if the client was cut."""

    pieces: AsyncGenerator[bytes]
    over: Callable[[bool], None]


class LiveResponse(Response):
    """An answer that goes on until its client or the node ends it.

    Args:
        headers: of the answer.
        begin: called when it is to be sent, and not for HEAD; may raise Problem, which is then the answer.
    """

    def __init__(self, headers: dict[str, str], begin: Callable[[], Live]) -> None:
        super().__init__(None, 200, headers)  # pyright: ignore[reportUnknownMemberType] - Quart's own
        self.begin = begin


class LeanHTTP(TrioASGIHTTPConnection):
    """Set as `asgi_http_class` of a QuartTrio app. Outside `serve` the default limits hold."""

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve one request.

        A body that is too large, too slow or one too many is answered here and reaches no handler;
        neither does one whose client hung up half-way. Replaces the base's two tasks.
        """
        guard = self._guard()
        body = _Body(guard)
        cast("dict[str, object]", self.scope["extensions"])[_RECEIVE_EXTENSION] = receive
        try:
            whole = await self._read(body, guard.limits.body_timeout_s, receive)
            if whole is None:
                return
            path, kind = self.scope["path"], self._header(b"content-type")
            if is_writing(self.scope["method"], path):
                now_s = trio.current_time()
                guard.access.take_post(client_address(self.scope), path, kind, whole, now_s)
            if fast_path := self._fast_path():
                reply = await fast_path.handle(path.encode(), kind, whole)
                body.release()
                await _send_whole(send, *reply)
                return
            request = self._create_request_from_scope(send)
            request.body.set_result(whole)
            response = await self.app.handle_request(request)
        except Problem as problem:
            body.release()  # before the answer: a client may be slow to take it
            await send_problem(problem, self.scope["path"], send)
            return
        finally:
            body.release()
        if isinstance(response, LiveResponse) and self.scope["method"] != "HEAD":
            try:
                await self._send_live(send, response)
            except Problem as problem:
                await send_problem(problem, self.scope["path"], send)
        else:
            await self._send_response(send, response)

    async def _read(self, body: "_Body", timeout_s: float, receive: ASGIReceiveCallable) -> bytes | None:
        """Read the whole body; None if the client hung up first."""
        with trio.move_on_after(timeout_s):
            complete = await body.read(self._announced_bytes(), receive)
            return body.join() if complete else None
        raise Problem("timeout", f"the body did not arrive within {timeout_s:g} s")

    def _guard(self) -> Guard:
        extensions = cast("dict[str, Guard]", self.scope["extensions"])
        return extensions.get(GUARD_EXTENSION) or Guard(HttpLimits())

    def _fast_path(self) -> FastPath | None:
        """Return what answers this request in Quart's place, if anything does."""
        extensions = cast("dict[str, FastPath]", self.scope["extensions"])
        fast_path = extensions.get(FAST_PATH_EXTENSION)
        return fast_path if fast_path is not None and fast_path.handles(self.scope) else None

    def _is_over(self) -> bool:
        """Whether nobody takes what is sent any more."""
        extensions = cast("dict[str, Callable[[], bool]]", self.scope["extensions"])
        return ENDED_EXTENSION in extensions and extensions[ENDED_EXTENSION]()

    def _announced_bytes(self) -> int:
        return int(self._header(b"content-length") or 0)  # h11 has checked the digits

    def _header(self, sought: bytes) -> bytes:
        """Return the first value of a header; empty if there is none."""
        return next((value for name, value in self.scope["headers"] if name == sought), b"")

    async def _send_response(self, send: ASGISendCallable, response: Response | WerkzeugResponse) -> None:
        """Send an answer: whole ones in one message, streams piece by piece without a time limit.

        A stream ends when the connection does: what others wait for is not made for nobody (a listing of
        100,000 records would be 0.2 s of CPU for each client that resets at once).

        The base cuts every answer after RESPONSE_TIMEOUT without a word; a stuck client is the
        connection's business. A HEAD request does not run the stream at all.
        """
        status, headers = response.status_code, _pairs(response)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        whole = b""
        if self.scope["method"] != "HEAD":
            if isinstance(response, WerkzeugResponse):
                whole = response.get_data()
            elif isinstance(response.response, DataBody):
                stored = response.response
                whole = stored.data[stored.begin : stored.end]
            else:
                stream = cast("AbstractAsyncContextManager[AsyncIterable[str | bytes]]", response.response)
                async with stream as pieces:
                    async for piece in pieces:
                        data = piece.encode() if isinstance(piece, str) else piece
                        await send({"type": "http.response.body", "body": data, "more_body": True})
                        await trio.lowlevel.checkpoint()  # a send to nobody does not yield
                        if self._is_over():
                            return
        await send({"type": "http.response.body", "body": whole, "more_body": False})

    async def _send_live(self, send: ASGISendCallable, response: LiveResponse) -> None:
        """Send an answer that goes on, and end it as soon as its client hangs up. Raises Problem."""
        live = response.begin()
        cut = False
        sending = trio.CancelScope()

        def end(was_cut: bool) -> None:
            nonlocal cut
            cut = was_cut
            sending.cancel()

        try:
            with sending:
                async with watching(self.scope, end):
                    await send({"type": "http.response.start", "status": 200, "headers": _pairs(response)})
                    async with aclosing(live.pieces) as pieces:
                        async for piece in pieces:
                            await send({"type": "http.response.body", "body": piece, "more_body": True})
                            await trio.lowlevel.checkpoint()  # a send to nobody does not yield
            if not sending.cancel_called:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            live.over(cut)


@asynccontextmanager
async def watching(scope: HTTPScope | WebsocketScope, tell: Callable[[bool], None]) -> AsyncGenerator[None]:
    """In the block, watch the client of a request whose body was read, and `tell` once that it sends no more.

    The watcher is gone when the block ends, and must be before the last message is sent: see above.

    Args:
        tell: called with True if the client was cut; else it may be gone, or still read.
    """
    receive = cast("dict[str, ASGIReceiveCallable]", scope["extensions"])[_RECEIVE_EXTENSION]

    async def watch() -> None:
        while (message := await receive())["type"] != "http.disconnect":
            pass
        tell(message.get("reason") == CUT)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        yield
        nursery.cancel_scope.cancel()


def _pairs(response: Response | WerkzeugResponse) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in response.headers]


class _Body:
    """A request body on its way in, charged to the server's budget piece by piece."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._pieces: list[bytes] = []
        self._size = 0

    async def read(self, announced_bytes: int, receive: ASGIReceiveCallable) -> bool:
        """Read the whole body; False if the client hung up first.

        Raises:
            Problem: it is too large, or there is no room for it (`release` is still due).
        """
        limit = self._guard.limits.body_bytes_max
        if announced_bytes > limit:
            raise Problem("too-large", f"the body has {announced_bytes} bytes; at most {limit} are taken")
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return False
            piece = message["body"]
            if self._size + len(piece) > limit:
                raise Problem("too-large", f"the body has more than {limit} bytes")
            if not self._guard.take(len(piece)):
                raise no_room()
            self._size += len(piece)
            self._pieces.append(piece)
            if not message["more_body"]:
                return True

    def join(self) -> bytes:
        """Return the whole body and keep nothing of it."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)

    def release(self) -> None:
        """Return what was charged; a second time does nothing."""
        self._guard.give_back(self._size)
        self._size = 0


def client_address(scope: HTTPScope | WebsocketScope) -> str:
    """Return the address a request came from."""
    return scope["client"][0] if scope["client"] else ""


async def send_problem(problem: Problem, path: str, send: ASGISendCallable) -> None:
    """Answer an HTTP request with a problem, worded as the route at `path` does."""
    await _send_whole(send, *render(problem, path))


async def _send_whole(send: ASGISendCallable, status: int, headers: dict[str, str], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": _wire(headers, body)})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def send_handshake_problem(problem: Problem, path: str, send: ASGISendCallable) -> None:
    """Answer a WebSocket handshake with a problem instead of accepting it."""
    status, headers, body = render(problem, path)
    await send({"type": "websocket.http.response.start", "status": status, "headers": _wire(headers, body)})
    await send({"type": "websocket.http.response.body", "body": body, "more_body": False})


def _wire(headers: dict[str, str], body: bytes) -> list[tuple[bytes, bytes]]:
    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    return [*pairs, (b"content-length", str(len(body)).encode())]
