"""`/websocket`: the original broadcaster's pair, and `/status`."""

import base64
from hashlib import sha256

import pytest
import trio

from api import Access, Credentials, HttpLimits
from tests.api.live import Live, WebSocket, handshake, live, post
from tests.api.rawhttp import RawClient, eventually, frame
from tests.processes import cluster, wait_until

PEN, EYE = sha256(b"pen").digest(), sha256(b"eye").digest()
BASIC = f"Authorization: Basic {base64.b64encode(b'user:pwd').decode()}"


async def test_with_credentials_each_frame_becomes_a_record() -> None:
    """Text or binary, with an id of the node's and a signature that is right; without, raws come out."""
    async with live() as it:
        listener = await it.websocket("/websocket")
        publisher = await it.websocket("/websocket", BASIC)
        await publisher.client.say(frame("grüße".encode()) + frame(b"two", 2))
        assert [await listener.text(), await listener.text()] == ["grüße", "two"]
        held = [record for _, record in it.node.arrivals(0, 10)]
        assert [r.raw for r in held] == ["grüße", "two"]
        assert len({r.id for r in held}) == 2
        assert held[1].signature == "b8a9f715dbb64fd5c56e7783c6820a61"


async def test_an_empty_frame_says_nothing_and_ends_nothing() -> None:
    """Binary ones too, which the framework below turns into None; a record has at least one byte."""
    async with live() as it:
        publisher = await it.websocket("/websocket", BASIC)
        await publisher.client.say(frame(b"") + frame(b"", 2) + frame(b"after", 2))
        await eventually(lambda: it.node.store_statistics().records == 1)
        assert it.node.arrivals(0, 10)[0][1].raw == "after"


async def test_a_listener_gets_what_is_posted_from_now_on_or_from_since_on() -> None:
    """The original had no replay; here `?since=` brings the day."""
    async with live() as it:
        post(it.node, "a1", "a/1")
        post(it.node, "b1", "b/1")
        now, whole = await it.websocket("/websocket"), await it.websocket("/websocket?since=all&prefix=a/")
        post(it.node, "a2", "a/2")
        assert await now.text() == "a2"
        assert [await whole.text(), await whole.text()] == ["a1", "a2"]


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        (frame(b"\xff\xfe", 2), 1007, "a record is text"),
        (frame(b"a" * 60_000, 1, fin=False) + frame(b"a" * 60_000, 0), 1009, "too-large"),
    ],
)
async def test_what_cannot_become_a_record_ends_the_socket_with_a_reason(
    message: bytes, code: int, reason: str
) -> None:
    """Nothing is dropped in silence: the publisher of the original gets no answers."""
    limits = HttpLimits(websocket_message_bytes_max=100_000 if code == 1009 else 1 << 20)
    async with live(limits) as it:
        publisher = await it.websocket("/websocket", BASIC)
        await publisher.client.say(message)
        closed = await publisher.closed()
        assert closed[0] == code
        assert reason in closed[1] or code == 1009
        assert not it.node.store_statistics().records


async def test_a_full_node_says_so_and_ends_the_socket() -> None:
    """1013: try another node, or later; what was taken before is held."""
    async with live(records_max="1") as it:
        publisher = await it.websocket("/websocket", BASIC)
        await publisher.client.say(frame(b"one") + frame(b"two"))
        code, reason = await publisher.closed()
        assert code == 1013
        assert reason.startswith("store-full: ")
        assert it.node.store_statistics().records == 1


async def test_a_listener_that_talks_is_told_how_to_publish() -> None:
    """Its frames would vanish otherwise."""
    async with live() as it:
        listener = await it.websocket("/websocket")
        await listener.client.say(frame(b"hello?"))
        code, reason = await listener.closed()
        assert code == 1008
        assert "credentials" in reason


async def holds(it: Live, records: int) -> None:
    """Wait until the node holds so many records."""
    await eventually(lambda: len(it.node) == records)


@pytest.mark.parametrize(
    ("known", "without", "reader", "writer", "wrong"),
    [
        (Credentials(), "listens", "publishes", "publishes", "publishes"),
        (Credentials(write_token=PEN), "listens", 401, "publishes", 401),
        (Credentials(read_token=EYE), 401, "listens", 401, 401),
        (Credentials(write_token=PEN, read_token=EYE), 401, "listens", "publishes", 401),
    ],
    ids=["nothing set", "write token", "read token", "both"],
)
async def test_who_may_write_publishes_and_who_may_only_read_listens(
    known: Credentials, without: object, reader: object, writer: object, wrong: object
) -> None:
    """Without any set, any publish. What is wrong is refused before the handshake; no listener is stored."""
    expected = {"": without, ":eye": reader, ":pen": writer, "me:no": wrong}
    async with live(access=Access(credentials=known)) as it:
        for given, what in expected.items():
            basic = f"Authorization: Basic {base64.b64encode(given.encode()).decode()}"
            client, headers = await it.server.client(), [basic] if given else []
            await client.say(handshake("/websocket", *headers))
            answer = await client.answer(head_only=True)
            if answer.status != 101:
                assert answer.status == what
                continue
            assert +it.feeds.statistics.open == {"publish" if what == "publishes" else "raw": 1}
            socket, held = WebSocket(client), len(it.node)
            if what == "listens":
                post(it.node, "heard")
                assert await socket.text() == "heard"
            await client.say(frame(b"said"))
            if what == "listens":
                assert (await socket.closed())[0] == 1008
            await holds(it, held + 1)
            await client.stream.aclose()
            await eventually(lambda: not +it.feeds.statistics.open)


async def test_what_an_address_may_post_bounds_its_frames_too() -> None:
    """A socket is no way around the limit: the record too many is refused and the reason says so."""
    async with live(access=Access(posts_per_s=2.0)) as it:
        publisher = await it.websocket("/websocket", BASIC)
        await publisher.client.say(b"".join(frame(b"%d" % n) for n in range(9)))
        code, reason = await publisher.closed()
        assert (code, reason.partition(":")[0]) == (1013, "too-many")
        assert 2 <= len(it.node) < 9


async def test_a_listener_gone_without_a_word_freezes_nobody() -> None:
    """A loop that sends to a socket which is gone must let others run, and must end."""
    async with live(HttpLimits(linger_timeout_s=0.3)) as it:
        listener = await it.websocket("/websocket")
        await trio.aclose_forcefully(listener.client.stream)
        for i in range(2000):
            post(it.node, f"x{i}")
        status = await it.get("/status")
        answer = await status.answer()
        assert (answer.status, answer.body) == (200, b"")
        await eventually(lambda: not +it.feeds.statistics.open)


def test_what_is_published_on_one_node_is_heard_on_another() -> None:
    """The original's two commands with any WebSocket client: publish on one port, subscribe on the other."""
    with cluster() as c:
        one, two = c.start(2)

        async def both() -> None:
            listener = WebSocket(await RawClient.connect(two.port))
            publisher = WebSocket(await RawClient.connect(one.port))
            await listener.client.say(handshake("/websocket"))
            await listener.client.until(b"\r\n\r\n")
            await publisher.client.say(handshake("/websocket", BASIC))
            await publisher.client.until(b"\r\n\r\n")
            await publisher.client.say(frame(b"hello"))
            assert await listener.text() == "hello"
            for socket in (listener, publisher):
                await socket.client.stream.aclose()

        trio.run(both)
        wait_until(lambda: two.records == 1, "the record is everywhere")
