"""The client against real nodes: what it posts and reads, and a watch through the death of its nodes."""

import errno
import http.client
import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
import trio

from node.client import Client, NodeRefused, NodeUnreachable, Page, Reach
from node.connect import NodeAddress
from node.request import Answer
from node.trio_client import TrioClient
from tests.api.nodes import lone_node
from tests.node.commands import answering
from tests.processes import NodeProcess, cluster, free_port, wait_until

SLOW_S = 15.0 if os.environ.get("DAYFLY_TEST_LONG") else 0.5
"""How long the reader reads nothing. In the long form the node cuts it meanwhile."""

LARGE = "x" * (1 << 20)


@pytest.fixture(scope="module")
def node() -> Iterator[NodeProcess]:
    """One node for all tests here; each uses ids of its own."""
    with lone_node() as node:
        yield node


def test_what_is_posted_is_found_by_id_and_in_the_listing(node: NodeProcess) -> None:
    """Texts, bytes, ids made here; a page's end is not the listing's."""
    client = Client(node.url)
    first = client.post("an ärgument", id="client/1 ?#/é")
    assert (first.result, first.size) == ("stored", 12)
    assert client.post(b"an \xc3\xa4rgument", id="client/1 ?#/é").result == "exists"
    made = client.post("no id").id
    found = client.get(made)
    assert found is not None
    assert found.raw == "no id"
    assert client.get("client/none") is None
    node.post_batch(["x"] * 2500, "pages/")
    assert [r.id for r in client.list(prefix="pages/")] == [f"pages/{i}" for i in range(2500)]


def test_refusals_and_silence_are_told_apart(node: NodeProcess) -> None:
    """The node's code reaches the program; who does not answer is passed over for one who does."""
    client = Client(f"http://127.0.0.1:{free_port()}", node.url)
    client.post("one", id="refused")
    with pytest.raises(NodeRefused) as refused:
        client.post("two", id="refused")
    assert (refused.value.status, refused.value.code) == (409, "id-conflict")
    reach = client.post("one", id="refused", wait="all").reach
    assert reach == Reach(1, 1, reach.ms if reach else 0)
    nobody = Client(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(NodeUnreachable):
        nobody.post("x")
    with pytest.raises(NodeUnreachable):
        next(nobody.watch())
    with pytest.raises(NodeRefused):
        next(client.watch(since="yesterday"))


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class OpenClient(Client):
    """A client whose last connection can be got at."""

    last: http.client.HTTPConnection

    def connection(self, address: NodeAddress) -> http.client.HTTPConnection:
        """Keep it."""
        self.last = super().connection(address)
        return self.last


def test_any_error_that_ends_an_answer_is_told_as_that() -> None:
    """Whatever the system calls it, at whatever way of reading: here reading is no longer possible at all."""
    ways: list[Callable[[Answer], object]] = [
        lambda answer: answer.decode(Page),
        lambda answer: list(answer.records()),
        lambda answer: answer.text(100),
    ]
    for read in ways:
        with answering(CHUNKED + b"2\r\n{}\r\n") as url, open(os.devnull) as other:
            client = OpenClient(url)
            with client.ask("GET", "/v1/node") as answer:
                os.dup2(other.fileno(), client.last.sock.fileno())  # ENOTSOCK, as good as EHOSTUNREACH
                with pytest.raises(NodeUnreachable, match=re.escape(url)):
                    read(answer)


@pytest.mark.parametrize("own", [ValueError("own"), OSError(errno.EPIPE, "own"), TimeoutError("own")])
def test_an_error_of_the_callers_own_keeps_its_name(own: Exception) -> None:
    """It says nothing about the node, also between two lines of a listing."""
    line = json.dumps({"id": "i", "raw": "r", "signature": "", "time_stamp": 1, "expires_at": 2})
    body = f'{line[:-1]}, "digest": "", "size": 1}}\n'.encode()
    with answering(CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)) as url:
        try:
            with Client(url).ask("GET", "/v1/records") as answer:
                for _ in answer.records():
                    raise own
        except Exception as error:
            assert error is own  # noqa: PT017 - `pytest.raises` takes a single statement
        else:
            pytest.fail("nothing was read")


def test_a_closed_watch_ends_also_for_who_waits_in_it(node: NodeProcess) -> None:
    """From another thread, in the middle of waiting."""
    watch = Client(node.url).watch(since="all", prefix="closed/")
    ended = threading.Event()

    def follow() -> None:
        assert list(watch) == []
        ended.set()

    thread = threading.Thread(target=follow)
    thread.start()
    wait_until(lambda: bool(watch.state().cursors), "the watch is under way")
    watch.close()
    thread.join(10)
    assert ended.is_set()


