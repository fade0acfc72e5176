"""The HTTP server over real sockets: what rude, odd and honest requests get, and that the node lives on.

The first eight of `KILLS` each end a stock hypercorn 0.18.0 on trio, alone. The last three do so only
together with something else: with Quart's own parsing of the target, or with an answer under way.
"""

import pytest
import structlog.testing
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Event, RawData
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, ConnectionState, Scope

from api.access import Access
from api.fastpath import FastPath
from api.guard import Guard
from api.inbox import ConnectionTasks
from api.protocol import JOIN_BYTES_MAX, GuardedH11
from api.server import HttpLimits
from tests.api.apps import PlainApp
from tests.api.rawhttp import GET, HANDSHAKE, PATIENCE_S, eventually, frame, open_files, post, running

H2C = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: %s\r\n\r\n"
)


def shake(*more: bytes) -> bytes:
    """Write a handshake with more header lines."""
    return HANDSHAKE.replace(b"\r\n\r\n", b"\r\n" + b"\r\n".join(more) + b"\r\n\r\n")


KILLS = {
    "h2c with settings that are no base64": (H2C % b"AAM", 200),
    "h2c with settings that are no settings": (H2C % b"AAMA", 200),
    "handshake with an extension in no ASCII": (
        shake(b"Sec-WebSocket-Extensions: permessage\xe2-deflate"),
        400,
    ),
    "handshake with a body": (shake(b"Content-Length: 5") + b"hello", 400),
    "handshake with chunks": (shake(b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    "handshake and junk in one packet": (HANDSHAKE + b"\xff\xfejunk" * 9, 400),
    "handshake, close frame and junk in one packet": (HANDSHAKE + frame(b"", 8) + b"\xff" * 40, 400),
    "handshake with a protocol in no ASCII": (shake(b"Sec-WebSocket-Protocol: \xe2"), 400),
    "target that urlsplit chokes on": (GET.replace(b" / ", b" http://[::1/ "), 400),
    "target without a path": (GET.replace(b" / ", b" ? "), 400),
    "malformed chunk end": (
        b"POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX",
        400,
    ),
}

SHORT = HttpLimits(linger_timeout_s=0.3, head_timeout_s=2)


@pytest.mark.parametrize("kill", KILLS)
async def test_no_single_request_ends_the_server(kill: str) -> None:
    """Sent and read, sent and half-closed, sent and reset: only that connection ends, nothing leaks."""
    request, status = KILLS[kill]
    async with running(PlainApp(), SHORT) as server:
        files = open_files()
        client = await server.client()
        assert (await client.ask(request)).status == status
        await client.stream.aclose()
        client = await server.client()
        await client.say(request)
        await client.stream.send_eof()
        assert (await client.rest()).startswith(b"HTTP/1.1 %d " % status)
        await client.stream.aclose()
        client = await server.client()
        await client.say(request)
        client.stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await client.stream.aclose()
        await server.all_closed()
        assert await server.answers()
        await eventually(lambda: open_files() == files)
        assert server.statistics.snapshot().connections_failed == 0


@pytest.mark.parametrize("behind", [b"\r\n", GET, b"\xff" * 100_000])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_what_comes_behind_a_last_request_does_not_spoil_its_answer(
    version: bytes, behind: bytes
) -> None:
    """A line end, a further request or junk: the request is answered as if nothing had come, once."""
    async with running(PlainApp(), SHORT) as server:
        client = await server.client()
        last = post(b"hello", "/echo", b"Connection: close").replace(b"1.1", version)
        answer = await client.ask(last + behind)
        assert (answer.status, answer.body) == (200, b"hello")
        assert await client.rest() == b""
        await client.stream.aclose()
        await server.all_closed()


async def test_a_close_frame_and_junk_on_an_open_socket_end_only_that_socket() -> None:
    """In the same packet and in a later one."""
    async with running(PlainApp(), SHORT) as server:
        client = await server.client()
        await client.say(HANDSHAKE)
        await client.until(b"\r\n\r\n")
        await client.say(frame(b"", 8) + b"\xff" * 40)
        await client.say(b"\xff" * 40)
        await client.rest()
        await client.stream.aclose()
        await server.all_closed()
        assert await server.answers()
        assert server.statistics.snapshot().connections_failed == 0


async def test_an_endless_answer_to_a_request_that_went_wrong_freezes_nobody() -> None:
    """The body turns out malformed while the answer runs: the rest is dropped, and others get their turn."""
    async with running(PlainApp(), SHORT) as server:
        client = await server.client()
        head = b"POST /endless HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        await client.say(head + b"1\r\nx\r\n")
        await client.take(1_000_000)
        await client.say(b"no chunk at all\r\n")
        assert await server.answers()
        await client.rest()
        await client.stream.aclose()
        await server.all_closed()
        assert server.statistics.snapshot().connections_failed == 0


async def test_an_unforeseen_exception_ends_one_connection_and_is_told_once() -> None:
    """Stock lets it end the process. The warning names the type and no byte of the request."""
    broken = HttpLimits(headers_max=None)  # type: ignore[arg-type]  # a fault in the reader's own code
    async with running(PlainApp(), broken) as server:
        with structlog.testing.capture_logs() as logs:
            client = await server.client()
            await client.say(GET)
            assert await client.rest() == b""
            await server.all_closed()
        assert [(log["event"], log["log_level"]) for log in logs] == [("connection failed", "warning")]
        assert logs[0]["error"] == "TypeError"
        assert "127.0.0.1" not in str(logs)
        assert server.statistics.snapshot().connections_failed == 1
        assert not server.ended.is_set()


async def test_a_handler_that_fails_is_a_500_and_a_warning() -> None:
    """The exception stays in its request."""
    async with running(PlainApp()) as server:
        client = await server.client()
        with structlog.testing.capture_logs() as logs:
            answer = await client.ask(GET.replace(b" / ", b" /boom "))
        assert answer.status == 500
        assert [(log["event"], log["error"]) for log in logs] == [("handler failed", "RuntimeError")]
        assert await server.answers()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), 505),
        (b"GET / HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (post(b"abc", "/echo", b"Transfer-Encoding: chunked"), 400),
        (post(b"abc", "/echo", b"Transfer-Encoding: identity"), 501),
        (post(b"abc", "/echo", b"Transfer-Encoding:\x0bchunked"), 400),
        (post(b"abc", "/echo", b"Content-Length: 4"), 400),
        (post(b"abc", "/echo", b"Content-Length: 3, 4"), 400),
        (post(b"abc", "/echo").replace(b": 3", b": +3"), 400),
        (post(b"abc", "/echo").replace(b": 3", b" : 3"), 400),
        (post(b"abc", "/echo").replace(b": 3", b": 0x3"), 400),
        (b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: 1\r\n" * 10_000 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 431),
    ],
)
async def test_what_may_not_pass_is_answered_and_closed(request_bytes: bytes, status: int) -> None:
    """The client reads the status although it is still sending, and then the end of the connection."""
    app = PlainApp()
    async with running(app, SHORT) as server:
        client = await server.client()
        await client.say(request_bytes)
        answer = await client.answer()
        assert answer.status == status
        assert answer.headers["connection"] == "close"
        assert await client.rest() == b""
        assert app.calls == 0
        assert await server.answers()


