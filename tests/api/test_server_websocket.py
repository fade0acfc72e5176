"""WebSockets over real sockets: what the server promises below the application."""

import pytest
import trio

from api.inbox import EVENTS_MAX
from api.server import HttpLimits
from tests.api.apps import PlainApp
from tests.api.rawhttp import HANDSHAKE, RawClient, Running, eventually, frame, running

LATE = HANDSHAKE.replace(b"/ws", b"/late")
SHORT = HttpLimits(linger_timeout_s=0.3)


async def opened(server: Running, handshake: bytes = HANDSHAKE) -> RawClient:
    """Open a WebSocket."""
    client = await server.client()
    await client.say(handshake)
    assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    return client


async def test_messages_of_both_kinds_come_back_also_empty_and_in_parts() -> None:
    """Text, binary, empty binary, and one message in three frames."""
    async with running(PlainApp()) as server:
        client = await opened(server)
        await client.say(frame(b"hi") + frame(b"\0\xff", 2) + frame(b"", 2))
        assert await client.take(4 + 4 + 2) == b"\x81\x02hi" + b"\x82\x02\0\xff" + b"\x82\x00"
        await client.say(frame(b"a", 1, fin=False) + frame(b"b", 0, fin=False) + frame(b"c", 0))
        assert await client.take(5) == b"\x81\x03abc"
        await client.say(frame(b"", 8))
        assert await client.rest() == b"\x88\x00"


async def test_compression_is_never_agreed() -> None:
    """Every browser offers it; one megabyte of it unpacks to a gigabyte."""
    offer = HANDSHAKE.replace(
        b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    )
    async with running(PlainApp()) as server:
        client = await server.client()
        await client.say(offer)
        assert b"extensions" not in (await client.until(b"\r\n\r\n")).lower()
        await client.say(frame(b"hi"))
        assert await client.take(4) == b"\x81\x02hi"
        compressed = bytearray(frame(b"hi"))
        compressed[0] |= 0x40
        await client.say(bytes(compressed))
        await client.rest()
        assert await server.answers()


async def test_a_loop_of_sends_to_somebody_gone_freezes_nobody() -> None:
    """Stock returns from each send at once and never yields: the process spins and serves no one."""
    async with running(PlainApp(), SHORT) as server:
        client = await opened(server, HANDSHAKE.replace(b"/ws", b"/flood"))
        await client.take(100)
        await trio.aclose_forcefully(client.stream)
        assert await server.answers()
        await server.all_closed()


async def test_a_subscriber_that_does_not_read_is_cut() -> None:
    """The write deadline holds for frames too, and the handler gets free."""
    async with running(PlainApp(), HttpLimits(write_timeout_s=0.2, linger_timeout_s=0.2)) as server:
        client = await server.client(receive_buffer=4096)
        await client.say(HANDSHAKE.replace(b"/ws", b"/flood"))
        await client.until(b"\r\n\r\n")
        await server.all_closed()
        assert server.statistics.snapshot().connections_cut >= 1


async def test_a_message_of_the_limit_passes_and_one_byte_more_is_closed_with_1009() -> None:
    """And the application is told; stock waits for ever."""
    app = PlainApp()
    async with running(app, HttpLimits(websocket_message_bytes_max=1000, linger_timeout_s=0.3)) as server:
        client = await opened(server)
        await client.say(frame(bytes(1000), 2))
        assert len(await client.take(1004)) == 1004
        await client.say(frame(bytes(1001), 2))
        assert (await client.rest())[2:4] == (1009).to_bytes(2, "big")
        await eventually(lambda: app.gone == 1)
        await client.stream.aclose()
        await server.all_closed()


async def test_frames_before_the_answer_are_400() -> None:
    """The application, which has not accepted yet, is told that nobody is there."""
    app = PlainApp()
    async with running(app, SHORT) as server:
        client = await server.client()
        await client.say(LATE)
        await eventually(lambda: app.waiting == 1)
        await client.say(frame(b"early"))
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        app.gate.set()
        await eventually(lambda: app.gone == 1)
        assert await client.rest() == b""
        assert await server.answers()


@pytest.mark.parametrize("polite", [True, False])
async def test_the_application_is_told_when_the_client_is_gone(polite: bool) -> None:
    """With a close frame or without, and the connection does not last to the next ping."""
    app = PlainApp()
    async with running(app, HttpLimits(linger_timeout_s=60, websocket_ping_interval_s=60)) as server:
        client = await opened(server)
        if polite:
            await client.say(frame((1000).to_bytes(2, "big"), 8))
            assert await client.rest() == b"\x88\x02\x03\xe8"
        await client.stream.aclose()
        await eventually(lambda: app.gone == 1)
        await server.all_closed()


async def test_messages_sent_before_the_hang_up_are_still_delivered() -> None:
    """Last words count."""
    app = PlainApp()
    async with running(app) as server:
        client = await server.client()
        await client.say(LATE)
        await eventually(lambda: app.waiting == 1)
        app.gate.set()
        await client.until(b"\r\n\r\n")
        await client.say(frame(b"last") + frame(b"", 8))
        await client.stream.aclose()
        await eventually(lambda: app.gone == 1)
        assert app.heard == ["last"]


async def test_a_client_that_is_silent_even_to_a_ping_is_cut() -> None:
    """One that answers stays; stock never looks for the answer."""
    async with running(PlainApp(), HttpLimits(websocket_ping_interval_s=0.5, linger_timeout_s=0.2)) as server:
        dead, alive = await opened(server), await opened(server)

        async def answer_pings(task_status: trio.TaskStatus[None]) -> None:
            for number in range(4):
                assert await alive.take(2) == b"\x89\x00"
                await alive.say(frame(b"", 10))
                if number == 1:
                    task_status.started()

        async with trio.open_nursery() as nursery:
            await nursery.start(answer_pings)
            assert await dead.rest() == b"\x89\x00"
        await dead.stream.aclose()
        await eventually(lambda: server.statistics.connections_open == 1)
        await alive.say(frame(b"hi"))
        await alive.until(b"\x81\x02hi")


async def test_the_silence_of_a_client_that_is_not_read_is_not_its_own() -> None:
    """While the application takes nothing, the client's pongs cannot be read either: it stays."""
    app = PlainApp()
    async with running(app, HttpLimits(websocket_ping_interval_s=0.1)) as server:
        client = await opened(server, HANDSHAKE.replace(b"/ws", b"/held"))
        await client.say(frame(b"hi") * (2 * EVENTS_MAX))
        for _ in range(5):
            assert await client.take(2) == b"\x89\x00"
        app.gate.set()
        await client.until(b"\x81\x02hi" * 2)
        await eventually(lambda: len(app.heard) == 2 * EVENTS_MAX)
