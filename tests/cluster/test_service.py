"""A node's peer port over real sockets: who gets in, who does not, and what misbehaving costs."""

import socket
import struct
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count, pairwise

import msgspec
import pytest
import trio
from structlog.testing import capture_logs

from cluster.codec import FRAME_BYTES_MAX, HELLO_BYTES_MAX, encode, wire_record
from cluster.connector import HANDSHAKES_PER_ADDRESS_MAX, REFUSALS_MAX
from cluster.handshake import HANDSHAKE_TIMEOUT_S
from cluster.intake import ADMIT_RECORDS
from cluster.messages import (
    Bye,
    Fetch,
    IHave,
    Member,
    Message,
    Page,
    Peers,
    Ping,
    Pong,
    Push,
    Ready,
    Reconcile,
    Want,
    WireRecord,
)
from cluster.service import LINKS_LOGGED_MAX
from cluster.shares import SHARE_MAX
from cluster.transport import LinkError, dial
from node.exports import Node
from tests.cluster.peer import ScriptedPeer, config, hello, running, until
from validator import Record, sign


def wire(number: int, raw: str = "raw", signature: str | None = None) -> WireRecord:
    """A good record as it travels."""
    return WireRecord(f"id{number}", raw, signature or sign(raw), time.time_ns() // 1_000_000)


def held(node: Node) -> set[str]:
    """Ids the node lists."""
    return {r.id for r in node.listing(b"")}


@asynccontextmanager
async def listening(answer: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncGenerator[str]:
    """Yield an address that does `answer` on each connection."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, answer, listeners)
        yield f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def heard_push(peer: ScriptedPeer) -> Push:
    """The next records sent to a scripted peer, answering pings meanwhile."""
    while True:
        message = await peer.hear()
        assert message is not None, "the node closed the link"
        if isinstance(message, Push):
            return message
        if isinstance(message, Ping):
            await peer.say(Pong(message.seq, message.wall_ms, 0, 0, message.fingerprint))


async def test_a_fitting_peer_links_and_records_go_both_ways() -> None:
    """Handshake, a record in, a record out."""
    async with running(config()) as node:
        peer = await ScriptedPeer.connect(node)
        answer = await peer.link(node)
        assert answer.name == "tested"
        await peer.say(Push([wire(1)]))
        await until(lambda: held(node) == {"id1"}, "the record is held")
        node.submit("mine", "hello", None)

        assert [r.id for r in (await heard_push(peer)).records] == ["mine"]


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"cluster": "other"}, "cluster", "'other'"),
        ({"rules": "size+time+md5 ttl=1000ms"}, "rules", "ttl=1000ms"),
        ({"protocol_min": 2, "protocol_max": 9}, "version", "2 to 9"),
        ({"wall_ms": 1_000}, "clock", "set the clock"),
    ],
)
async def test_a_peer_that_does_not_fit_is_told_why_and_so_are_people(
    changes: dict[str, object], code: str, words: str
) -> None:
    """Refused on both sides with the reason, logged once, no record crosses."""
    async with running(config()) as node:
        with capture_logs() as logs:
            for _ in range(2):
                peer = await ScriptedPeer.connect(node)
                await peer.say(hello(node, **changes), Ready(), Push([wire(1)]))
                bye = await peer.hear()
                assert isinstance(bye, Bye)
                assert bye.code == code
                assert words in bye.reason
                assert await peer.hear() is None

        assert held(node) == set()
        assert [log["code"] for log in logs if log["event"] == "link refused"] == [code]
        assert any(words in p.error for p in node.peers())


async def test_strangers_with_ever_new_words_and_ports_do_not_fill_the_log() -> None:
    """However one that is refused varies what it says, a minute has `REFUSALS_MAX` lines for all of it."""
    async with running(config()) as node:
        with capture_logs() as logs:
            for number in range(REFUSALS_MAX):
                for first in (Bye(f"code-{number}", "words"), hello(node, port=1 + number, cluster="other")):
                    peer = await ScriptedPeer.connect(node)
                    await peer.say(first)
                    while await peer.hear() is not None:
                        pass

        assert sum(log["event"] == "link refused" for log in logs) == REFUSALS_MAX


async def test_members_that_come_and_go_do_not_fill_the_log() -> None:
    """A minute has `LINKS_LOGGED_MAX` lines for all links that come up and go."""
    async with running(config()) as node:
        with capture_logs() as logs:
            for number in range(LINKS_LOGGED_MAX // 2 + 2):
                peer = await ScriptedPeer.connect(node)
                await peer.link(node, number)
                await until(lambda: len(node.cluster.links) == 1, "linked")
                await trio.aclose_forcefully(peer.stream)
                await until(lambda: not node.cluster.links, "gone")

        assert sum(log["event"] in ("peer up", "peer down") for log in logs) == LINKS_LOGGED_MAX


async def test_a_clock_within_a_minute_is_welcome() -> None:
    """59 seconds off is allowed."""
    async with running(config()) as node:
        peer = await ScriptedPeer.connect(node)
        await peer.link(node, wall_ms=time.time_ns() // 1_000_000 + 59_000)

        await until(lambda: len(node.cluster.links) == 1, "linked")


@pytest.mark.parametrize(
    "junk",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        struct.pack(">IBB", 2**32 - 1, 1, 1) + bytes(100),
        struct.pack(">IBB", FRAME_BYTES_MAX + 1, 1, 1),
        encode(Ping(1, 2, 3, 4, 5, 6, bytes(16))),
        encode(Push([WireRecord("a", "b", sign("b"), 1)])),
        bytes(1000),
        b"\xff" * 1000,
    ],
    ids=["http", "tls", "4 GiB", "one over", "ping first", "push first", "zeros", "ones"],
)
async def test_whoever_does_not_speak_our_protocol_is_closed_at_once(junk: bytes) -> None:
    """Before the handshake nothing but a hello is taken, and nothing raises out of it."""
    async with running(config()) as node:
        peer = await ScriptedPeer.connect(node)
        await peer.stream.send_all(junk)
        with trio.fail_after(1):
            while await peer.hear() is not None:
                pass
        good = await ScriptedPeer.connect(node)
        await good.link(node)

        await until(lambda: len(node.cluster.links) == 1, "the node still links")
        assert held(node) == set()


async def test_whoever_connects_and_says_nothing_is_closed_in_time() -> None:
    """The handshake has a deadline of its own."""
    async with running(config()) as node:
        peer = await ScriptedPeer.connect(node)
        start = trio.current_time()
        assert await peer.hear() is None

        assert HANDSHAKE_TIMEOUT_S - 0.5 < trio.current_time() - start < HANDSHAKE_TIMEOUT_S + 2
        assert node.cluster.statistics().handshakes_refused_total == 1


async def test_a_second_connection_of_the_same_peer_takes_the_place_of_the_first() -> None:
    """The dialler has decided that it needs a new one: the older connection ends."""
    async with running(config()) as node:
        first, second = await ScriptedPeer.connect(node), await ScriptedPeer.connect(node)
        await first.link(node)
        await until(lambda: len(node.cluster.links) == 1, "linked")
        await second.link(node)
        with trio.fail_after(2):
            while (message := await first.hear()) is not None:
                assert not isinstance(message, Bye) or message.code == "duplicate"
        await second.say(Push([wire(1)]))

        await until(lambda: held(node) == {"id1"}, "the second connection serves")
        assert len(node.cluster.links) == 1


async def test_who_dials_a_node_it_is_linked_with_hears_who_that_is() -> None:
    """The node dialled this peer, whose id is higher: that connection stays, and it says so and who it is."""
    heard = list[Message | None]()

    async def answer(stream: trio.SocketStream) -> None:
        peer = ScriptedPeer(stream)
        await peer.hear()
        await peer.say(hello(node, node_id=b"\xff" * 16))
        await peer.hear()
        second = await ScriptedPeer.connect(node)
        await second.say(hello(node, node_id=b"\xff" * 16))
        heard.append(await second.hear())
        await trio.sleep_forever()

    async with listening(answer) as join, running(config(("join", join))) as node:
        await until(lambda: bool(heard), "it was answered")
        bye = heard[0]
        assert isinstance(bye, Bye)
        assert (bye.code, bye.node_id) == ("duplicate", node.id)


async def test_a_second_address_of_a_peer_is_known_by_its_goodbye() -> None:
    """It is dialled no more, and not shown as lost."""
    made = list[Message | None]()

    async def answer(stream: trio.SocketStream) -> None:
        peer = ScriptedPeer(stream)
        made.append(await peer.hear())
        await until(lambda: len(node.cluster.links) == 1, "linked")
        await peer.say(Bye("duplicate", "already linked", (1).to_bytes(16, "big")))

    async with listening(answer) as join, running(config(("join", join))) as node:
        await ScriptedPeer.linked(node)
        await until(lambda: bool(made) and node.cluster.engine.membership.complete, "all are linked")
        assert [p.state for p in node.peers()] == ["up"]
        assert len(made) == 1


async def test_a_stranger_that_says_one_is_oneself_is_dialled_again() -> None:
    """Only who names our own id can have met us; else any responder could strike a seed off."""
    made = list[Message | None]()

    async def answer(stream: trio.SocketStream) -> None:
        peer = ScriptedPeer(stream)
        made.append(await peer.hear())
        await peer.say(Bye("self", "this address is my own", (1).to_bytes(16, "big") if made[1:] else None))

    async with listening(answer) as join, running(config(("join", join))) as node:
        await until(lambda: len(made) == 3, "it was dialled again")
        assert "my own" in next(p.error for p in node.peers())


async def test_a_node_that_is_its_own_seed_finds_out() -> None:
    """It hears its own id and dials the address no more; nobody is lost."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    async with running(config(("peer", address), ("join", address))) as node:
        candidates = node.cluster.engine.membership.candidates
        await until(lambda: node.cluster.statistics().handshakes_refused_total == 1, "it was dialled")
        await until(lambda: not candidates.lost, "it is not lost")


async def test_ones_own_address_is_recognised() -> None:
    """A node that hears its own id refuses to link with itself."""
    async with running(config()) as node:
        peer = await ScriptedPeer.connect(node)
        await peer.say(hello(node, node_id=node.id))
        bye = await peer.hear()

        assert isinstance(bye, Bye)
        assert (bye.code, bye.node_id) == ("self", node.id)


async def test_bad_records_cost_the_sender_its_link_and_nothing_else() -> None:
    """Three records that no honest node relays: closed, banned, nothing stored."""
    async with running(config()) as node:
        peer = await ScriptedPeer.connect(node)
        await peer.link(node)
        await peer.say(Push([wire(n, signature="f" * 32) for n in range(3)]))
        while not isinstance(message := await peer.hear(), Bye):
            assert message is not None
        assert message.code == "banned"
        again = await ScriptedPeer.connect(node)
        await again.say(hello(node))
        bye = await again.hear()

        assert isinstance(bye, Bye)
        assert "60 s" in bye.reason
        assert held(node) == set()


async def test_late_and_early_records_cost_nobody_anything() -> None:
    """Expired and future records are ignored, the link stays."""
    async with running(config()) as node:
        peer = await ScriptedPeer.connect(node)
        await peer.link(node)
        now_ms = time.time_ns() // 1_000_000
        times = [now_ms - 24 * 3_600_000, now_ms + 70_000, 0, 2**63 - 1]
        await peer.say(Push([WireRecord(f"t{t}", "raw", sign("raw"), t) for t in times]))
        await peer.say(Push([wire(1)]))
        await until(lambda: held(node) == {"id1"}, "the good one is held")

        assert len(node.cluster.links) == 1
        assert node.admission_totals()["ignored"] == 4


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack(">IBB", 2**31, 6, 1),
        struct.pack(">IBB", 10, 99, 1) + bytes(8),
        struct.pack(">IBB", 6, 6, 1) + b"\xc1\xc1\xc1\xc1",
        encode(Reconcile(0, 2**62, b"\x61" + b"\xff" * 50)),
        encode(Reconcile(0, 2**62, b"\x00junk")),
        encode(Ready()),
    ],
    ids=["2 GiB", "unknown critical", "not msgpack", "bad varint", "bad version", "out of place"],
)
async def test_a_malformed_message_ends_the_link(frame: bytes) -> None:
    """The sender loses its link; the next peer is served."""
    async with running(config()) as node:
        peer = await ScriptedPeer.linked(node)
        await peer.stream.send_all(frame)
        await until(lambda: not node.cluster.links, "the link is gone")
        other = await ScriptedPeer.connect(node)
        await other.link(node, 2)

        await until(lambda: len(node.cluster.links) == 1, "another one links")