async def test_a_rebound_name_and_a_foreign_page_are_refused() -> None:
    """421 and 403 as problem+json, over HTTP and as the answer to a handshake; the app sees neither."""
    app = PlainApp()
    async with running(app, access=Access(frozenset({"dayfly.lan"}))) as server:
        client = await server.client()
        answer = await client.ask(GET.replace(b"127.0.0.1", b"evil.example"))
        assert (answer.status, answer.headers["content-type"]) == (421, "application/problem+json")
        assert b'"code":"bad-host"' in answer.body
        answer = await client.ask(post(b"abc", "/echo", b"Origin: http://evil.example"))
        assert (answer.status, b'"code":"bad-origin"' in answer.body) == (403, True)
        for change, status in (
            ((b"Host: 127.0.0.1", b"Host: evil.example"), 421),
            ((b"\r\n\r\n", b"\r\nOrigin: null\r\n\r\n"), 403),
        ):
            socket = await server.client()
            assert (await socket.ask(HANDSHAKE.replace(*change))).status == status
            assert await socket.rest() == b""
        assert app.calls == 0
        assert (await client.ask(GET.replace(b"127.0.0.1", b"dayfly.lan"))).status == 200


async def test_fifty_pipelined_requests_get_fifty_answers_in_order() -> None:
    """One packet, one connection."""
    async with running(PlainApp()) as server:
        client = await server.client()
        await client.say(b"".join(post(b"x" * size) for size in range(50)))
        assert [len((await client.answer()).body) for _ in range(50)] == list(range(50))


