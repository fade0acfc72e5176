"""Clients that shut their sending side and still read: they get their answer, and no more than others do."""

import json

from api.feeds import FeedLimits
from api.parse import WAIT_TIMEOUT_S_MAX
from api.server import HttpLimits
from tests.api.apps import PlainApp
from tests.api.live import Live, live, post
from tests.api.rawhttp import GET, Answer, RawClient, eventually, running
from tests.api.rawhttp import post as say_post

WAIT = GET.replace(b" / ", b" /wait ")
IMPATIENT = HttpLimits(linger_timeout_s=0.1)


async def half_close(client: RawClient, request: bytes) -> RawClient:
    """Send a last request and shut the sending side."""
    await client.say(request)
    await client.stream.send_eof()
    return client


def code(answer: Answer) -> str:
    """Return the code of a problem."""
    assert answer.headers["content-type"] == "application/problem+json"
    return str(json.loads(answer.body)["code"])


async def poll(it: Live, query: str) -> RawClient:
    """Ask for a page with the sending side shut."""
    request = GET.replace(b" / ", b" /v1/records?%b " % query.encode())
    return await half_close(await it.server.client(), request)


async def test_a_long_poll_ends_when_its_client_shuts_its_sending_side() -> None:
    """With what is there, or an empty page at once: a close looks the same. The linger is no bound."""
    async with live(IMPATIENT) as it:
        post(it.node, "here")
        for query, raws in (("since=now&wait=60s", []), ("wait=60s", ["here"])):
            client = await poll(it, query)
            answer = await client.answer()
            assert (answer.status, [r["raw"] for r in json.loads(answer.body)["records"]]) == (200, raws)
            assert await client.rest() == b""
        await it.server.all_closed()
        assert it.server.statistics.connections_cut == 0


async def test_a_long_poll_that_is_given_up_gives_its_places_back() -> None:
    """Those of connections and of feeds, long before its time: who asks again and again is let in."""
    async with live(HttpLimits(connections_per_address_max=3), FeedLimits(feeds_per_address_max=2)) as it:
        for _ in range(5):
            client = await it.get("/v1/records?since=now&wait=60s")
            await eventually(lambda: it.feeds.statistics.open["poll"] == 1)
            await client.stream.aclose()
            await it.server.all_closed()
            assert it.feeds.statistics.open["poll"] == 0
        client = await it.get("/v1/records?since=now&wait=60s")
        await eventually(lambda: it.feeds.statistics.open["poll"] == 1)
        post(it.node, "here")
        assert (await client.answer()).status == 200


async def test_a_half_closed_client_gets_the_receipt_it_waits_for() -> None:
    """A post that waits for nodes is answered when its own time is over; the linger is no bound."""
    async with live(IMPATIENT) as it:
        client = await half_close(
            await it.server.client(), say_post(b"here", "/v1/records?wait=2&timeout=400ms")
        )
        answer = await client.answer()
        assert (answer.status, json.loads(answer.body)["reach"]["ok"]) == (202, 1)
        assert await client.rest() == b""
        await it.server.all_closed()
        assert it.server.statistics.connections_cut == 0


def test_a_half_closed_client_has_longer_than_the_longest_wait() -> None:
    """What may be asked for is answered."""
    assert HttpLimits().half_closed_timeout_s > WAIT_TIMEOUT_S_MAX


async def test_a_handler_that_is_given_up_is_answered_with_a_problem() -> None:
    """408 `timeout` when a half-closed client's time is over, and at the end of a stop's grace."""
    app = PlainApp()
    limits = HttpLimits(linger_timeout_s=0.1, half_closed_timeout_s=0.3, graceful_timeout_s=0.3)
    async with running(app, limits) as server:
        client = await half_close(await server.client(), WAIT)
        answer = await client.answer()
        assert (answer.status, code(answer)) == (408, "timeout")
        await server.all_closed()
        assert server.statistics.connections_cut == 1
        client = await server.client()
        await client.say(WAIT)
        await eventually(lambda: app.waiting == 2)
        assert await server.stop() < 5
        answer = await client.answer()
        assert (answer.status, code(answer)) == (408, "timeout")


async def test_a_handler_that_fails_before_quart_is_answered_with_a_problem() -> None:
    """Stock answers with nothing at all."""
    async with running(PlainApp()) as server:
        client = await server.client()
        answer = await client.ask(GET.replace(b" / ", b" /boom "))
        assert (answer.status, code(answer)) == (500, "internal")
        assert (await client.ask(GET)).body == b"hello"
        await half_close(client, GET.replace(b"GET / ", b"HEAD /boom "))
        answer = await client.answer(head_only=True)
        assert answer.status == 500
        assert await client.rest() == b""


async def test_a_client_that_resets_after_its_end_is_forgotten_soon() -> None:
    """Nothing is sent to it that could fail, and no event tells: the connection is looked at."""
    app = PlainApp()
    limits = HttpLimits(linger_timeout_s=0.1, half_closed_timeout_s=60)
    async with running(app, limits) as server:
        client = await half_close(await server.client(), WAIT)
        await eventually(lambda: app.waiting == 1)
        await client.reset()
        await server.all_closed()


async def test_half_closed_connections_count_to_their_cap() -> None:
    """Who half-closes a thousand has as many places as who does not."""
    app = PlainApp()
    async with running(app, HttpLimits(connections_per_address_max=3)) as server:
        waiting = [await half_close(await server.client(), WAIT) for _ in range(3)]
        await eventually(lambda: app.waiting == 3)
        assert await (await server.client()).rest() == b""
        assert server.statistics.connections_refused == 1
        app.gate.set()
        assert [(await client.answer()).status for client in waiting] == [200] * 3
        await server.all_closed()