async def test_junk_on_a_link_that_is_refused_as_it_comes_up_costs_that_link_only() -> None:
    """Whoever was let in to shake hands and is banned before it is ready cannot end the node by junk."""
    async with running(config()) as node:
        late = [await ScriptedPeer.connect(node) for _ in range(HANDSHAKES_PER_ADDRESS_MAX - 2)]
        for peer in late:
            await peer.say(hello(node))
            await peer.hear()
        first = await ScriptedPeer.connect(node)
        await first.link(node)
        await first.stream.send_all(b"junk" * 9)
        while await first.hear() is not None:
            pass
        for peer in late:
            await peer.say(Ready())
            await peer.stream.send_all(b"junk" * 9)
        other = await ScriptedPeer.connect(node)

        assert (await other.link(node, 2)).name == "tested"


async def test_a_flood_of_announcements_of_nothing_is_bounded() -> None:
    """200,000 digests that do not exist fill no more than their sender's share."""
    async with running(config()) as node:
        peer = await ScriptedPeer.connect(node)
        await peer.link(node)

        async def drain() -> None:
            while await peer.hear() is not None:
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain)
            for start in range(0, 200_000, 2_000):
                joined = b"".join(n.to_bytes(32, "big") for n in range(start, start + 2_000))
                await peer.say(IHave(b"", joined))
            await until(lambda: node.gossip_totals()["overflow_total"] > 100_000, "all were heard")
            nursery.cancel_scope.cancel()

        assert node.gossip_totals()["missing"] <= SHARE_MAX


