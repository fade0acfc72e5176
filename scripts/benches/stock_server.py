"""What a node is held against: the stock framework, parsing the same request, answering and doing nothing.

    python -m scripts.benches.stock_server quart|asgi|sockets PORT

`quart` is a route of quart-trio as its documentation writes one, on hypercorn; `asgi` the least an ASGI
application can be, on the same hypercorn. Both decode the JSON and answer; nothing is checked, stored or
sent on. `sockets` hands each WebSocket message to all WebSockets. Defaults throughout, but for no access
log and no limit to the requests of one connection.
"""

import json
import sys

import trio
from hypercorn.config import Config
from hypercorn.trio import serve  # pyright: ignore[reportUnknownVariableType] - its own annotation
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope
from quart import Response, jsonify, request
from quart_trio import QuartTrio


def make_quart() -> QuartTrio:
    """Make the application in quart-trio."""
    app = QuartTrio("stock")

    @app.post("/postNewData")
    async def post_new_data() -> Response:
        await request.get_json()
        return jsonify(result=True, msg="ok")

    return app


async def plain(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Be the application in plain ASGI."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return
        body += message["body"]
        if not message["more_body"]:
            break
    json.loads(body)
    answer = json.dumps({"result": True, "msg": "ok"}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer, "more_body": False})


class Sockets:
    """Be a broadcaster in plain ASGI: what comes over `/in` goes to all who are connected to `/out`."""

    def __init__(self) -> None:
        self._channels: set[trio.MemorySendChannel[str]] = set()

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve one socket."""
        if scope["type"] != "websocket":
            await plain(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
        if scope["path"] == "/out":
            queue, messages = trio.open_memory_channel[str](256)
            self._channels.add(queue)
            async for text in messages:
                await send({"type": "websocket.send", "bytes": None, "text": text})
        while (message := await receive())["type"] == "websocket.receive":
            for channel in self._channels:
                await channel.send(message["text"] or "")


def main(kind: str, port: str) -> None:
    """Serve until the process is told to end."""
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.accesslog = config.errorlog = None
    config.keep_alive_max_requests = sys.maxsize
    app: ASGIFramework = make_quart() if kind == "quart" else Sockets() if kind == "sockets" else plain
    trio.run(serve, app, config)  # pyright: ignore[reportUnknownArgumentType]


if __name__ == "__main__":
    main(*sys.argv[1:])
