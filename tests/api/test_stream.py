"""`GET /v1/stream` and `GET /v1/records?wait=`: what happens, as it happens, and where to go on."""

import json

import pytest
import trio

from api import FeedLimits, HttpLimits
from api.cursor import make_cursor
from api.errors import Problem
from eventbus import PeerDown, PeerUp, RecordExpired, RecordSuperseded
from eventbus.bus import BUFFER_EVENTS
from tests.api.live import WebSocket, live, post
from tests.api.rawhttp import eventually


async def test_a_reader_gets_what_is_posted_from_now_on_in_order() -> None:
    """Nothing from before, nothing twice, each with the cursor to go on from it."""
    async with live() as it:
        post(it.node, "before")
        lines = await it.stream()
        made = [post(it.node, f"raw {i}") for i in range(300)]
        events = await lines.events(300)
        assert {e["event"] for e in events} == {"record"}
        assert [e["id"] for e in events] == [r.id for r in made]
        assert [e["digest"] for e in events] == [r.digest.hex() for r in made]
        later = await it.stream(f"?since={events[249]['cursor']}")
        assert [e["id"] for e in await later.events(50)] == [r.id for r in made[250:]]


async def test_the_same_stream_comes_as_server_sent_events() -> None:
    """A browser's EventSource: ids are cursors, and it brings the last one back itself."""
    async with live() as it:
        client = await it.get("/v1/stream?prefix=a/")
        head = await client.until(b"\r\n\r\n")
        assert b"content-type: text/event-stream\r\n" in head
        assert b"cache-control: no-store\r\n" in head
        start = make_cursor(it.node.boot, 0, 0)
        assert f": keep-alive\nid: {start}\n\n".encode() in await client.until(b"\n\n\r\n")
        post(it.node, "no", "b/1")
        record = post(it.node, "line\nbreak\r\n", "a/1")
        text = (await client.until(b"\n\n\r\n")).partition(b"\r\n")[2].decode()
        cursor = make_cursor(it.node.boot, 2, 0)
        first, second, third = text.splitlines()[:3]
        assert (first, second) == (f"id: {cursor}", "event: record")
        assert json.loads(third.removeprefix("data: "))["raw"] == "line\nbreak\r\n"
        again = await it.stream("?since=all&prefix=a/", f"Last-Event-ID: {start}")
        assert (await again.event())["id"] == record.id


async def test_a_cursor_of_another_start_is_a_reset_and_begins_with_the_oldest() -> None:
    """It is no error to come from a node that died; ids tell what has been seen."""
    async with live() as it:
        post(it.node, "x", "one")
        lines = await it.stream(f"?since={make_cursor('0' * 12, 77, 0)}")
        reset, record = await lines.events(2)
        assert reset == {"event": "reset", "cursor": make_cursor(it.node.boot, 0, 0)}
        assert (record["event"], record["id"]) == ("record", "one")


async def test_what_becomes_of_records_and_peers_is_told() -> None:
    """Of ids with another prefix nothing, of peers always."""
    async with live() as it:
        lines = await it.stream("?prefix=a")
        a, b = post(it.node, "1", "a"), post(it.node, "2", "b")
        assert (await lines.event())["id"] == "a"
        it.node.bus.publish(
            RecordExpired(a),
            RecordExpired(b),
            RecordSuperseded(a, b),
            PeerUp("00", "amber"),
            PeerDown("00", "amber", "gone"),
        )
        expired, superseded, up, down = await lines.events(4)
        cursor = make_cursor(it.node.boot, 2, 0)
        digest = a.digest.hex()
        assert expired == {
            "event": "expired",
            "id": "a",
            "digest": digest,
            "time_stamp": a.time_stamp,
            "cursor": cursor,
        }
        assert superseded == {
            "event": "superseded",
            "id": "a",
            "digest": digest,
            "loser": b.digest.hex(),
            "cursor": cursor,
        }
        assert up == {"event": "peer", "peer": "00", "name": "amber", "state": "up", "cursor": cursor}
        assert down == {**up, "state": "down", "reason": "gone"}


