"""Request bodies through Quart over real sockets: bounded, whole or not at all, and refusals arrive."""

import http.client
import shutil
import time
from contextlib import suppress
from functools import partial

import msgspec
import pytest
import trio
from hypercorn.typing import ASGIFramework

from api.server import HttpLimits
from tests.api.apps import PlainApp, QuartApp
from tests.api.rawhttp import eventually, open_files, post, running

LIMIT = 100_000
SMALL = HttpLimits(body_bytes_max=LIMIT, linger_timeout_s=0.5)


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """Write a POST in chunks."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks) + end
    return b"POST /records HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n" + body


def files_are(count: int) -> bool:
    """Whether that many file descriptors are open."""
    return open_files() == count


def code(body: bytes) -> object:
    """Return the code of a problem."""
    return msgspec.json.decode(body, type=dict[str, object])["code"]


async def test_a_body_of_the_limit_passes_and_one_byte_more_is_413() -> None:
    """By length (refused before a byte is read) and in chunks (refused where it goes over)."""
    app = QuartApp()
    async with running(app.asgi, SMALL) as server:
        client = await server.client()
        assert (await client.ask(post(bytes(LIMIT), "/records"))).status == 200
        assert (await client.ask(chunked(bytes(LIMIT - 1), b"x"))).status == 200
        for request in (post(bytes(LIMIT + 1), "/records"), chunked(bytes(LIMIT), b"x")):
            client = await server.client()
            answer = await client.ask(request)
            assert (answer.status, code(answer.body)) == (413, "too-large")
        assert [len(body) for body in app.stored] == [LIMIT, LIMIT]
        assert server.statistics.snapshot().body_bytes == 0


async def test_a_seed_route_words_its_413_as_the_original_does() -> None:
    """Problems raised before the application know the route's wording too."""
    async with running(QuartApp().asgi, SMALL) as server:
        client = await server.client()
        answer = await client.ask(post(bytes(LIMIT + 1), "/postNewData"))
        assert answer.status == 413
        assert msgspec.json.decode(answer.body, type=dict[str, object])["result"] is False


async def test_a_client_that_sends_20_mib_before_it_reads_sees_the_413() -> None:
    """Python's http.client sends the whole body first: closing early would cost it the answer."""

    def ask(port: int) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=8)
        connection.request("POST", "/records", body=bytes(20 * 1024 * 1024))
        with connection.getresponse() as response:
            answer = response.status, response.read()
        connection.close()
        return answer

    async with running(QuartApp().asgi) as server:
        status, body = await trio.to_thread.run_sync(ask, server.port)
        assert (status, code(body)) == (413, "too-large")
        await server.all_closed()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_that_sends_20_mib_sees_the_413() -> None:
    """With and without Expect: 100-continue."""
    async with running(QuartApp().asgi) as server:
        for more in ([], ["-H", "Expect:"]):
            command = ["curl", "-sS", "-w", " %{http_code}", "--data-binary", "@-", *more]
            url = f"http://127.0.0.1:{server.port}/records"
            done = await trio.run_process([*command, url], stdin=bytes(20 << 20), capture_stdout=True)
            assert done.stdout.endswith(b" 413"), done.stdout
        await server.all_closed()


async def test_a_refused_client_that_waits_for_100_gets_the_final_status() -> None:
    """No 100 comes before the 413, so the body is never sent."""
    async with running(QuartApp().asgi, SMALL) as server:
        client = await server.client()
        head = post(bytes(LIMIT + 1), "/records", b"Expect: 100-continue").partition(b"\r\n\r\n")[0]
        assert (await client.ask(head + b"\r\n\r\n")).status == 413
        assert await client.rest() == b""


async def test_a_welcome_client_that_waits_for_100_gets_it() -> None:
    """The 100 comes when the body is wanted; then everything is as usual."""
    app = QuartApp()
    async with running(app.asgi, SMALL) as server:
        client = await server.client()
        head, end, body = post(b"abc", "/records", b"Expect: 100-continue").partition(b"\r\n\r\n")
        await client.say(head + end)
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        assert (await client.ask(body)).status == 200
        assert app.stored == [b"abc"]
        assert (await client.ask(post(b"def", "/records"))).status == 200


