"""What repairs a loss before anti-entropy has to: announcements, in the cases in which they are forgotten."""

from itertools import pairwise

import pytest

from cluster.codec import FrameReader, wire_record
from cluster.dissemination import ANNOUNCE_PAUSE_S
from cluster.messages import IHave, Push, Reconcile, WireRecord
from cluster.session import ANSWER_S_MAX, SESSION_TIMEOUT_S
from cluster.vocabulary import Missed
from node.admission import Answer
from tests.cluster.test_mesh import is_push, make
from tests.fakes.mesh import Mesh, MeshNode
from validator import sign

SOON_S = 0.5
"""Well before the first ping after silence, which would repair everything."""


def asks(frame: bytes) -> bool:
    """Whether a frame opens or goes on with a session."""
    return any(isinstance(m, Reconcile) for m in FrameReader().feed(frame))


def all_hold(mesh: Mesh, count: int) -> bool:
    """Whether every node lists so many records."""
    return all(len(n.listing()) == count for n in mesh.nodes if n.alive)


def test_what_comes_along_with_a_duplicate_is_announced_all_the_same() -> None:
    """A frame of one known and one new record, taken by one node only: the others hear of the new one."""
    mesh = make(6)
    origin, receiver = mesh.nodes[0], mesh.nodes[3]
    old = origin.post("known to all", "old")
    mesh.run_until(lambda: all_hold(mesh, 1), SOON_S)
    mesh.lose = lambda sender, peer, frame: sender is origin and is_push(frame)
    new = origin.post("known to one", "new")
    mesh.lose = lambda sender, peer, frame: False
    push = Push([w for r in (old, new) for w in wire(origin, r.digest)], origin.node_id)
    receiver.take(origin.node_id, receiver.links[origin.node_id], push)

    mesh.run_until(lambda: all_hold(mesh, 2), SOON_S)


def wire(node: MeshNode, digest: bytes) -> list[WireRecord]:
    """A record as it travels."""
    return [wire_record(r) for r in node.lookup([digest])]


@pytest.mark.parametrize("count", [3, 10])
def test_what_a_peer_brings_unasked_and_names_no_origin_of_is_with_all_at_once(count: int) -> None:
    """Nobody else will push it: who heard of it first is its origin. It is not told to who brought it."""
    mesh = make(count)
    first, member = mesh.nodes[:2]
    stray = WireRecord("stray", "raw", sign("raw"), member.now().wall_ms)
    first.take(member.node_id, first.links[member.node_id], Push([stray]))

    mesh.run_until(lambda: all(len(n.listing()) == 1 for n in mesh.nodes if n is not member), SOON_S)
    assert sum(n.payloads_in for n in mesh.nodes) <= count


def test_a_stream_is_announced_twenty_times_a_second_and_one_record_at_once() -> None:
    """A record a millisecond costs each neighbour a round of IHAVE each 50 ms, the first of them after 10."""
    mesh = make(10)
    announced: list[float] = []

    def note(sender: MeshNode, peer: bytes, frame: bytes) -> bool:
        if sender is mesh.nodes[1] and any(isinstance(m, IHave) for m in FrameReader().feed(frame)):
            announced.append(mesh.now_s)
        return False

    mesh.lose = note
    begin_s = mesh.now_s
    for number in range(200):
        mesh.nodes[0].post("hello", f"r{number}")
        mesh.run(0.001)
    mesh.run(1)

    rounds = sorted(set(announced))
    assert 0.010 <= rounds[0] - begin_s < 0.013
    assert len(rounds) <= 200 / 50 + 2
    assert all(b - a > ANNOUNCE_PAUSE_S - 1e-6 for a, b in pairwise(rounds))


