"""The fast path: which requests take it, and that no bound of the ordinary way is missing there."""

import json
from contextlib import suppress

import h11
import pytest
import structlog.testing
import trio

from api.fastpath import FAST_BYTES_MAX, FastPath
from api.guard import Guard
from api.reply import Reply, media_type
from api.server import HttpLimits
from tests.api.apps import PlainApp, QuartApp
from tests.api.nodes import lone_node
from tests.api.rawhttp import GET, PATIENCE_S, RawClient, eventually, post, running
from validator import sign

LARGE = b"x" * (8 << 20)
"""More than a socket's buffer takes at once."""

CHUNKED = (
    b"POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
)
HELLO = post(b"hello")


class Fast:
    """Handlers of the fast path that show what came to them."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.gate = trio.Event()
        self.routes = {b"/echo": self.echo, b"/boom": self.boom, b"/wait": self.wait, b"/large": self.large}

    async def echo(self, body: bytes, content_type: str) -> Reply:
        """Send the body back."""
        self.bodies.append(body)
        return Reply(200, {"content-type": content_type or "none"}, body)

    async def boom(self, body: bytes, content_type: str) -> Reply:
        """Fail as a bug would."""
        raise RuntimeError("hunter2")

    async def wait(self, body: bytes, content_type: str) -> Reply:
        """Answer once the gate is open, as a route does that waits for a disk."""
        self.bodies.append(body)
        await self.gate.wait()
        return Reply(200, {}, b"waited")

    async def large(self, body: bytes, content_type: str) -> Reply:
        """Answer with more than a socket's buffer takes."""
        return Reply(200, {}, LARGE)