async def test_a_body_that_comes_too_slowly_is_408() -> None:
    """The time is for the whole body: a byte now and then does not extend it."""
    app = QuartApp()
    limits = HttpLimits(body_timeout_s=0.3, linger_timeout_s=0.3)
    async with running(app.asgi, limits) as server:
        client = await server.client()
        began = trio.current_time()
        await client.say(post(bytes(100), "/records")[:-100])
        async with trio.open_nursery() as nursery:

            async def drip() -> None:
                while True:
                    await client.say(b"x")
                    await trio.sleep(0.01)  # the pace of the attack, not a wait

            nursery.start_soon(drip)
            answer = await client.answer()
            nursery.cancel_scope.cancel()
        assert (answer.status, code(answer.body)) == (408, "timeout")
        assert trio.current_time() - began < 2
        await server.all_closed()
        assert app.stored == []


async def test_bodies_beyond_the_common_room_are_503_and_the_room_comes_back() -> None:
    """All bodies in hand share one budget; what is refused or stored returns its part."""
    app = QuartApp()
    limits = HttpLimits(bodies_bytes_max=LIMIT, linger_timeout_s=0.3)
    async with running(app.asgi, limits) as server:
        first, second = await server.client(), await server.client()
        await first.say(post(bytes(LIMIT), "/slow"))
        await eventually(lambda: app.waiting == 1)
        assert server.statistics.snapshot().body_bytes == LIMIT
        answer = await second.ask(post(b"x", "/records"))
        assert (answer.status, code(answer.body), answer.headers["retry-after"]) == (503, "busy", "1")
        app.gate.set()
        assert (await first.answer()).status == 200
        assert server.statistics.snapshot().body_bytes == 0
        third = await server.client()
        assert (await third.ask(post(b"x", "/records"))).status == 200


async def test_half_a_body_reaches_no_handler() -> None:
    """A client that hangs up half-way, politely or not, leaves nothing behind."""
    app = QuartApp()
    async with running(app.asgi) as server:
        for half in (post(bytes(1000), "/records")[:-1], chunked(b"abc", end=b"")):
            client = await server.client()
            await client.say(half)
            await eventually(lambda: server.statistics.snapshot().body_bytes > 0)
            await client.stream.aclose()
            await server.all_closed()
        assert app.stored == []
        assert server.statistics.snapshot().body_bytes == 0


async def test_a_hang_up_does_not_cancel_the_handler() -> None:
    """What was taken is handed over, although nobody waits for the answer any more."""
    app = QuartApp()
    async with running(app.asgi) as server:
        client = await server.client()
        await client.say(post(b"abc", "/slow"))
        await eventually(lambda: app.waiting == 1)
        await client.stream.aclose()
        app.gate.set()
        await server.all_closed()
        assert app.stored == [b"abc"]


@pytest.mark.parametrize("is_reset", [True, False])
async def test_a_handler_does_not_outlive_its_client_for_ever(is_reset: bool) -> None:
    """After its time it is cancelled and its connection counted as cut: who only closed may still read."""
    app = QuartApp()
    limits = HttpLimits(
        linger_timeout_s=0.1 if is_reset else 60, half_closed_timeout_s=60 if is_reset else 0.1
    )
    async with running(app.asgi, limits) as server:
        client = await server.client()
        await client.say(post(b"abc", "/slow"))
        await eventually(lambda: app.waiting == 1)
        await (client.reset() if is_reset else client.stream.aclose())
        await server.all_closed()
        assert (app.stored, server.statistics.snapshot().connections_cut) == ([], 1)


async def test_200_000_chunks_of_one_byte_cost_little_and_hold_nobody_up() -> None:
    """The body is refused after some thousand pieces: 400, and in a fraction of a second of CPU."""
    app = QuartApp()
    async with running(app.asgi, HttpLimits(linger_timeout_s=0.5)) as server:
        client, other = await server.client(), await server.client()
        drip = chunked(*[b"x"] * 200_000)
        began = time.process_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.say, drip)
            assert (await other.ask(post(b"x", "/records"))).status == 200
            answer = await client.answer()
        assert answer.status == 400
        assert time.process_time() - began < 1.0
        assert app.stored == [b"x"]