async def test_wants_and_fetches_are_served() -> None:
    """A peer gets what it asks for by digest, and pages in order of time to the end."""
    async with running(config()) as node:
        records = [node.submit(f"r{n}", "x" * 1000, None).record for n in range(1500)]
        peer = await ScriptedPeer.connect(node)
        await peer.link(node, 2**100)
        wanted = [r.digest for r in records if r is not None][::7]
        await peer.say(Want(b"".join(wanted)))
        got: list[str] = []
        while len(got) < len(wanted):
            push = await heard_push(peer)
            got += [r.id for r in push.records if not push.origin]  # with it: pushed, as all that is new
        assert sorted(got) == sorted(f"r{n}" for n in range(0, 1500, 7))
        paged: list[str] = []
        after, more = b"", True
        while more:
            await peer.say(Fetch(after))
            while not isinstance(page := await peer.hear(), Page):
                assert page is not None
            paged += [r.id for r in page.records]
            after, more = page.last, page.more

        assert paged == [r.id for r in node.listing(b"", 10_000)]


async def test_the_next_page_is_asked_for_before_this_one_is_admitted() -> None:
    """So that one is always on its way; the last one is followed by a reconciliation, once it is in."""
    async with running(config()) as node:
        peer = await ScriptedPeer.connect(node)
        await peer.link(node, 2**100, records=10 * ADMIT_RECORDS + 1)
        stamp = node.wall_ms() - 60_000
        made = [Record.of(f"r{n}", "x", sign("x"), stamp + n) for n in range(10 * ADMIT_RECORDS + 1)]
        assert await peer.hear() == Fetch(b"")
        await peer.say(Page([wire_record(r) for r in made[:-1]], made[-2].key, True))
        assert await peer.hear() == Fetch(made[-2].key)
        assert len(node) < 10 * ADMIT_RECORDS
        await peer.say(Page([wire_record(made[-1])], made[-1].key, False))
        while isinstance(message := await peer.hear(), Ping):
            pass
        assert isinstance(message, Reconcile)
        assert len(node) == len(made)