@pytest.mark.parametrize(
    ("request_bytes", "size"),
    [
        (HELLO, 5),
        (post(b""), 0),
        (post(bytes(FAST_BYTES_MAX)), FAST_BYTES_MAX),
        (post(bytes(FAST_BYTES_MAX + 1)), None),
        (post(bytes(5), "/echo?a=b"), None),
        (post(bytes(5), "/other"), None),
        (post(bytes(5), "/echo", b"Expect: 100-continue"), None),
        (post(bytes(5), "/echo", b"Connection: upgrade", b"Upgrade: websocket"), None),
        (HELLO.replace(b"HTTP/1.1", b"HTTP/1.0"), None),
        (HELLO.replace(b"POST", b"PUT"), None),
        (HELLO.replace(b"Content-Length: 5", b"X: y"), None),
        (CHUNKED, None),
    ],
    ids=lambda v: f"{v[:30]!r} {len(v)}" if isinstance(v, bytes) else str(v),
)
def test_only_a_small_plain_post_to_its_routes_may_be_fast(request_bytes: bytes, size: int | None) -> None:
    """Edges: the largest body and one byte more, a query, other methods, versions and framings."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(request_bytes.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    fast_path = FastPath(Fast().routes, Guard(HttpLimits()))
    assert fast_path.body_bytes(request, list(request.headers)) == size
    small = FastPath(Fast().routes, Guard(HttpLimits(body_bytes_max=4)))
    assert small.body_bytes(request, list(request.headers)) in (0, None)


async def test_what_is_soon_in_hand_whole_is_fast_and_the_rest_is_not() -> None:
    """A body with its head or at once after it; not one that is late, in chunks, or for another route."""
    app, fast = PlainApp(), Fast()
    async with running(app, fast_routes=fast.routes) as server:
        client = await server.client()
        assert (await client.ask(HELLO)).body == b"hello"
        head, mark, body = HELLO.partition(b"\r\n\r\n")
        for part in (b"", body[:2]):  # how much of the body comes with the head
            await client.say(head + mark + part)
            await client.say(body[len(part) :])
            assert (await client.answer()).body == b"hello"
        assert (fast.bodies, app.calls) == ([b"hello"] * 3, 0)
        await client.say(head + mark + body[:2])
        await eventually(lambda: app.calls == 1)
        assert (await client.ask(body[2:])).body == b"hello"
        for request in (CHUNKED, GET):
            assert (await client.ask(request)).body == b"hello"
        assert (len(fast.bodies), app.calls) == (3, 3)


async def test_a_large_post_passes_quart_by_when_its_body_is_whole() -> None:
    """So does one in chunks; one with a query does not. A bug in the handler is a 500, nothing is kept."""
    app, fast = QuartApp(), Fast()
    routes = {b"/records": fast.echo, b"/slow": fast.boom}
    async with running(app.asgi, fast_routes=routes) as server:
        client = await server.client()
        large = bytes(FAST_BYTES_MAX + 1)
        assert (await client.ask(post(large, "/records"))).body == large
        assert (await client.ask(CHUNKED.replace(b"/echo", b"/records"))).body == b"hello"
        assert (await client.ask(CHUNKED.replace(b"/echo", b"/slow"))).status == 500
        assert (fast.bodies, app.stored) == ([large, b"hello"], [])
        assert (await client.ask(post(large, "/records?a=b"))).status == 200
        assert (len(fast.bodies), app.stored) == (2, [large])
        assert server.statistics.snapshot().body_bytes == 0


async def test_a_body_that_never_comes_is_told_so() -> None:
    """The time limit of bodies holds for what began on the fast path: 408, as everywhere."""
    app = QuartApp()
    limits = HttpLimits(body_timeout_s=0.1, linger_timeout_s=0.1)
    async with running(app.asgi, limits, fast_routes={b"/records": Fast().echo}) as server:
        for part in (post(b"hello", "/records")[:-5], post(b"hello", "/records")[:-1]):
            client = await server.client()
            answer = await client.ask(part)
            assert (answer.status, json.loads(answer.body)["code"]) == (408, "timeout")
            half = await server.client()
            await half.say(part)
            await half.stream.send_eof()
            await half.rest()
        await server.all_closed()
        assert app.stored == []


async def test_requests_in_one_packet_are_answered_in_their_order() -> None:
    """Fast ones and others, mixed; the last one asks to close, and the connection is closed."""
    app, fast = PlainApp(), Fast()
    async with running(app, fast_routes=fast.routes) as server:
        client = await server.client()
        last = post(b"last", "/echo", b"Connection: close")
        await client.say(post(b"first") + GET + post(b"third") * 300 + CHUNKED + last + GET)
        bodies = [(await client.answer()).body for _ in range(304)]
        assert bodies == [b"first", b"hello", *[b"third"] * 300, b"hello", b"last"]
        assert await client.rest() == b""
        assert app.calls == 2


async def test_a_bug_in_a_handler_is_a_500_and_nothing_more() -> None:
    """The answer names the type only, the log the place; the connection serves on and nothing is kept."""
    async with running(PlainApp(), fast_routes=Fast().routes) as server:
        client = await server.client()
        with structlog.testing.capture_logs() as logs:
            answer = await client.ask(post(b"hunter2", "/boom"))
        assert (answer.status, json.loads(answer.body)["code"]) == (500, "internal")
        assert b"hunter2" not in answer.body
        assert [entry["error"] for entry in logs] == ["RuntimeError"]
        assert (await client.ask(HELLO)).status == 200
        assert server.statistics.snapshot().body_bytes == 0
        assert server.statistics.snapshot().connections_failed == 0


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        (b"Origin: http://elsewhere.example", 403, "bad-origin"),
        (b"Host: 127.0.0.1", 400, "bad-request"),
        (b"X: " + bytes(b"x" * 17_000), 431, "head-too-large"),
    ],
)
async def test_the_head_is_judged_as_everywhere(more: bytes, status: int, code: str) -> None:
    """Foreign pages, two hosts and too large a head reach no handler."""
    fast = Fast()
    async with running(PlainApp(), fast_routes=fast.routes) as server:
        answer = await (await server.client()).ask(post(b"hello", "/echo", more))
        assert (answer.status, json.loads(answer.body)["code"]) == (status, code)
        foreign = HELLO.replace(b"Host: 127.0.0.1", b"Host: elsewhere.example")
        assert (await (await server.client()).ask(foreign)).status == 421
        assert fast.bodies == []


async def test_bodies_in_hand_are_counted_on_the_fast_path_too() -> None:
    """Ten bytes fit the budget, one more is told to come again; the room comes back with the answer."""
    fast = Fast()
    async with running(PlainApp(), HttpLimits(bodies_bytes_max=10), fast_routes=fast.routes) as server:
        client, other = await server.client(), await server.client()
        await client.say(post(b"0123456789", "/wait"))
        await eventually(lambda: fast.bodies == [b"0123456789"])
        answer = await other.ask(post(b"x"))
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        fast.gate.set()
        assert (await client.answer()).body == b"waited"
        assert (await other.ask(post(b"0123456789"))).status == 200


async def test_a_handler_that_waits_is_not_idle() -> None:
    """It outlasts every timer of an idle connection, and a shutdown lets it end within its grace."""
    fast = Fast()
    limits = HttpLimits(keep_alive_timeout_s=0.05, head_timeout_s=0.05)
    async with running(PlainApp(), limits, fast_routes=fast.routes) as server, trio.open_nursery() as nursery:
        client = await server.client()
        await client.say(post(b"x", "/wait"))
        await eventually(lambda: len(fast.bodies) == 1)
        await trio.sleep(0.2)  # four times the timers that must not run
        nursery.start_soon(server.stop)
        with trio.fail_after(PATIENCE_S), suppress(OSError):
            while True:  # until new connections are refused
                await (await RawClient.connect(server.port)).stream.aclose()
        fast.gate.set()
        answer = await client.answer()
        assert (answer.body, answer.headers["connection"]) == (b"waited", "close")
        await client.stream.aclose()


async def test_an_answer_that_the_kernel_takes_in_part_comes_whole() -> None:
    """The first write goes out at once, the rest as the client reads."""
    async with running(PlainApp(), fast_routes=Fast().routes) as server:
        client = await server.client(receive_buffer=4096)
        await client.say(post(b"x", "/large") + HELLO)
        assert (await client.answer()).body == LARGE
        assert (await client.answer()).body == b"hello"


async def test_who_does_not_read_a_fast_answer_is_cut() -> None:
    """The write deadline holds for what the kernel did not take at once."""
    limits = HttpLimits(write_timeout_s=0.1, linger_timeout_s=0.1)
    async with running(PlainApp(), limits, fast_routes=Fast().routes) as server:
        client = await server.client(receive_buffer=4096)
        await client.say(post(b"x", "/large"))
        await eventually(lambda: server.statistics.snapshot().connections_cut == 1)
        await server.all_closed()


async def test_who_hangs_up_is_forgotten() -> None:
    """Reset and half-closed clients of the fast path leave no connection and no bytes behind."""
    async with running(PlainApp(), HttpLimits(linger_timeout_s=0.1), fast_routes=Fast().routes) as server:
        reset, half = await server.client(), await server.client()
        await reset.say(post(b"x", "/large"))
        reset.stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await reset.stream.aclose()
        await eventually(lambda: server.statistics.snapshot().connections_open == 1)
        await half.say(HELLO)
        await half.stream.send_eof()
        assert (await half.answer()).body == b"hello"
        await server.all_closed()
        assert server.statistics.snapshot().body_bytes == 0


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [("", ""), ("Application/JSON; charset=utf-8", "application/json"), (" a/b ;c", "a/b"), (";", "")],
)
def test_a_media_type_is_told_without_its_parameters(content_type: str, kind: str) -> None:
    """Case, blanks and parameters play no part."""
    assert media_type(content_type) == kind


async def test_a_node_answers_alike_every_way() -> None:
    """The same status, headers and body whether a post is plain, comes in chunks, or goes through Quart."""

    def fields(id: str, raw: str) -> bytes:
        return json.dumps({"id": id, "raw": raw, "signature": sign(raw)}).encode()

    typed = b"Content-Type: application/json"
    ndjson = b"Content-Type: application/x-ndjson"
    with lone_node() as node:
        client = await RawClient.connect(node.port)
        posts: list[tuple[str, bytes, tuple[bytes, ...]]] = [
            ("/postNewData", fields("both", "a"), ()),
            ("/postNewData", fields("both", "b"), ()),
            ("/postNewData", b"{", ()),
            ("/postNewData", fields("", "a"), ()),
            ("/v1/records", fields("both", "a"), (typed,)),
            ("/v1/records", fields("both", "b"), (typed,)),
            ("/v1/records", b"", (typed,)),
            ("/v1/records", b"\xff", ()),
            ("/v1/records", fields("both", "a") + b"\n[\n\n" + fields("both", "c"), (ndjson,)),
        ]
        for number, (path, body, more) in enumerate(posts):
            request = post(body, path, *more)
            if number == 0:
                assert (await client.ask(request)).status == 200
            fast = await client.ask(request)
            plain, chunk = b"Content-Length: %d" % len(body), b"%x\r\n%b\r\n" % (len(body), body)
            head = post(body, path, *more).partition(b"\r\n\r\n")[0]
            head = head.replace(plain, b"Transfer-Encoding: chunked")
            slow = await client.ask(head + b"\r\n\r\n" + (chunk if body else b"") + b"0\r\n\r\n")
            through_quart = await client.ask(post(body, f"{path}?a=b", *more))
            for answer in (fast, slow, through_quart):
                answer.headers.pop("date")
            assert slow == fast
            assert through_quart == fast
        await client.stream.aclose()