async def test_a_body_in_small_chunks_of_a_sane_size_passes() -> None:
    """Ten thousand chunks of 64 bytes are slow, but honest."""
    app = QuartApp()
    async with running(app.asgi) as server:
        client = await server.client()
        assert (await client.ask(chunked(*[bytes(64)] * 10_000))).status == 200
        assert len(app.stored[0]) == 640_000


async def test_a_stream_comes_whole_and_others_are_served_meanwhile() -> None:
    """Each piece gives the others a turn, even where sending does not wait."""
    async with running(QuartApp().asgi) as server:
        client, other = await server.client(), await server.client()
        await client.say(b"GET /stream/2000 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await client.until(b"\r\n\r\n")
        assert (await other.ask(post(b"x", "/records"))).status == 200
        await client.until(b"\r\n1999\n\r\n0\r\n\r\n")


@pytest.mark.parametrize("half_closed", [False, True])
async def test_a_stream_ends_when_its_client_is_gone(half_closed: bool) -> None:
    """Nothing more is made of it, long before a handler's time is over; also after a half-close."""
    app = QuartApp()
    async with running(app.asgi, HttpLimits(linger_timeout_s=60)) as server:
        client = await server.client()
        await client.say(b"GET /stream/2000000000 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        if half_closed:
            await client.stream.send_eof()
        await client.take(100_000)
        await client.reset()
        await server.all_closed()
        assert server.statistics.connections_cut == 0


async def test_a_stream_of_nothing_freezes_nobody() -> None:
    """Empty pieces cause no write, so nothing but the server's own checkpoint gives others a turn."""
    async with running(QuartApp().asgi, HttpLimits(graceful_timeout_s=0.1)) as server:
        client, other = await server.client(), await server.client()
        await client.say(b"GET /silent HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        for _ in range(3):
            assert (await other.ask(post(b"x", "/records"))).status == 200


async def test_head_of_a_stream_does_not_run_it() -> None:
    """A stream may be endless."""
    async with running(QuartApp().asgi) as server:
        client = await server.client()
        await client.say(b"HEAD /stream/2000000000 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert (await client.answer(head_only=True)).status == 200
        assert (await client.ask(post(b"x", "/records"))).status == 200


async def test_a_hundred_early_answers_leave_nothing_behind() -> None:
    """404s given before the body has come: stock leaks each of these connections."""
    limits = HttpLimits(linger_timeout_s=0.2, connections_per_address_max=200)
    apps: list[ASGIFramework] = [PlainApp(), QuartApp().asgi]
    for app in apps:
        async with running(app, limits) as server:
            before = open_files()
            for _ in range(100):
                client = await server.client()
                await client.say(post(bytes(9_000_000), "/early")[:5000])
                assert (await client.answer()).headers["connection"] == "close"
                await client.stream.aclose()
            await server.all_closed()
            await eventually(partial(files_are, before))


async def test_early_answers_are_closed_though_the_client_stays() -> None:
    """Who neither sends nor closes after the early answer is closed after the linger time."""
    async with running(PlainApp(), HttpLimits(linger_timeout_s=0.1)) as server:
        clients = [await server.client() for _ in range(10)]
        for client in clients:
            await client.say(post(bytes(1000), "/early")[:-1])
            assert (await client.answer()).status == 404
        await server.all_closed()
        assert server.statistics.snapshot().connections_cut == 0


async def test_what_is_drained_after_an_early_answer_is_bounded() -> None:
    """A client that sends for ever is closed after `drain_bytes_max`, long before the linger time."""
    limits = HttpLimits(drain_bytes_max=1_000_000, linger_timeout_s=60)
    async with running(PlainApp(), limits) as server:
        client = await server.client()
        await client.say(b"POST /early HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 999999999\r\n\r\n")
        assert (await client.answer()).status == 404
        with suppress(trio.BrokenResourceError):
            while True:
                await client.say(bytes(65536))
        await server.all_closed()