async def test_a_storm_of_notices_costs_notices_and_no_record() -> None:
    """More than the bus keeps for all feeds together, at once: the readers are told, and go on."""
    async with live() as it:
        lines = await it.stream()
        it.node.bus.publish(*[PeerUp("00", "amber")] * (BUFFER_EVENTS + 1))
        post(it.node, "x", "a")
        assert [e["event"] for e in await lines.events(2)] == ["record", "skipped"]
        post(it.node, "y", "b")
        assert (await lines.event())["id"] == "b"


async def test_a_record_that_ends_before_it_is_read_is_not_shown_from_what_was_made_for_others() -> None:
    """Readers at one place share the bytes, but not beyond the life of what is in them."""
    async with live(ttl="1s") as it:
        start = make_cursor(it.node.boot, 0, 0)
        record = post(it.node, "short", "s")
        first = await it.stream(f"?since={start}")
        assert (await first.event())["id"] == "s"
        await eventually(lambda: it.node.life_left_ms(record) <= 0)
        second = await it.stream(f"?since={start}")
        it.node.bus.publish(PeerUp("00", "mark"))
        assert (await second.event())["event"] == "peer"


async def test_a_long_poll_answers_when_something_comes_or_the_time_is_over() -> None:
    """An empty page after the wait, a full one as soon as there is one."""
    async with live() as it:
        idle = await it.get("/v1/records?since=now&wait=50ms")
        assert json.loads((await idle.answer()).body)["records"] == []
        client = await it.get("/v1/records?since=now&prefix=p&wait=30s")
        await eventually(lambda: it.feeds.statistics.open["poll"] == 1)
        post(it.node, "no", "q")
        post(it.node, "yes", "p")
        page = json.loads((await client.answer()).body)
        assert [r["id"] for r in page["records"]] == ["p"]
        assert page["next"] == make_cursor(it.node.boot, 2, 0)
        assert it.feeds.statistics.open["poll"] == 0
        assert (await (await it.get("/v1/records?wait=61s")).answer()).status == 400


async def test_lines_can_be_waited_for_as_a_page_can() -> None:
    """The first record ends the wait; what came with it is listed, too."""
    async with live() as it:
        idle = await it.get("/v1/records?since=now&wait=50ms", "Accept: application/x-ndjson")
        assert (await idle.answer()).body == b""
        client = await it.get("/v1/records?since=now&wait=30s", "Accept: application/x-ndjson")
        await eventually(lambda: it.feeds.statistics.open["poll"] == 1)
        post(it.node, "one", "a")
        post(it.node, "two", "b")
        lines = (await client.answer()).body.splitlines()
        assert [json.loads(line)["id"] for line in lines] == ["a", "b"]


