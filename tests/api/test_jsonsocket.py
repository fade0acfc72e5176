"""`/v1/ws`: JSON both ways."""

import json
import re
from contextlib import suppress
from hashlib import sha256
from typing import Any

import pytest
import trio
import trio.testing

from api import Access, Credentials, FeedLimits, Feeds, HttpLimits
from api.cursor import make_cursor
from api.jsonsocket import ASKED_BYTES_MAX, ASKED_MAX, BATCH_MAX, NAME_CHARS_MAX, serve_json
from api.socket import Socket
from tests.api.live import live, make_node, post
from tests.api.rawhttp import eventually, frame


async def test_a_post_is_answered_with_its_receipt_and_its_ref() -> None:
    """New, held already, in conflict, refused: the fields and codes of POST /v1/records."""
    async with live() as it:
        socket = await it.websocket("/v1/ws")
        first = await socket.ask(op="post", ref=1, id="a", raw="x")
        assert (first["event"], first["ref"], first["status"], first["result"]) == (
            "posted",
            1,
            201,
            "stored",
        )
        held = it.node.get("a")
        assert held is not None
        assert (first["id"], first["digest"], first["time_stamp"]) == (
            "a",
            held.digest.hex(),
            held.time_stamp,
        )
        assert (await socket.ask(op="post", ref="two", id="a", raw="x"))["status"] == 200
        conflict = await socket.ask(op="post", id="a", raw="y")
        assert (conflict["status"], conflict["code"], "ref" in conflict) == (409, "id-conflict", False)
        assert (await socket.ask(op="post", ref=3, raw=""))["code"] == "empty-field"
        assert (await socket.ask(op="post", ref=4, raw="x", signature="0"))["code"] == "bad-signature"


async def test_feeds_are_followed_by_name_until_they_are_not() -> None:
    """Each from its own place with its own prefix; the same record may be in several."""
    async with live() as it:
        post(it.node, "0", "a/0")
        socket = await it.websocket("/v1/ws")
        start = make_cursor(it.node.boot, 1, 0)
        subscribed = await socket.ask(op="subscribe", ref=1, feed="new", prefix="a/")
        assert subscribed == {"event": "subscribed", "ref": 1, "feed": "new", "cursor": start}
        subscribed = await socket.ask(op="subscribe", ref=2, feed="old", since="9" * 12 + ".5.0")
        assert (subscribed["reset"], subscribed["cursor"]) == (True, make_cursor(it.node.boot, 0, 0))
        assert (await socket.json())["event"] == "reset"
        assert (await socket.json())["id"] == "a/0"
        post(it.node, "1", "b/1")
        post(it.node, "2", "a/2")
        got = [await socket.json() for _ in range(3)]
        assert [(e["feed"], e["id"]) for e in got if e["feed"] == "old"] == [("old", "b/1"), ("old", "a/2")]
        assert [(e["feed"], e["id"]) for e in got if e["feed"] == "new"] == [("new", "a/2")]
        gone = await socket.ask(op="unsubscribe", ref=3, feed="old")
        assert gone == {"event": "unsubscribed", "ref": 3, "feed": "old", "cursor": got[-1]["cursor"]}
        assert (await socket.ask(op="unsubscribe", feed="old"))["code"] == "not-found"
        assert (await socket.ask(op="subscribe", feed="new"))["code"] == "id-conflict"


async def test_what_is_said_in_one_packet_is_done_in_order() -> None:
    """A post right behind a subscription is in it, one right before is not."""
    async with live() as it:
        socket = await it.websocket("/v1/ws")
        one, two = ({"op": "post", "id": id, "raw": id} for id in "12")
        asked = [one, {"op": "subscribe"}, two, {"op": "ping"}]
        await socket.client.say(b"".join(frame(json.dumps(a).encode()) for a in asked))
        got = [await socket.json() for _ in range(5)]
        assert [e["event"] for e in got] == ["posted", "subscribed", "posted", "pong", "record"]
        assert got[4]["id"] == "2"