async def test_a_peer_that_never_reads_is_dropped_and_others_are_served() -> None:
    """A deaf peer costs its outbox; everybody else gets every record at once."""
    async with running(config()) as node:
        deaf, good = await ScriptedPeer.connect(node), await ScriptedPeer.connect(node)
        await deaf.link(node, 1)
        await good.link(node, 2)
        await until(lambda: len(node.cluster.links) == 2, "both linked")
        got: set[str] = set()
        for number in range(40):
            node.submit(f"r{number}", "x" * 500_000, None)
            node.submit(f"s{number}", "y" * 60_000, None)
            while f"s{number}" not in got:
                got |= {r.id for r in (await heard_push(good)).records}

        assert node.cluster.links[(1).to_bytes(16, "big")].outbox.queued_bytes <= 6 * 1024 * 1024
        assert {f"s{n}" for n in range(40)} <= got


async def test_closing_says_goodbye() -> None:
    """Peers hear that the node leaves, with the reason."""
    async with running(config()) as node:
        peer = await ScriptedPeer.linked(node)
        node.close()
        with trio.fail_after(2):
            while not isinstance(message := await peer.hear(), Bye):
                assert message is not None

        assert message.code == "leaving"


async def test_a_taken_peer_port_is_an_error_that_names_it() -> None:
    """Nothing starts, and the address is in the message."""
    async with running(config()) as node:
        other = Node(config(("peer", f"127.0.0.1:{node.cluster.port}")))
        with pytest.RaisesGroup(
            pytest.RaisesExc(OSError, match=str(node.cluster.port)), flatten_subgroups=True
        ):
            await other.run()