def test_closing_a_watch_does_not_wait_for_a_node_that_is_silent_in_its_handshake() -> None:
    """Ctrl-C ends `dayfly watch` by it, and so does a cancelled watch of the trio client."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        watch = Client(f"https://127.0.0.1:{listener.getsockname()[1]}").watch()
        reader = threading.Thread(target=watch.batch, daemon=True)
        reader.start()
        silent, _ = listener.accept()
        closer = threading.Thread(target=watch.close, daemon=True)
        closer.start()
        closer.join(10)
        assert not closer.is_alive()
        silent.close()
        reader.join(10)
        assert not reader.is_alive()


async def test_for_trio_the_same_and_a_cancelled_watch_leaves_no_thread(node: NodeProcess) -> None:
    """What was handed out is behind the state it leaves; what was not comes to whoever resumes."""
    client = TrioClient(node.url)
    for i in range(5):
        await client.post(f"raw {i}", id=f"trio/{i}")
    assert [r.id async for r in client.list(prefix="trio/")] == [f"trio/{i}" for i in range(5)]
    assert (await client.show("/v1/node"))["records"] >= 5
    got: list[str] = []
    with client.watch(since="all", prefix="trio/") as watch:
        async for record in watch:
            got.append(record.id)
            if len(got) == 3:
                break
        state = watch.state()
    with client.watch(prefix="trio/", resume=state) as watch:
        with trio.move_on_after(30) as scope:
            async with trio.open_nursery() as nursery:

                async def follow() -> None:
                    async for record in watch:
                        got.append(record.id)
                        if len(got) == 5:
                            scope.cancel()

                nursery.start_soon(follow)
        assert scope.cancelled_caught
        with pytest.raises(StopAsyncIteration):
            await anext(watch)
    assert got == [f"trio/{i}" for i in range(5)]


class Follower:
    """Follows in a thread, and can be told to read nothing for a while."""

    def __init__(self, client: Client) -> None:
        self.ids: list[str] = []
        self.reading = threading.Event()
        self.reading.set()
        self.watch = client.watch(prefix="w/")
        self.thread = threading.Thread(target=self._follow)
        self.thread.start()
        wait_until(lambda: bool(self.watch.state().cursors), "the watch has begun")

    def _follow(self) -> None:
        for record in self.watch:
            self.ids.append(record.id)
            self.reading.wait()

    def wait(self, count: int) -> None:
        """Wait until so many different records have come."""
        wait_until(lambda: len(set(self.ids)) >= count, f"{count} records, not {len(self.ids)}", 60)


async def test_a_record_is_not_lost_to_a_cancel_that_comes_before_it(node: NodeProcess) -> None:
    """It was there to be handed out and was not, so whoever resumes gets it."""
    client = TrioClient(node.url)
    for i in range(3):
        await client.post("x", id=f"cancelled/{i}")
    with client.watch(since="all", prefix="cancelled/") as watch:
        assert (await anext(watch)).id == "cancelled/0"
        with trio.CancelScope() as scope:
            scope.cancel()
            await anext(watch)
        state = watch.state()
    with client.watch(prefix="cancelled/", resume=state) as watch, trio.fail_after(30):
        assert [(await anext(watch)).id for _ in range(2)] == ["cancelled/1", "cancelled/2"]


def test_a_watch_outlives_its_nodes_and_loses_and_doubles_nothing() -> None:
    """Its node is killed, the next one too, the first comes back empty, and in between it reads nothing."""
    with cluster() as c:
        first, second, third = c.start(3)
        third.post("of before", "w/before")
        wait_until(lambda: first.records == 1, "the first node has what was there before")
        follower = Follower(Client(first.url, second.url, third.url))
        posted: list[str] = []

        def post(node: NodeProcess, count: int, raw: str = "x") -> None:
            for _ in range(count):
                posted.append(f"w/{len(posted)}")
                node.post(raw, posted[-1])

        try:
            post(third, 50)
            follower.wait(50)
            first.kill()
            post(third, 50)
            follower.wait(100)
            first.start().wait_ready()
            follower.reading.clear()
            post(third, 20, LARGE)
            threading.Event().wait(SLOW_S)
            follower.reading.set()
            second.kill()
            post(third, 50)
            follower.wait(170)
            wait_until(lambda: first.records == 171, "the first node has all")
            third.kill()
            post(first, 50)
            follower.wait(220)
        finally:
            follower.reading.set()
            follower.watch.close()
            follower.thread.join(20)
        assert sorted(follower.ids) == sorted(posted)
