"""api.guard and api.inbox: the counts all connections share, and the way to the application."""

import trio
import trio.testing
from hypercorn.typing import HTTPRequestEvent, WebsocketReceiveEvent

from api.counts import ServerCounts
from api.guard import Guard
from api.inbox import BYTES_MAX, EVENTS_MAX, Inbox
from api.limits import HttpLimits


def piece(body: bytes, more_body: bool = True) -> HTTPRequestEvent:
    """Make a piece of a request body."""
    return {"type": "http.request", "body": body, "more_body": more_body}


def text(data: str) -> WebsocketReceiveEvent:
    """Make a WebSocket message."""
    return {"type": "websocket.receive", "bytes": None, "text": data}


def test_connections_are_counted_to_both_limits() -> None:
    """The last place in total and per address is given, the next is refused, and a release makes room."""
    guard = Guard(HttpLimits(connections_max=3, connections_per_address_max=2))
    assert [guard.admit("a"), guard.admit("a"), guard.admit("a")] == [True, True, False]
    assert [guard.admit("b"), guard.admit("b")] == [True, False]
    guard.release("a")
    assert guard.admit("b")
    assert guard.statistics.snapshot() == ServerCounts(connections_open=3, connections_refused=2)
    for address in ("a", "b", "b"):
        guard.release(address)
    assert (guard.statistics.snapshot().connections_open, guard.addresses) == (0, 0)


def test_bodies_are_counted_to_the_limit() -> None:
    """Exactly the limit fits, one byte more is refused and reserves nothing."""
    guard = Guard(HttpLimits(bodies_bytes_max=10))
    assert guard.take(4)
    assert guard.take(6)
    assert not guard.take(1)
    assert guard.statistics.snapshot().body_bytes == 10
    guard.give_back(4)
    assert guard.take(4)


async def test_pieces_of_a_body_come_as_one() -> None:
    """However small the chunks are, the application is woken once for what is there."""
    inbox = Inbox()
    for letter in (b"a", b"b", b"c"):
        await inbox.put(piece(letter))
    await inbox.put(piece(b"", more_body=False))
    assert await inbox.receive() == piece(b"abc", more_body=False)


async def test_websocket_messages_stay_apart_and_in_order() -> None:
    """Only bodies are joined."""
    inbox = Inbox()
    for letter in "abc":
        await inbox.put(text(letter))
    assert [await inbox.receive() for _ in range(3)] == [text("a"), text("b"), text("c")]


async def test_the_reader_waits_at_the_limits() -> None:
    """One full receive or EVENTS_MAX messages may be in hand; beyond it the socket is not read."""
    for fits, beyond in (
        ([piece(bytes(BYTES_MAX))], piece(b"x")),
        ([text("x")] * EVENTS_MAX, text("x")),
    ):
        inbox = Inbox()
        for event in fits:
            await inbox.put(event)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(inbox.put, beyond)
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks
            await inbox.receive()
            with trio.fail_after(1):
                while nursery.child_tasks:
                    await trio.lowlevel.checkpoint()


async def test_the_end_frees_a_waiting_reader() -> None:
    """Nobody may be left waiting for an application that answered without reading."""
    inbox = Inbox()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbox.put, piece(bytes(BYTES_MAX + 1)))
        await trio.testing.wait_all_tasks_blocked()
        await inbox.put({"type": "http.disconnect"})
        with trio.fail_after(1):
            while nursery.child_tasks:
                await trio.lowlevel.checkpoint()
    assert (await inbox.receive())["type"] == "http.request"


async def test_the_end_comes_after_what_was_said_and_stays() -> None:
    """Messages sent before the hang-up are still delivered; the end is told as often as asked, and yields."""
    inbox = Inbox()
    await inbox.put(text("last words"))
    await inbox.put({"type": "websocket.disconnect", "code": 1005})
    await inbox.put(text("too late"))
    assert await inbox.receive() == text("last words")
    for _ in range(3):
        with trio.testing.assert_checkpoints():
            assert await inbox.receive() == {"type": "websocket.disconnect", "code": 1005}