async def test_many_records_come_in_one_frame_if_that_is_wished() -> None:
    """Up to the number asked for, in order, with the cursor behind the last."""
    async with live() as it:
        socket = await it.websocket("/v1/ws")
        await socket.ask(op="subscribe", feed="all", batch=40)
        made = [post(it.node, str(i)) for i in range(100)]
        frames: list[dict[str, Any]] = []
        ids: list[str] = []
        while len(ids) < 100:
            frames.append(await socket.json())
            records = frames[-1]["records"]
            assert len(records) <= 40
            assert records[-1]["cursor"] == frames[-1]["cursor"]
            ids += [r["id"] for r in records]
        assert ids == [r.id for r in made]
        assert {(f["event"], f["feed"]) for f in frames} == {("records", "all")}
        assert len(frames) < 100


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"{", "bad-json"),
        (b"[]", "bad-json"),
        (b'{"op":"post","raw":1}', "bad-json"),
        (b'{"op":"post","raw":1,"ref":7}', "bad-json"),
        (b'{"op":"sing","ref":7}', "bad-request"),
        (b'{"op":"sing","ref":7.5}', "bad-request"),
        (b'{"op":"sing","ref":[7]}', "bad-json"),
        (b'{"op":"subscribe","batch":0,"ref":7}', "bad-request"),
        (b'{"op":"ping","ref":"%b"}' % (b"x" * 65), "bad-request"),
        (b'{"op":"subscribe","since":"soon","ref":7}', "bad-request"),
        (b'{"op":"subscribe","batch":%d}' % (BATCH_MAX + 1), "bad-request"),
        (b'{"op":"subscribe","batch":0}', "bad-request"),
        (b'{"op":"subscribe","feed":"%b"}' % (b"x" * (NAME_CHARS_MAX + 1)), "bad-request"),
        (b'{"op":"subscribe","ref":"%b"}' % (b"x" * (NAME_CHARS_MAX + 1)), "bad-request"),
        (b'{"op":"x","y":' + b"[" * 17 + b"]" * 17 + b"}", "bad-json"),
    ],
)
async def test_what_makes_no_sense_is_answered_and_the_socket_goes_on(said: bytes, code: str) -> None:
    """An error names the code of the table, and the ref if there was one to be read."""
    async with live() as it:
        socket = await it.websocket("/v1/ws")
        await socket.client.say(frame(said))
        error = await socket.json()
        assert (error["event"], error["code"], error["status"]) == ("error", code, 400)
        assert error.get("ref") == (7.5 if b"7.5" in said else 7 if b'"ref":7' in said else None)
        assert (await socket.ask(op="ping", ref=8)) == {"event": "pong", "ref": 8}


async def test_binary_messages_are_closed_with_1003() -> None:
    """Nobody knows what they would mean."""
    async with live() as it:
        socket = await it.websocket("/v1/ws")
        await socket.client.say(frame(b"{}", 2))
        assert (await socket.closed())[0] == 1003


@pytest.mark.parametrize("end", [frame(b"\x03\xe8", 8), frame(b"{}", 2)])
@pytest.mark.parametrize("posts", [1, 2 * ASKED_MAX + 1])
async def test_what_was_said_before_the_end_is_done(posts: int, end: bytes) -> None:
    """Posts, with a close or an unfit message right behind them in one packet, are stored all the same."""
    async with live() as it:
        socket = await it.websocket("/v1/ws")
        await socket.client.say(frame(b'{"op":"post","raw":"x"}') * posts + end)
        await eventually(lambda: it.feeds.statistics.open["ws"] == 0)
        assert it.node.store_statistics().records == posts


async def test_without_the_right_to_write_only_posts_are_refused() -> None:
    """Reading goes on."""
    async with live(access=Access(credentials=Credentials(write_token=sha256(b"w").digest()))) as it:
        socket = await it.websocket("/v1/ws")
        assert (await socket.ask(op="post", raw="x"))["code"] == "forbidden"
        assert (await socket.ask(op="subscribe"))["event"] == "subscribed"
        post(it.node, "x")
        assert (await socket.json())["raw"] == "x"


async def test_what_an_address_may_post_bounds_its_messages_too() -> None:
    """Refused with the code of a post that comes too soon; the socket stays."""
    async with live(access=Access(posts_per_s=1.0)) as it:
        socket = await it.websocket("/v1/ws")
        answers = [await socket.ask(op="post", raw="x") for _ in range(4)]
        assert answers[0]["event"] == "posted"
        assert answers[0]["status"] == 201
        assert "too-many" in [answer.get("code") for answer in answers]


async def test_feeds_of_one_socket_are_bounded() -> None:
    """At the limit all are followed, one more is refused, and one that ends makes room."""
    async with live(feed_limits=FeedLimits(subscriptions_max=2)) as it:
        socket = await it.websocket("/v1/ws")
        for name in "ab":
            assert (await socket.ask(op="subscribe", feed=name))["event"] == "subscribed"
        assert (await socket.ask(op="subscribe", feed="c"))["code"] == "busy"
        await socket.ask(op="unsubscribe", feed="a")
        longest = "x" * NAME_CHARS_MAX
        subscribed = await socket.ask(op="subscribe", feed=longest, ref=longest, batch=BATCH_MAX)
        assert (subscribed["event"], subscribed["ref"]) == ("subscribed", longest)