@pytest.mark.parametrize(
    "address", ["garbage", "a..b:1", "x" * 70 + ":1", "", ":0", "[::1", "\x00:1", "h:99999"]
)
async def test_an_absurd_address_of_a_third_node_costs_nothing(address: str) -> None:
    """A peer tells of somebody who lives nowhere: it is not taken, or dialled in vain; the node lives on."""
    with pytest.raises(LinkError):
        await dial(address)  # an earlier run may have saved it
    async with running(config()) as node:
        peer = await ScriptedPeer.connect(node)
        await peer.link(node)
        await peer.say(Peers([Member(b"\xff" * 16, address), Member(b"\xfe" * 16, "127.0.0.1:0")]))
        await until(lambda: any(p.error for p in node.peers() if p.state == "lost"), "it was dialled")
        assert [p.address for p in node.peers() if p.state == "lost"] == ["127.0.0.1:0"]
        await peer.say(Push([wire(1)]))

        await until(lambda: held(node) == {"id1"}, "the node serves on")


async def test_what_was_acknowledged_is_handed_over_before_goodbye() -> None:
    """A node that is told to stop sends what is queued first."""
    async with running(config()) as node:
        peer = await ScriptedPeer.linked(node)
        for number in range(3000):
            node.submit(f"r{number}", "x" * 500, None)
        node.close()
        got: set[str] = set()
        while (message := await peer.hear()) is not None:
            if isinstance(message, Push):
                got |= {r.id for r in message.records}

        assert len(got) == 3000


async def test_what_was_only_announced_is_handed_over_before_goodbye() -> None:
    """Who asks for a record too large to be pushed, accepted a moment before the stop, gets it."""
    async with running(config()) as node:
        peer = await ScriptedPeer.linked(node)
        node.submit("large", "x" * 1_000_000, None)
        node.close()
        heard: list[str] = []
        while (message := await peer.hear()) is not None:
            heard.append(type(message).__name__)
            if isinstance(message, IHave):
                await peer.say(Want(message.digests))
            if isinstance(message, Ping):
                await peer.say(Pong(message.seq, message.wall_ms, 0, 0, message.fingerprint))

        assert heard == ["IHave", "Ping", "Push", "Bye"]


async def test_while_a_node_says_goodbye_nobody_is_let_in() -> None:
    """A peer that dials again at once would be linked with a node that is gone the next moment."""
    async with running(config()) as node:
        slow, late = await ScriptedPeer.connect(node), await ScriptedPeer.connect(node)
        await slow.link(node)
        await until(lambda: len(node.cluster.links) == 1, "linked")
        node.close()
        while not isinstance(await slow.hear(), Bye):
            pass
        await late.say(hello(node, 2))  # the first has not closed its end yet, and is waited for

        refusal = await late.hear()
        assert isinstance(refusal, Bye), refusal
        assert (refusal.code, refusal.reason) == ("failed", "the node is shutting down")


async def test_what_is_on_its_way_at_goodbye_arrives_whatever_the_peer_is_saying() -> None:
    """A socket that is closed with words unread takes back what the far end has not got yet."""
    async with running(config()) as node:
        narrow = trio.socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await narrow.connect(("127.0.0.1", node.cluster.port))
        peer = ScriptedPeer(trio.SocketStream(narrow))
        await peer.link(node)
        await until(lambda: len(node.cluster.links) == 1, "linked")

        async def talk() -> None:
            with suppress(trio.BrokenResourceError):
                while True:
                    await peer.stream.send_all(struct.pack(">IBB", 2, 200, 0) * 1000)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            for number in range(40):
                node.submit(f"r{number}", "x" * 500, None)
            node.close()
            with trio.move_on_after(0.2):  # a slow peer: what it does not read lies at the node's end
                await node.cluster.finished.wait()
            got = 0
            while (message := await peer.hear()) is not None:
                got += len(message.records) if isinstance(message, Push) else 0
            nursery.cancel_scope.cancel()

        assert got == 40


