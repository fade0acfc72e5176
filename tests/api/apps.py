"""Two small applications for the server's tests: one in plain ASGI, one in Quart."""

import itertools
from collections.abc import AsyncGenerator
from typing import cast

import trio
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPScope,
    LifespanScope,
    Scope,
    WebsocketScope,
)
from quart import Response, request
from quart_trio import QuartTrio

from api.server import LeanHTTP

PIECE = b"x" * 65536


class PlainApp:
    """A plain ASGI application that shows what happened to it.

    Attributes:
        calls: int, HTTP requests and WebSockets that reached it.
        gone: int, calls that were told their client is gone.
        gate: Event, what `/wait` and the WebSockets `/late` and `/held` wait for.
        waiting: int, calls that wait for it.
        heard: texts that came over WebSockets.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.gone = 0
        self.gate = trio.Event()
        self.waiting = 0
        self.heard: list[str | None] = []

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve one call."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] == "http":
            self.calls += 1
            await self._http(scope, receive, send)
        else:
            self.calls += 1
            await self._websocket(scope, receive, send)

    async def _lifespan(
        self, scope: LifespanScope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        path = scope["path"]
        if path == "/boom":
            raise RuntimeError("as asked")
        if path in ("/large", "/endless"):
            await self._large(send, 1024 if path == "/large" else None)
            return
        body = b"hello"
        if path == "/wait":
            self.waiting += 1
            await self.gate.wait()
        elif path == "/gone":
            await self._until_gone(receive)
        elif path == "/echo":
            body = await self._body(receive)
        status = 404 if path == "/early" else 200
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": status, "headers": [length]})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _until_gone(self, receive: ASGIReceiveCallable) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.gone += 1

    async def _body(self, receive: ASGIReceiveCallable) -> bytes:
        body = b""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                self.gone += 1
                return b""
            body += message["body"]
            if not message["more_body"]:
                return body

    async def _large(self, send: ASGISendCallable, pieces: int | None) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in itertools.count() if pieces is None else range(pieces):
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _websocket(
        self, scope: WebsocketScope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        await receive()
        if scope["path"] == "/late":
            self.waiting += 1
            await self.gate.wait()
        await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
        if scope["path"] == "/held":
            await self.gate.wait()
        while scope["path"] == "/flood":
            await send({"type": "websocket.send", "bytes": None, "text": "tick"})
        while True:
            message = await receive()
            if message["type"] != "websocket.receive":
                self.gone += 1
                return
            self.heard.append(message["text"])
            await send({"type": "websocket.send", "bytes": message["bytes"], "text": message["text"]})


class QuartApp(QuartTrio):
    """A Quart application whose `/records` keeps what it is sent.

    Attributes:
        stored: bodies that the handler took to its end.
        gate: Event, what `/slow` waits for between taking and storing a body.
        waiting: int, handlers that wait for it.
    """

    asgi_http_class = LeanHTTP

    def __init__(self) -> None:
        super().__init__("tests.api.apps")
        self.stored: list[bytes] = []
        self.gate = trio.Event()
        self.waiting = 0
        self.add_url_rule("/", view_func=self._hello)
        self.add_url_rule("/records", view_func=self._store, methods=["POST"])
        self.add_url_rule("/slow", view_func=self._store_slowly, methods=["POST"])
        self.add_url_rule("/stream/<int:pieces>", view_func=self._stream)
        self.add_url_rule("/silent", view_func=self._silent)

    @property
    def asgi(self) -> ASGIFramework:
        """This application as `serve` takes it."""
        return cast("ASGIFramework", self)

    async def _hello(self) -> str:
        return "hello"

    async def _store(self) -> dict[str, int]:
        self.stored.append(await _body())
        return {"stored": len(self.stored)}

    async def _store_slowly(self) -> dict[str, int]:
        body = await _body()
        self.waiting += 1
        await self.gate.wait()
        self.stored.append(body)
        return {"stored": len(self.stored)}

    async def _stream(self, pieces: int) -> Response:
        async def piece_by_piece() -> AsyncGenerator[bytes]:
            for number in range(pieces):
                yield f"{number}\n".encode()

        return Response(piece_by_piece(), mimetype="text/plain")

    async def _silent(self) -> Response:
        async def nothings() -> AsyncGenerator[bytes]:
            while True:
                yield b""

        return Response(nothings(), mimetype="text/plain")


async def _body() -> bytes:
    body = await request.get_data(as_text=False)
    assert isinstance(body, bytes)
    return body