async def test_a_client_that_asks_and_does_not_read_is_held_up_and_then_cut() -> None:
    """What it says waits in its own kernel, not here; all it was answered is at most one batch of replies."""
    async with live(HttpLimits(write_timeout_s=0.3, linger_timeout_s=0.3)) as it:
        socket = await it.websocket("/v1/ws", receive_buffer=4096)
        said = frame(json.dumps({"op": "post", "raw": "x" * 500}).encode()) * 200
        with suppress(trio.BrokenResourceError):
            while True:
                await socket.client.say(said)
        await eventually(lambda: it.feeds.statistics.cut["ws"] == 1)
        assert it.node.store_statistics().records > ASKED_MAX


@pytest.mark.parametrize("count", [0, 1, FeedLimits().subscriptions_max])
async def test_a_stopping_node_says_where_each_feed_is_and_closes_with_1001(count: int) -> None:
    """By name and whole, however many there are; the reason has the cursor if there is but one."""
    async with live() as it:
        socket = await it.websocket("/v1/ws")
        await socket.ask(op="ping")
        asked = [await socket.ask(op="subscribe", feed=f"feed {n}", since=f"{n + 1}h") for n in range(count)]
        post(it.node, "x")
        cursors: dict[str, str] = {}
        while len(cursors) < count:
            record = await socket.json()
            cursors[record["feed"]] = record["cursor"]
        it.feeds.close()
        for each in asked:
            end = {"event": "unsubscribed", "feed": each["feed"], "cursor": cursors[each["feed"]]}
            assert await socket.json() == end
        assert await socket.closed() == (1001, cursors["feed 0"] if count == 1 else "")
        assert len(set(cursors.values())) == count


async def test_a_client_that_does_not_read_delays_no_stop() -> None:
    """What is said at the end has the time that the server's stop has."""
    async with live(HttpLimits(graceful_timeout_s=0.3)) as it:
        socket = await it.websocket("/v1/ws", receive_buffer=4096)
        await socket.ask(op="subscribe")
        for _ in range(100):
            post(it.node, "x" * 100_000)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert 0 < it.feeds.statistics.records["ws"] < 100
        it.feeds.close()
        assert await it.server.stop() < HttpLimits().graceful_timeout_s


@pytest.mark.parametrize(
    ("count", "each_bytes", "taken"),
    [
        (ASKED_MAX - 1, 100, ASKED_MAX),
        (ASKED_MAX, 100, ASKED_MAX),
        (4, ASKED_BYTES_MAX // 4, 5),
        (4, ASKED_BYTES_MAX // 4 + 1, 4),
    ],
)
async def test_so_much_is_taken_of_a_client_before_it_is_answered(
    count: int, each_bytes: int, taken: int
) -> None:
    """100 messages, or 256 KiB and the message that passed it; the next waits, and nothing is lost."""
    node = make_node()
    put, receive = trio.open_memory_channel[Any](count + 3)
    answers: list[bytes] = []
    reads = trio.Event()

    async def send(message: Any) -> None:
        answers.append(message.get("frames", b""))
        if b"first" in answers[-1]:
            await reads.wait()  # the client reads nothing

    def say(ref: int | str, size: int = 0) -> None:
        said = json.dumps({"op": "ping", "ref": ref})
        put.send_nowait({"type": "websocket.receive", "text": said.ljust(size), "bytes": None})

    scope: Any = {"type": "websocket", "headers": [], "query_string": b"", "client": ("127.0.0.1", 1)}
    async with trio.open_nursery() as nursery:
        socket = Socket(scope, receive.receive, send)
        nursery.start_soon(serve_json, Feeds(node), Access(), socket)
        put.send_nowait({"type": "websocket.connect"})
        say("first")
        await trio.testing.wait_all_tasks_blocked()
        for number in range(count):
            say(number, each_bytes)
        for number in range(count, count + 2):
            say(number)
        await trio.testing.wait_all_tasks_blocked()
        assert count + 2 - put.statistics().current_buffer_used == taken
        reads.set()
        await trio.testing.wait_all_tasks_blocked()
        put.send_nowait({"type": "websocket.disconnect", "code": 1000})
    refs = re.findall(rb'"ref":(\d+)', b"".join(answers))
    assert list(map(int, refs)) == list(range(count + 2))