async def test_feeds_beyond_the_limit_are_refused_and_places_come_back() -> None:
    """In total and per address, by whatever kind of feed; a HEAD takes none."""
    async with live(feed_limits=FeedLimits(feeds_max=3, feeds_per_address_max=2)) as it:
        first, second = await it.stream(), await it.websocket("/websocket")
        assert (await (await it.get("/v1/stream")).answer()).status == 503
        third = await it.stream(source="127.0.0.2")
        full = await (await it.get("/v1/records?since=now&wait=1s", source="127.0.0.3")).answer()
        assert (full.status, full.headers["retry-after"]) == (503, "5")
        assert it.feeds.statistics.refused == 2
        for client in (first.client, second.client, third.client):
            await client.stream.aclose()
        await eventually(lambda: not +it.feeds.statistics.open)
        head = await it.server.client()
        await head.say(b"HEAD /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert (await head.answer(head_only=True)).status == 200
        await eventually(lambda: not +it.feeds.statistics.open)
        await it.stream()


async def test_the_addresses_of_one_ipv6_network_share_their_places() -> None:
    """As its connections do: else the feeds of one host could take all of those, and posts find none."""
    async with live(feed_limits=FeedLimits(feeds_per_address_max=2)) as it:
        first, _ = (it.feeds.open("sse", f"2001:db8::{host}") for host in (1, 2))
        with pytest.raises(Problem, match="busy"):
            it.feeds.open("sse", "2001:db8::3")
        it.feeds.open("sse", "2001:db8:0:1::3")
        first.leave()
        it.feeds.open("sse", "2001:db8::3")


async def test_a_silent_stream_shows_that_it_lives_and_where_it_is() -> None:
    """The cursor moves over what is not wanted, so that nothing is looked through twice."""
    async with live(feed_limits=FeedLimits(keep_alive_s=0.05)) as it:
        lines = await it.stream("?prefix=a")
        post(it.node, "no", "b")
        cursor = make_cursor(it.node.boot, 1, 0)
        while (event := await lines.event())["cursor"] != cursor:
            assert event["event"] == "keepalive"


async def test_a_stream_of_which_nothing_is_wanted_shows_that_it_lives_too() -> None:
    """What others wrote, sooner than every silence is over, puts no sign of life off; the cursor moves on."""
    async with live(feed_limits=FeedLimits(keep_alive_s=0.2)) as it, trio.open_nursery() as nursery:
        lines = await it.stream("?prefix=a")

        async def post_others() -> None:
            while True:
                post(it.node, "no")
                await trio.sleep(0.02)

        nursery.start_soon(post_others)
        events = await lines.events(3)
        assert {e["event"] for e in events} == {"keepalive"}
        assert len({e["cursor"] for e in events}) == 3
        post(it.node, "yes", "a")
        while (event := await lines.event())["event"] == "keepalive":
            pass
        assert event["id"] == "a"
        nursery.cancel_scope.cancel()


async def test_feeds_end_at_once_when_the_node_stops() -> None:
    """A stream ends as a whole answer, sockets say where to go on."""
    async with live() as it:
        lines, socket = await it.stream(), await it.websocket("/websocket")
        post(it.node, "x")
        assert (await lines.event())["raw"] == "x"
        assert await socket.text() == "x"
        it.feeds.close()
        assert await socket.closed() == (1001, make_cursor(it.node.boot, 1, 0))
        assert (await lines.client.until(b"0\r\n\r\n")) == b"0\r\n\r\n"
        await socket.client.stream.aclose()
        assert await it.server.stop() < HttpLimits().graceful_timeout_s


async def test_the_deaf_are_cut_and_counted_and_the_others_get_everything_in_order() -> None:
    """Who talks to one waits for one: 2 of 12 never read (tests/system/test_feeds.py has 5 of 50)."""
    async with live(HttpLimits(write_timeout_s=0.5, linger_timeout_s=0.3)) as it:
        deaf = [await it.websocket("/websocket", receive_buffer=4096) for _ in range(2)]
        readers = [await it.websocket("/websocket") for _ in range(10)]
        raws = [f"{number:04}" + "x" * 5000 for number in range(1500)]

        async def read(reader: WebSocket) -> None:
            assert [await reader.text() for _ in raws] == raws

        async with trio.open_nursery() as nursery:
            for reader in readers:
                nursery.start_soon(read, reader)
            for raw in raws:
                post(it.node, raw)
                await trio.lowlevel.checkpoint()
        await eventually(lambda: it.feeds.statistics.cut["raw"] == len(deaf))
        assert it.feeds.statistics.open["raw"] == len(readers)


async def test_a_reader_that_does_not_read_is_cut_and_resumes_without_loss() -> None:
    """Its place comes back, the cut is counted, and the last cursor it saw is where it goes on."""
    async with live(HttpLimits(write_timeout_s=0.3, linger_timeout_s=0.3)) as it:
        lines = await it.stream(receive_buffer=4096)
        made = [post(it.node, "x" * 10_000, f"{i:04}") for i in range(1500)]
        with trio.fail_after(8):
            await eventually(lambda: it.feeds.statistics.cut["ndjson"] == 1)
        seen: list[str] = []
        cursor = ""
        try:
            while True:
                event = await lines.event()
                seen.append(event["id"])
                cursor = event["cursor"]
        except (AssertionError, ValueError):
            pass
        rest = await it.stream(f"?since={cursor}" if cursor else "?since=all")
        seen += [e["id"] for e in await rest.events(len(made) - len(seen))]
        assert seen == [r.id for r in made]
