"""The writing side of a link over a real socket: at once where there is room, in order, nothing lost."""

import socket
import ssl
from collections.abc import Generator
from contextlib import suppress

import pytest
import trio
import trio.testing

from cluster.codec import BATCH_BYTES, FrameError, FrameReader, encode
from cluster.connection import FRAMES_MAX, SKIPPED_MAX, Connection
from cluster.link import Link
from cluster.messages import Bye, Confirm, Hello, Message, Ping, Push, Want, WireRecord
from cluster.tls import TlsChannel
from cluster.transport import LinkError, send_now
from tests.cluster.channels import KEY, security, shake
from tests.cluster.channels import ends as channel_ends
from tests.cluster.test_outbox import Shelf

HELLO = Hello(1, 1, [], bytes(16), 1, "dayfly", "n", 7946, "", "rules", 0, 1)
COUNT = 20_000
"""Pings of 60 bytes: more than any socket's buffer, less than the outbox."""


@pytest.fixture
def ends() -> Generator[tuple[socket.socket, socket.socket]]:
    """Two ends of one connection with small buffers."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture(params=["open", "encrypted"])
def channels(request: pytest.FixtureRequest) -> tuple[TlsChannel | None, TlsChannel | None]:
    """The encryption at both ends, when it has come up; or none."""
    if request.param == "open":
        return None, None
    one, two = channel_ends(security(KEY), security(KEY))
    assert shake(one, two) == []
    return one, two


def opened(channel: TlsChannel | None, data: bytes) -> bytes:
    """What the far end reads."""
    return data if channel is None else channel.open(data)


async def ignore(link: Link, messages: list[Message]) -> None:
    """Take what comes."""


async def test_what_the_kernel_does_not_take_at_once_follows_in_order(
    ends: tuple[socket.socket, socket.socket], channels: tuple[TlsChannel | None, TlsChannel | None]
) -> None:
    """The first write goes out without the writer task; the rest waits for the reader and loses nothing."""
    ours, theirs = ends
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
    link = Link(Connection(stream, channels[0]), HELLO, HELLO, "a:1", dialled=True, desk=Shelf([]))
    reader, heard = FrameReader(), list[int]()

    def read(data: bytes) -> None:
        heard.extend(m.seq for m in reader.feed(opened(channels[1], data)) if isinstance(m, Ping))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run, ignore)
        await trio.testing.wait_all_tasks_blocked()
        link.send(Ping(0, 0, 0, 0, 0, 0, bytes(16)))
        theirs.setblocking(False)
        read(theirs.recv(65_536))  # here already, though no task has run
        assert heard == [0]
        for seq in range(1, COUNT):
            assert link.send(Ping(seq, 0, 0, 0, 0, 0, bytes(16)))
        their_stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
        with trio.fail_after(10):
            while len(heard) < COUNT:
                read(await their_stream.receive_some(65_536))
        link.close("done", "the test is over")
    assert heard == list(range(COUNT))


@pytest.mark.parametrize("count", [1, FRAMES_MAX - 1, FRAMES_MAX, 2 * FRAMES_MAX + 1])
async def test_many_small_messages_of_one_read_are_taken_in_parts(
    ends: tuple[socket.socket, socket.socket],
    channels: tuple[TlsChannel | None, TlsChannel | None],
    count: int,
) -> None:
    """In order, none lost, the last ones although nothing more comes."""
    ours, theirs = ends
    link = Connection(trio.SocketStream(trio.socket.from_stdlib_socket(ours)), channels[0])
    link.welcome()
    frames = b"".join(encode(Want(number.to_bytes(32, "big"))) for number in range(count))
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
    got: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, frames if channels[1] is None else channels[1].seal(frames))
        with trio.fail_after(10):
            while len(got) < count:
                part = await link.receive()
                assert len(part) <= FRAMES_MAX
                got += [int.from_bytes(m.digests, "big") for m in part if isinstance(m, Want)]
    assert got == list(range(count))


async def test_what_is_skipped_is_looked_at_in_parts_too(ends: tuple[socket.socket, socket.socket]) -> None:
    """64 KiB hold 10,922 empty frames that nobody knows: no read of them takes more than a turn."""
    ours, theirs = ends
    link = Connection(trio.SocketStream(trio.socket.from_stdlib_socket(ours)))
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
    frames = bytes([0, 0, 0, 2, 200, 0]) * (10 * FRAMES_MAX) + encode(Want(bytes(32)))
    parts = list[list[Message]]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, frames)
        with trio.fail_after(10):
            while not (parts and parts[-1]):
                parts.append(await link.receive())
    assert parts[-1] == [Want(bytes(32))]
    assert len(parts) > 10


@pytest.mark.parametrize("skipped", [SKIPPED_MAX, SKIPPED_MAX + 1])
async def test_a_handshake_is_no_place_to_be_skipped(
    ends: tuple[socket.socket, socket.socket], skipped: int
) -> None:
    """A few frames of a later release may come before the message that is due; no more."""
    ours, theirs = ends
    link = Connection(trio.SocketStream(trio.socket.from_stdlib_socket(ours)))
    theirs.sendall(bytes([0, 0, 0, 2, 200, 0]) * skipped)
    with trio.fail_after(10):
        if skipped <= SKIPPED_MAX:
            theirs.sendall(encode(HELLO))
            assert await link.receive_one() == HELLO
        else:
            with pytest.raises(FrameError):
                await link.receive_one()


@pytest.mark.parametrize("skipped", [FRAMES_MAX - 1, FRAMES_MAX])
async def test_what_is_skipped_in_a_handshake_is_counted_between_decodings(
    ends: tuple[socket.socket, socket.socket], skipped: int
) -> None:
    """What is decoded at a time may hold more of it, if the message that is due is among them."""
    ours, theirs = ends
    link = Connection(trio.SocketStream(trio.socket.from_stdlib_socket(ours)))
    theirs.sendall(bytes([0, 0, 0, 2, 200, 0]) * skipped + encode(HELLO))
    with trio.fail_after(10):
        if skipped < FRAMES_MAX:
            assert await link.receive_one() == HELLO
        else:
            with pytest.raises(FrameError):
                await link.receive_one()


async def test_what_came_in_one_read_with_the_end_of_encryption_is_taken(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """All of it, also when it is more than is decoded at a time."""
    ours, theirs = ends
    one, two = channel_ends(security(KEY), security(KEY))
    assert shake(one, two) == []
    link = Connection(trio.SocketStream(trio.socket.from_stdlib_socket(ours)), one)
    link.welcome()
    frames = b"".join(encode(Want(bytes(32))) for _ in range(FRAMES_MAX + 100))
    sealed = two.seal(frames)
    with suppress(ssl.SSLWantReadError):  # it would wait for an answer
        two._tls.unwrap()  # pyright: ignore[reportPrivateUsage] - no node says goodbye so
    theirs.sendall(sealed + two.outgoing())
    theirs.shutdown(socket.SHUT_WR)
    heard = [*await link.receive(), *await link.receive()]
    assert len(heard) == FRAMES_MAX + 100
    with pytest.raises(LinkError):
        await link.receive()


def test_a_stream_that_is_gone_or_cannot_tell_takes_nothing(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """No error here: whoever waits to write meets it."""
    ours, theirs = ends

    async def check() -> None:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        theirs.close()
        assert send_now(stream, b"x") == 0
        await stream.aclose()
        assert send_now(stream, b"x") == 0
        one, _ = trio.testing.memory_stream_pair()
        assert send_now(one, b"x") == 0

    trio.run(check)


@pytest.mark.parametrize("drain", [True, False])
async def test_a_goodbye_never_comes_in_the_middle_of_a_frame(
    ends: tuple[socket.socket, socket.socket],
    channels: tuple[TlsChannel | None, TlsChannel | None],
    drain: bool,
) -> None:
    """A link that drains finishes what the kernel took a part of; any other ends without it and at once."""
    ours, theirs = ends
    our_stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
    link = Link(Connection(our_stream, channels[0]), HELLO, HELLO, "a:1", dialled=True, desk=Shelf([]))
    reader, heard = FrameReader(), list[Message]()
    large = Want(bytes(32 * 16_384))
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))

    async def run() -> None:
        assert await link.run(ignore) == "the test is over"
        await our_stream.aclose()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await trio.testing.wait_all_tasks_blocked()
            link.send(large)
            link.close("done", "the test is over", drain=drain)
            while drain and len(heard) < 2:
                heard += reader.feed(opened(channels[1], await stream.receive_some(65_536)))
        while data := await stream.receive_some(65_536):
            heard += reader.feed(opened(channels[1], data))
    assert heard == ([large, Bye("done", "the test is over")] if drain else [])


async def test_what_does_not_fit_beside_a_question_follows_by_itself(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """A push as large as a batch does not wait for the next message after the question that rode with it."""
    ours, theirs = ends
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
    link = Link(Connection(stream), HELLO, HELLO, "a:1", dialled=True, desk=Shelf([]))
    push = Push([WireRecord("id", "x" * BATCH_BYTES, "", 1)], bytes(16))
    reader, heard = FrameReader(), list[Message]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run, ignore)
        await trio.testing.wait_all_tasks_blocked()
        link.send(Confirm(bytes(16), 1, bytes(32), 0), flush=False)
        link.push(encode(push), 1)
        their_stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
        with trio.move_on_after(2):
            while len(heard) < 2:
                heard += reader.feed(await their_stream.receive_some(65_536))
        link.close("done", "the test is over")
    assert [type(message) for message in heard] == [Confirm, Push]
