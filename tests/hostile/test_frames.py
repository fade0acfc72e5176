"""Frames and handshakes that no Dayfly node sends, by the thousand: they cost the sender its link.

The seed is fixed: what fails once fails again. `DAYFLY_TEST_LONG=1`: 20,000 frames in place of 1,500.
"""

import contextlib
import socket
import time
from collections.abc import Iterator
from random import Random
from typing import get_args

import pytest

from cluster import messages as m
from cluster.codec import HELLO_BYTES_MAX, encode
from tests.hostile.insider import Insider, batch
from tests.hostile.siege import LONG, besieged, two_nodes
from tests.processes import Cluster, wait_until

FRAMES = 20_000 if LONG else 1_500


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    """Two linked nodes for all attacks here."""
    with two_nodes("--mesh-max", "64") as made:
        for number in range(50):
            made.nodes[0].post(f"here before {number}")
        yield made


def every_message(rng: Random) -> list[m.Message]:
    """One message of each kind but `Hello`, as a good peer might send it, the records true and new."""
    member = m.Member(rng.randbytes(16), "127.0.0.1:1")
    now_ms, id = time.time_ns() // 1_000_000, rng.randbytes(16)
    return [
        m.Ready(),
        m.Bye("leaving", "the node is shutting down"),
        m.Ping(1, now_ms, 0, 1, 86_000_000, 2_000, rng.randbytes(16)),
        m.Pong(1, now_ms, 0, 1, rng.randbytes(16)),
        m.Push(batch(rng.randrange(10**9), 20, 3).records, id),
        m.IHave(id, rng.randbytes(96)),
        m.Want(rng.randbytes(96)),
        m.Reconcile(0, now_ms, b"\x61\x00\x00\x01" + rng.randbytes(16)),
        m.Reconciled(0, now_ms, b"\x61\x00\x00\x02\x01" + rng.randbytes(32)),
        m.Fetch(rng.randbytes(40)),
        m.Page(batch(rng.randrange(10**9), 20, 3).records, rng.randbytes(40), True),
        m.Peers([member]),
        m.Prune(id),
        m.Graft(id),
        m.ForwardJoin(member, 3),
        m.Shuffle([member], id, 3),
        m.Shuffled([member], id),
        m.Ack(1_000),
        m.Confirm(id, 7, rng.randbytes(96), 5_000, True),
        m.Held(id, 7, [0, 1, 2]),
    ]


def mutated(frame: bytes, other: bytes, rng: Random) -> bytes:
    """Damage a frame in one to three ways."""
    data = bytearray(frame)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data)) if data else 0
        match rng.randrange(9):
            case 0 if data:
                data[at] ^= 1 << rng.randrange(8)
            case 1 if data:
                data[at] = rng.choice((0x00, 0x7F, 0x80, 0xC0, 0xC1, 0xDD, 0xDF, 0xFF))
            case 2:
                del data[at : at + rng.randint(1, 8)]
            case 3:
                data[at:at] = rng.randbytes(rng.randint(1, 16))
            case 4:
                data[at:at] = data[at : at + rng.randint(1, 64)]
            case 5:
                data[0:4] = rng.choice((0, 1, 2, len(data), 2**20, 2**31, 2**32 - 1)).to_bytes(4, "big")
            case 6 if len(data) > 5:
                data[4] = rng.randrange(256)  # another kind of message
            case 7:
                data[at:] = other[rng.randrange(len(other)) :]
            case _ if len(data) > 6:
                data[6:] = rng.randbytes(len(data) - 6)
                data[0:4] = (len(data) - 4).to_bytes(4, "big")
            case _:
                pass
    return bytes(data)


def send(insider: Insider, data: bytes) -> None:
    """Send all of it, or as much as the node waits for; then hear that the node lets go."""
    with contextlib.suppress(ConnectionError):
        insider.socket.sendall(data)
        insider.socket.shutdown(socket.SHUT_WR)
    with contextlib.suppress(ConnectionError):
        while insider.socket.recv(65536):
            pass


def test_every_kind_of_message_is_among_those_that_are_mutated() -> None:
    """A kind that is added to the protocol is added here: all of them but `Hello`, which opens a link."""
    kinds = [type(message) for message in every_message(Random(1))]
    assert sorted(kinds, key=repr) == sorted({*get_args(m.Message)} - {m.Hello}, key=repr)


def test_mutated_frames_cost_the_sender_its_link_and_nothing_else(nodes: Cluster) -> None:
    """Damaged, cut, spliced, mislabelled, of every kind, on links that were good until then."""
    rng = Random(20)
    with besieged(nodes, f"{FRAMES} mutated frames"):
        for _ in range(FRAMES):
            frames = [encode(message) for message in every_message(rng)]
            with Insider.to(nodes.nodes[0]) as insider:
                insider.link()
                send(insider, mutated(rng.choice(frames), rng.choice(frames), rng))
    ends = [line for line in nodes.nodes[0].log.read_text().splitlines() if "peer down" in line]
    banned = sum("banned for 60 s" in line for line in ends)
    print(f"{banned} of the {len(ends)} senders whose end was logged were banned")
    assert len(ends) > 100
    assert banned > len(ends) // 2, "most of this was no attack"


def test_mutated_handshakes_are_refused_and_nothing_else(nodes: Cluster) -> None:
    """Damaged hellos, other protocols, nothing at all; whoever knocks properly afterwards gets in."""
    rng = Random(21)
    strangers = [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        bytes.fromhex("16030100c4010000c00303") + bytes(190),  # a TLS client's first words
        (HELLO_BYTES_MAX + 1).to_bytes(4, "big") + b"\x01\x01",
        b"\x00" * 5_000,
        b"\xff" * 5_000,
    ]
    with besieged(nodes, f"{FRAMES // 3} mutated handshakes"):
        for number in range(FRAMES // 3):
            with Insider.to(nodes.nodes[0]) as insider:
                hello = encode(insider.hello)
                message = rng.choice(every_message(rng))
                stranger = (
                    strangers[number] if number < len(strangers) else mutated(hello, encode(message), rng)
                )
                send(insider, stranger + rng.choice((b"", encode(m.Ready()), encode(message))))
        with Insider.to(nodes.nodes[0]) as insider:
            insider.link()


def test_a_replayed_session_brings_nothing_new(nodes: Cluster) -> None:
    """What was recorded on one link says on others what is known already, under a name that is taken."""
    node = nodes.nodes[0]
    with Insider.to(node) as first:
        session = encode(first.hello) + encode(m.Ready()) + encode(batch(0, 20))
        send(first, session)
    wait_until(lambda: node.get("/v1/node")["admission"]["relayed"] >= 100, "the records are here")
    records = node.records
    with besieged(nodes, "a session replayed 50 times") as siege:
        for _ in range(50):
            with Insider.to(node) as replay:
                send(replay, session)
    assert node.records == records + len(siege.posted)


def test_a_peer_that_sends_bad_records_is_out_for_a_while(nodes: Cluster) -> None:
    """Three that no honest node relays: told why, refused when it comes back, nothing kept."""
    node = nodes.nodes[0]
    records = node.records
    with Insider.to(node) as insider:
        insider.link()
        good = batch(0, 20, 3).records
        bad = [m.WireRecord(r.id, r.raw + "!", r.signature, r.time_stamp) for r in good]
        insider.socket.sendall(encode(m.Push(bad)))
        assert insider.ended() == "banned"
    with Insider.to(node) as again:
        again.hello = insider.hello
        again.socket.sendall(encode(again.hello))
        assert again.ended() == "banned"
    assert node.records == records