async def test_what_has_arrived_of_a_peer_that_died_is_taken() -> None:
    """Acknowledging fails then, and what is left to be read may be all there is of it."""
    async with running(config()) as node:
        peer = await ScriptedPeer.linked(node)
        for frame in range(6):
            records = [wire(frame * 100 + number) for number in range(100)]
            await peer.say(Push(records, bytes(15) + b"\1"))
        await trio.aclose_forcefully(peer.stream)
        await until(lambda: not node.cluster.links, "the link is gone")

        assert node.store_statistics().records == 600


async def test_records_that_come_in_one_read_with_a_goodbye_are_taken() -> None:
    """Whoever stops writes its last records and its goodbye at once: they are all the cluster has of them."""
    async with running(config()) as node:
        peer = await ScriptedPeer.linked(node)
        await peer.say(Push([wire(1)], bytes(15) + b"\1"), Bye("leaving", "the node is shutting down"))
        while await peer.hear() is not None:
            pass

        assert held(node) == {"id1"}


async def test_a_record_with_fields_of_a_later_release_is_taken() -> None:
    """What a later release adds to a record's four facts is ignored, not punished."""
    async with running(config()) as node:
        peer = await ScriptedPeer.connect(node)
        await peer.link(node)
        record = wire(1)
        facts = [record.id, record.raw, record.signature, record.time_stamp, "new"]
        body = msgspec.msgpack.encode([[facts]])
        await peer.stream.send_all(struct.pack(">IBB", len(body) + 2, 6, 1) + body)

        await until(lambda: held(node) == {"id1"}, "it is taken")


async def test_one_host_cannot_take_every_handshake() -> None:
    """Connections that say nothing fill their own share; the count comes down when they go."""
    async with running(config()) as node:
        for _ in range(HANDSHAKES_PER_ADDRESS_MAX + 5):
            await ScriptedPeer.connect(node)
        await until(lambda: node.cluster.statistics().handshakes_refused_total == 5, "five were closed")
        for peer in ScriptedPeer.connected:
            await trio.aclose_forcefully(peer.stream)
        good = await ScriptedPeer.connect(node)
        await good.link(node)

        await until(lambda: len(node.cluster.links) == 1, "room again")


async def test_one_host_cannot_take_every_handshake_by_its_many_ipv6_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A /64 counts as one host, as for HTTP. Its addresses are made up: few machines have such a network."""
    numbers = count()

    def address(_: trio.SocketStream) -> str:
        return f"2001:db8::{next(numbers):x}"

    monkeypatch.setattr("cluster.connector.remote_host", address)
    async with running(config()) as node:
        for _ in range(HANDSHAKES_PER_ADDRESS_MAX + 2):
            await ScriptedPeer.connect(node)
        await until(lambda: node.cluster.statistics().handshakes_refused_total == 2, "two were closed")


async def test_a_stranger_may_say_no_more_than_a_hello_before_it_is_welcome() -> None:
    """A large frame before the handshake is cut at its header; after it, it is taken."""
    async with running(config()) as node:
        stranger, peer = await ScriptedPeer.connect(node), await ScriptedPeer.connect(node)
        await stranger.stream.send_all(struct.pack(">IBB", HELLO_BYTES_MAX + 1, 1, 1))
        assert await stranger.hear() is None
        await peer.link(node)
        await peer.say(Push([wire(1, "x" * (1 << 20))]))
        await until(lambda: held(node) == {"id1"}, "a frame of a megabyte is taken")


async def test_what_one_peer_sends_at_once_is_taken_in_turns_with_all_others() -> None:
    """A burst of four thousand records gives the loop away again and again, and comes in whole."""
    async with running(config()) as node:
        peer = await ScriptedPeer.linked(node)
        await peer.say(*[Push([wire(n) for n in range(at, at + 200)]) for at in range(0, 4000, 200)])
        seen: set[int] = set()
        while len(node) < 4000:
            seen.add(len(node))
            await trio.lowlevel.checkpoint()

        steps = sorted([*seen, 4000])
        # One read brings some 1,100 of them: five milliseconds' work or more.
        assert max(b - a for a, b in pairwise(steps)) <= 800