async def test_head_has_the_length_and_no_body() -> None:
    """And the connection stays in step."""
    async with running(PlainApp()) as server:
        client = await server.client()
        await client.say(GET.replace(b"GET", b"HEAD") + GET)
        answer = await client.answer(head_only=True)
        assert (answer.status, answer.headers["content-length"]) == (200, "5")
        assert (await client.answer()).body == b"hello"


async def test_head_and_body_leave_in_one_write() -> None:
    """Stock makes three of an answer. Only a body too large to copy goes in a write of its own."""
    writes: list[bytes] = []

    async def send(event: Event) -> None:
        if isinstance(event, RawData):
            writes.append(event.data)

    with trio.fail_after(PATIENCE_S):
        for path, count in ((b"/", 1), (b"/piece", 1), (b"/more", 2)):
            writes.clear()
            async with ConnectionTasks() as tasks:
                state, context = ConnectionState({}), WorkerContext(None)
                app = ASGIWrapper(sized_answers)
                limits = HttpLimits()
                fast_path = FastPath({}, Guard(limits))
                http = GuardedH11(
                    limits, fast_path, app, Config(), context, tasks, state, False, None, None, send
                )
                await http.handle(RawData(GET.replace(b" / ", b" %s " % path)))
            assert len(writes) == count
            assert writes[0].startswith(b"HTTP/1.1 200 OK\r\n")


async def sized_answers(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Answer with a body that is just small enough to be copied behind its head, or just too large."""
    assert scope["type"] == "http"
    size = {"/": 5, "/piece": JOIN_BYTES_MAX, "/more": JOIN_BYTES_MAX + 1}[scope["path"]]
    length = (b"content-length", str(size).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": bytes(size), "more_body": False})


async def test_a_client_that_shuts_its_sending_side_still_gets_its_answer() -> None:
    """`printf … | nc -N` works, also when the answer takes a while."""
    app = PlainApp()
    async with running(app) as server:
        client = await server.client()
        await client.say(GET.replace(b" / ", b" /wait "))
        await client.stream.send_eof()
        await eventually(lambda: app.waiting == 1)
        app.gate.set()
        assert (await client.rest()).endswith(b"hello")
        await client.stream.aclose()
        await server.all_closed()


async def test_a_half_closed_client_that_reads_slowly_gets_a_long_answer() -> None:
    """Its time starts anew with whatever it takes: it is there."""
    async with running(PlainApp(), HttpLimits(half_closed_timeout_s=0.3)) as server:
        client = await server.client(receive_buffer=65536)
        await client.say(GET.replace(b" / ", b" /large "))
        await client.stream.send_eof()
        began, size = trio.current_time(), 0
        while piece := await client.more():
            size += len(piece)
            client.buffer.clear()
            if trio.current_time() - began < 0.9:
                await trio.sleep(0.002)  # the pace of the reader
        assert size > 64 * 1024 * 1024
        assert server.statistics.snapshot().connections_cut == 0


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_connection_close_is_honoured(version: bytes) -> None:
    """The client that waits for the end of the stream gets it."""
    async with running(PlainApp()) as server:
        client = await server.client()
        await client.say(b"GET / HTTP/%s\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n" % version)
        assert (await client.rest()).endswith(b"hello")
        await client.stream.aclose()
        await server.all_closed()


async def test_a_connection_serves_many_requests() -> None:
    """Keep-alive, with bodies by length and in chunks."""
    chunked = (
        b"POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    async with running(PlainApp()) as server:
        client = await server.client()
        for _ in range(200):
            assert (await client.ask(post(b"ab"))).body == b"ab"
            assert (await client.ask(chunked)).body == b"abc"
        assert server.statistics.snapshot().connections_open == 1


async def test_an_application_that_waits_for_the_hang_up_is_told() -> None:
    """Plain ASGI applications get their http.disconnect."""
    app = PlainApp()
    async with running(app) as server:
        client = await server.client()
        await client.say(GET.replace(b" / ", b" /gone "))
        await eventually(lambda: app.calls == 1)
        assert app.gone == 0
        await client.stream.aclose()
        await eventually(lambda: app.gone == 1)
        await server.all_closed()
