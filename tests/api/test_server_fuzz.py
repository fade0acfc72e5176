"""Two thousand mutated requests: the server outlives them all and keeps nothing of them."""

import random
from collections.abc import Callable

import pytest
import trio
from hypercorn.typing import ASGIFramework

from api.reply import Handler, Reply
from api.server import HttpLimits
from tests.api.apps import PlainApp, QuartApp
from tests.api.rawhttp import GET, HANDSHAKE, RawClient, Running, eventually, frame, open_files, post, running
from tests.mutations import mutate

INPUTS = 1000
AT_ONCE = 25

CHUNKED = (
    b"POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n3;a=b\r\nabc\r\n0\r\nTrailer: x\r\n\r\n"
)
SEEDS = (
    GET,
    GET * 3,
    GET.replace(b"GET", b"HEAD"),
    GET.replace(b"1.1", b"1.0"),
    GET.replace(b" / ", b" /early?x=%ff "),
    post(b'{"id":"a","raw":"b"}'),
    post(b"abc", "/records"),
    post(b"abc" * 999, "/early"),
    post(b"abc", "/echo", b"Expect: 100-continue"),
    CHUNKED,
    CHUNKED.replace(b"/echo", b"/records"),
    HANDSHAKE,
    HANDSHAKE + frame(b"hello") + frame(b"", 8),
    HANDSHAKE.replace(b"/ws", b"/flood"),
    HANDSHAKE.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: a, b\r\nContent-Length: 5\r\n\r\nhello"),
    GET.replace(
        b"\r\n\r\n", b"\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n\r\n"
    ),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
)


async def attack(server: Running, rng: random.Random, slots: trio.CapacityLimiter) -> None:
    """Send one input in one or two parts and leave in one of three ways."""
    data, cut = mutate(rng, SEEDS), rng.random()
    way = rng.choice(("read", "close", "reset"))
    async with slots:
        client = await RawClient.connect(server.port)
        try:
            await client.say(data[: int(len(data) * cut)])
            await client.say(data[int(len(data) * cut) :])
            if way == "read":
                await client.stream.send_eof()
                for _ in range(20):
                    if not await client.more():
                        break
            elif way == "reset":
                client.stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        except trio.BrokenResourceError:
            pass  # the server was quicker
        await trio.aclose_forcefully(client.stream)


async def fast(body: bytes, content_type: str) -> Reply:
    """Answer on the fast path, or fail there."""
    if len(body) % 5 == 0:
        raise RuntimeError(content_type)
    return Reply(200, {"content-type": "text/plain"}, body)


@pytest.mark.parametrize(
    ("seed", "make", "fast_routes"),
    [(1, PlainApp, {}), (2, lambda: QuartApp().asgi, {}), (3, PlainApp, {b"/echo": fast, b"/early": fast})],
)
async def test_mutated_requests_end_nothing_and_leave_nothing(
    seed: int, make: Callable[[], ASGIFramework], fast_routes: dict[bytes, Handler]
) -> None:
    """Same process, no connection left, file descriptors back, and no exception reached the guard."""
    limits = HttpLimits(
        linger_timeout_s=0.2,
        head_timeout_s=0.5,
        body_timeout_s=0.5,
        keep_alive_timeout_s=0.5,
        write_timeout_s=0.5,
    )
    rng = random.Random(seed)
    async with running(make(), limits, fast_routes=fast_routes) as server:
        files = open_files()
        slots = trio.CapacityLimiter(AT_ONCE)
        async with trio.open_nursery() as nursery:
            for _ in range(INPUTS):
                nursery.start_soon(attack, server, random.Random(rng.random()), slots)
        assert await server.answers()
        await server.all_closed()
        await eventually(lambda: open_files() <= files)
        assert server.statistics.snapshot().connections_failed == 0
        assert server.statistics.snapshot().body_bytes == 0