def test_when_a_link_is_lost_announcements_do_not_wait() -> None:
    """In a stream too, survivors tell each other at once what a dying origin brought to some of them."""
    mesh = make(10)
    origin = mesh.nodes[0]
    origin.post("first", "first")
    mesh.run(0.015)
    mesh.lose = lambda sender, peer, frame: sender is origin and peer != mesh.nodes[5].node_id
    origin.post("second", "second")
    mesh.run(0.002)
    mesh.crash(origin)

    assert mesh.run_until(mesh.equal, 1) < ANNOUNCE_PAUSE_S


def test_who_reads_pages_is_not_sent_the_same_records_by_a_session() -> None:
    """The serving node looks for differences half way through a catch-up; each record still comes once."""
    mesh = make(1)
    for number in range(2000):
        mesh.nodes[0].post("hello", f"r{number}")
    joiner = mesh.add(9)
    mesh.run_until(lambda: 500 <= len(joiner) < 2000, 5)
    mesh.nodes[0].feed(Missed())
    mesh.run_until(lambda: len(joiner) == 2000, 5)
    mesh.run(1)

    assert joiner.payloads_in == 2000


def test_a_node_is_ready_though_a_peer_with_less_does_not_answer_its_session() -> None:
    """Two restart together; one has caught up, while the other reads pages and answers nobody."""
    mesh = make(1)
    for number in range(100):
        mesh.nodes[0].post("hello", f"r{number}")
    reader = mesh.add(8)
    reader.post("hello", "its own")
    other = mesh.add(9)
    mesh.lose = lambda sender, peer, frame: sender is other and peer == reader.node_id and asks(frame)
    mesh.run_until(lambda: len(other) == 100, 5)

    mesh.run_until(lambda: other.engine.ready(other.now()), SESSION_TIMEOUT_S + 2)


def test_a_peer_that_sends_records_and_no_answer_is_not_waited_for_for_ever() -> None:
    """Who reads pages answers no session, while clients post there: others have their turns."""
    mesh = make(2)
    asking, busy = mesh.nodes
    mesh.lose = lambda sender, peer, frame: asks(frame)
    asking.feed(Missed())
    assert asking.engine.session_peer == busy.node_id
    seconds = 0
    while asking.engine.session_peer is not None and seconds < 100:
        busy.post("hello", f"r{seconds}")
        mesh.run(1)
        seconds += 1

    assert SESSION_TIMEOUT_S < seconds <= ANSWER_S_MAX + SESSION_TIMEOUT_S + 1


def test_sessions_with_a_peer_that_answers_none_become_rare() -> None:
    """One try after the other would keep out those who do answer."""
    mesh = make(2)
    mesh.lose = lambda sender, peer, frame: asks(frame) or is_push(frame)
    for node in mesh.nodes:
        node.post("hello", node.address)
    before = sum(n.engine.statistics().sync_rounds_total for n in mesh.nodes)
    mesh.run(100)

    tries = sum(n.engine.statistics().sync_rounds_total for n in mesh.nodes) - before
    assert 2 <= tries <= 15


def test_what_the_engine_was_not_told_of_is_with_all_at_once() -> None:
    """`Missed`: records were stored, and all the engine knows is that."""
    mesh = make(5)
    node = mesh.nodes[2]
    mesh.run(3)
    for number in range(10):
        submission = node.admission.submit(f"{number}", "raw", None, node.now().wall_ms)
        assert submission.answer is Answer.STORED
    node.feed(Missed())

    mesh.run_until(lambda: all_hold(mesh, 10), SOON_S)


def test_a_large_record_that_follows_a_small_one_is_asked_for_at_once() -> None:
    """Its origin has just pushed something, but has announced this: it will not be pushed."""
    mesh = Mesh()
    nodes = [mesh.add(n) for n in range(3)]
    mesh.run_until(mesh.linked, 10)
    nodes[0].post("small", "1")
    mesh.run(0.01)
    nodes[0].post("x" * 200_000, "2")

    assert mesh.run_until(lambda: all(len(n.listing()) == 2 for n in nodes), 1) < 0.02
