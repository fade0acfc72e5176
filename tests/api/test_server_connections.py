"""Connections over real sockets: counted, deadlined, and all closed when the server ends."""

import os
import resource
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial

import pytest
import structlog.testing
import trio

from api.server import FILES_RESERVED, HttpLimits, serve
from tests.api.apps import PlainApp, QuartApp
from tests.api.rawhttp import GET, HANDSHAKE, RawClient, Running, eventually, open_files, post, running

LARGE = GET.replace(b" / ", b" /large ")


async def test_connections_beyond_the_total_are_closed_at_once_until_there_is_room() -> None:
    """The last place is served, the next is closed unserved, and a close makes room; the count is exact."""
    app = PlainApp()
    async with running(app, HttpLimits(connections_max=3)) as server:
        clients = [await server.client() for _ in range(3)]
        for client in clients:
            assert (await client.ask(GET)).status == 200
        for _ in range(5):
            refused = await server.client()
            assert await refused.rest() == b""
        counts = server.statistics.snapshot()
        assert (counts.connections_open, counts.connections_refused, app.calls) == (3, 5, 3)
        await clients[0].stream.aclose()
        await eventually(lambda: server.statistics.connections_open == 2)
        assert await server.answers()


async def test_a_client_that_vanished_is_given_up_by_the_kernel() -> None:
    """Every accepted connection has the bound: the kernel tells of the one whose other end is ours."""
    async with running(PlainApp(), HttpLimits(vanished_timeout_s=7.5)) as server:
        client = await server.client()
        assert (await client.ask(GET)).status == 200
        ours = client.stream.socket.getsockname()
        bounds: list[int] = []
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError), socket.socket(fileno=os.dup(int(name))) as end:
                if end.getpeername() == ours:
                    bounds.append(end.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
        assert bounds == [7500]


async def test_one_address_cannot_take_every_place() -> None:
    """Its connections are capped; another address still gets in."""
    async with running(PlainApp(), HttpLimits(connections_per_address_max=2)) as server:
        for _ in range(2):
            assert (await (await server.client()).ask(GET)).status == 200
        assert await (await server.client()).rest() == b""
        other = await server.client(source="127.0.0.2")
        assert (await other.ask(GET)).status == 200
        assert server.statistics.snapshot().connections_refused == 1


@pytest.mark.parametrize("make", [PlainApp, lambda: QuartApp().asgi])
async def test_a_used_connection_that_idles_is_closed(make: Callable[[], PlainApp]) -> None:
    """Stock with Quart never starts this timer again after the first request."""
    async with running(make(), HttpLimits(keep_alive_timeout_s=0.2)) as server:
        clients = [await server.client() for _ in range(10)]
        for client in clients:
            for _ in range(2):
                assert (await client.ask(GET)).status == 200
        began = trio.current_time()
        for client in clients:
            assert await client.rest() == b""
        assert 0.1 < trio.current_time() - began < 2
        await server.all_closed()
        assert server.statistics.snapshot().connections_cut == 0


async def test_a_request_in_time_keeps_the_connection() -> None:
    """The idle time counts from the last answer, not from the connect."""
    async with running(PlainApp(), HttpLimits(keep_alive_timeout_s=0.4)) as server:
        client = await server.client()
        until = trio.current_time() + 0.8
        while trio.current_time() < until:
            assert (await client.ask(GET)).status == 200


@pytest.mark.parametrize("first", [b"", GET])
async def test_a_head_that_comes_too_slowly_is_cut(first: bytes) -> None:
    """A byte now and then does not help, neither on a new connection nor on a used one."""
    async with running(PlainApp(), HttpLimits(head_timeout_s=0.3, keep_alive_timeout_s=60)) as server:
        client = await server.client()
        if first:
            assert (await client.ask(first)).status == 200
        began = trio.current_time()
        async with trio.open_nursery() as nursery:

            async def drip() -> None:
                await client.say(GET[:-2])
                for number in range(1000):
                    await client.say(b"X%d: 1\r\n" % number if number < 50 else b"x")
                    await trio.sleep(0.01)  # the pace of the attack, not a wait

            nursery.start_soon(drip)
            assert await client.rest() == b""
            nursery.cancel_scope.cancel()
        assert 0.2 < trio.current_time() - began < 2
        await server.all_closed()
        assert server.statistics.snapshot().connections_cut == 1


async def test_a_silent_connection_is_cut() -> None:
    """Whoever connects and says nothing keeps no place."""
    async with running(PlainApp(), HttpLimits(head_timeout_s=0.1)) as server:
        assert await (await server.client()).rest() == b""
        await server.all_closed()


async def test_a_client_that_does_not_read_is_cut() -> None:
    """The write has a deadline, the connection is reset, others are served meanwhile."""
    async with running(PlainApp(), HttpLimits(write_timeout_s=0.3)) as server:
        deaf = [await server.client(receive_buffer=4096) for _ in range(5)]
        for client in deaf:
            await client.say(LARGE)
        await eventually(lambda: server.statistics.connections_open == 5)
        assert await server.answers()
        await server.all_closed()
        assert server.statistics.snapshot().connections_cut == 5


async def test_a_slow_reader_is_served_as_long_as_it_reads() -> None:
    """The deadline is for 64 KiB, not for the answer: 64 MiB may take longer than one deadline."""
    async with running(PlainApp(), HttpLimits(write_timeout_s=0.2)) as server:
        client = await server.client(receive_buffer=65536)
        await client.say(LARGE)
        began, size = trio.current_time(), 0
        while size < 64 * 1024 * 1024:
            size += len(await client.more())
            client.buffer.clear()
            if size < 20_000_000:
                await trio.sleep(0.001)  # the pace of the reader
        assert trio.current_time() - began > 0.2


async def deaf(server: Running) -> None:
    """Ask for much and read nothing."""
    await (await server.client(receive_buffer=4096)).say(LARGE)


async def busy(server: Running) -> None:
    """Have a request in a handler that does not end."""
    await (await server.client()).say(GET.replace(b" / ", b" /wait "))


async def subscribed(server: Running) -> None:
    """Hold a WebSocket."""
    client = await server.client()
    await client.say(HANDSHAKE)
    await client.until(b"\r\n\r\n")


async def uploading(server: Running) -> None:
    """Be in the middle of a body."""
    await (await server.client()).say(post(bytes(100))[:-1])


async def answered_early(server: Running) -> None:
    """Have the answer before the body was sent, and stay."""
    client = await server.client()
    await client.say(post(bytes(100), "/early")[:-1])
    await client.answer()


@pytest.mark.parametrize("state", [deaf, busy, subscribed, uploading, answered_early])
async def test_the_shutdown_waits_no_longer_than_the_grace(
    state: Callable[[Running], Awaitable[None]],
) -> None:
    """Whatever the clients are doing. A stock server hangs on the first of these."""
    files = open_files()
    async with running(PlainApp(), HttpLimits(graceful_timeout_s=0.3, linger_timeout_s=60)) as server:
        for _ in range(5):
            await state(server)
        await eventually(lambda: server.statistics.connections_open == 5)
        assert await server.stop() < 1.3
        assert server.statistics.snapshot().connections_open == 0
    await eventually(lambda: open_files() <= files)


async def test_the_shutdown_does_not_wait_for_idle_connections() -> None:
    """New, used and half-asked connections end at once."""
    async with running(PlainApp(), HttpLimits(graceful_timeout_s=60)) as server:
        new, used, asking = [await server.client() for _ in range(3)]
        assert (await used.ask(GET)).status == 200
        await asking.say(GET[:-4])
        await eventually(lambda: server.statistics.connections_open == 3)
        assert await server.stop() < 1
        assert [await client.rest() for client in (new, used, asking)] == [b""] * 3
        assert server.statistics.snapshot().connections_cut == 0


async def test_an_open_request_may_finish_within_the_grace() -> None:
    """Its answer says that the connection closes."""
    app = PlainApp()
    async with running(app, HttpLimits(graceful_timeout_s=5)) as server:
        client = await server.client()
        await client.say(GET.replace(b" / ", b" /wait "))
        await eventually(lambda: app.waiting == 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.stop)
            with suppress(ConnectionError):  # the end of accepting
                while True:
                    await trio.aclose_forcefully((await RawClient.connect(server.port)).stream)
            app.gate.set()
            answer = await client.answer()
            assert (answer.body, answer.headers["connection"]) == (b"hello", "close")
            await client.stream.aclose()


async def test_an_address_in_use_is_an_os_error_before_the_start() -> None:
    """Not a group, not after `started`: the command line can tell the user."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            await serve(PlainApp(), f"127.0.0.1:{port}", HttpLimits(), shutdown=trio.sleep_forever)


@pytest.mark.parametrize("bind", ["127.0.0.1", "8080", "127.0.0.1:http", ""])
async def test_a_bind_without_a_port_is_a_value_error(bind: str) -> None:
    """It names what was given."""
    with pytest.raises(ValueError, match="host:port"):
        await serve(PlainApp(), bind, HttpLimits(), shutdown=trio.sleep_forever)


@pytest.mark.parametrize(
    ("bind", "url"), [("127.0.0.1:0", "http://127.0.0.1:"), ("[::1]:0", "http://[::1]:")]
)
async def test_the_urls_name_the_bound_port(bind: str, url: str) -> None:
    """Port 0 takes a free one; IPv6 hosts keep their brackets."""
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        urls: list[str] = await nursery.start(
            partial(serve, PlainApp(), bind, HttpLimits(), shutdown=stop.wait)
        )
        assert len(urls) == 1
        assert urls[0].startswith(url)
        host, _, port = urls[0].removeprefix("http://").rpartition(":")
        stream = await trio.open_tcp_stream(host.strip("[]"), int(port))
        client = RawClient(stream)
        assert (await client.ask(GET.replace(b"127.0.0.1", host.encode()))).status == 200
        await stream.aclose()
        stop.set()


@pytest.fixture
def few_files() -> Iterator[int]:
    """Lower this process's file limit for one test."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_RESERVED + 80, hard))
    yield FILES_RESERVED + 80
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_the_connections_fit_the_file_limit(few_files: int) -> None:
    """Otherwise accept fails ten times a second. One warning tells it."""
    stop = trio.Event()
    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            limits = HttpLimits(connections_max=few_files)
            await nursery.start(partial(serve, PlainApp(), "127.0.0.1:0", limits, shutdown=stop.wait))
            stop.set()
    assert [(log["connections_max"], log["log_level"]) for log in logs] == [(80, "warning")]


async def test_what_a_deaf_client_asked_besides_is_not_worked_on() -> None:
    """Its connection was reset in the middle of the first answer: nobody will read the others."""
    app = PlainApp()
    limits = HttpLimits(write_timeout_s=0.3, linger_timeout_s=0.3)
    async with running(app, limits) as server:
        client = await server.client(receive_buffer=4096)
        await client.say(GET.replace(b" / ", b" /large ") * 5)
        await eventually(lambda: server.statistics.connections_cut > 0)
        await server.all_closed()
        assert app.calls == 1
        assert server.statistics.connections_cut == 1
