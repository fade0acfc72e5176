"""Nodes are counted for what they hold: however it came, and no longer than they hold it."""

import itertools
from collections.abc import Sequence

import pytest

from cluster import vocabulary as v
from cluster.codec import split_digests
from cluster.messages import CONFIRM_DIGESTS_MAX, NODES_MAX, Confirm, Held
from cluster.negentropy import Items
from cluster.receipts import ASKED_DIGESTS_MAX, LIFE_S_MAX, SWEEP_S, Receipts
from cluster.vocabulary import Ask, Now, Reached, Send
from storage import MemoryStore, StoreLimits
from tests.fakes.mesh import Mesh, MeshNode

numbers = itertools.count(1)


class Shelf:
    """Holdings that are a set of digests."""

    def __init__(self, *digests: bytes) -> None:
        self.digests = set(digests)

    def __len__(self) -> int:
        return len(self.digests)

    def has(self, digest: bytes) -> bool:
        """Whether it is on the shelf."""
        return digest in self.digests

    def window(self, lower_ms: int, upper_ms: int) -> Items:
        """Nobody asks."""
        return MemoryStore(1000, StoreLimits()).window(b"", b"")


def digest(number: int) -> bytes:
    return number.to_bytes(32, "big")


def peer(number: int) -> bytes:
    return number.to_bytes(16, "big")


def at(s: float) -> Now:
    return Now(s, 1_700_000_000_000 + int(s * 1000))


def ask(node: MeshNode, *digests: bytes, life_s: float = 10.0) -> int:
    """Ask for digests at a node of a mesh; returns the question's number."""
    number = next(numbers)
    node.feed(Ask(number, digests, life_s))
    return number


def mesh_of(count: int, limits: StoreLimits | None = None) -> tuple[Mesh, list[MeshNode]]:
    """A full mesh; the last node has `limits`."""
    mesh = Mesh()
    nodes = [mesh.add(n + 1, limits=limits if n == count - 1 else None) for n in range(count)]
    mesh.run_until(mesh.linked, 10)
    return mesh, nodes


# --- the full mesh --------------------------------------------------------------------------------------


def test_all_that_hold_a_record_are_counted_within_two_hops() -> None:
    """Asked beside the push, answered when it has come: one round trip."""
    mesh, nodes = mesh_of(5)
    record = nodes[0].post("raw", "id")
    number = ask(nodes[0], record.digest)
    assert nodes[0].engine.receipts.counts(number) == ([1], 5)
    mesh.run(2.5 * mesh.latency_s)

    assert nodes[0].engine.receipts.counts(number) == ([5], 5)
    arrivals = nodes[0].engine.receipts.arrivals(number)
    assert set(arrivals) == {n.node_id for n in nodes[1:]}
    assert all(s == pytest.approx(nodes[0].now().s - 0.5 * mesh.latency_s) for s in arrivals.values())


def test_a_payload_that_was_lost_is_counted_when_it_was_pulled_and_not_before() -> None:
    """One node gets it by announcement and pull; its answer comes then."""
    mesh, nodes = mesh_of(5)
    last = nodes[-1]
    mesh.lose = lambda sender, to, frame: frame[4] == 6 and sender is nodes[0] and to == last.node_id
    record = nodes[0].post("raw", "id")
    number = ask(nodes[0], record.digest)
    while not last.store.has(record.digest):
        assert nodes[0].engine.receipts.counts(number)[0][0] <= 4
        mesh.run(0.001)
    mesh.run(2.5 * mesh.latency_s)

    assert nodes[0].engine.receipts.counts(number) == ([5], 5)


def test_a_full_store_is_not_counted() -> None:
    """It refused the record and says nothing."""
    mesh, nodes = mesh_of(4, StoreLimits(records_max=1))
    nodes[0].post("first", "1")
    mesh.run(1)
    record = nodes[0].post("second", "2")
    number = ask(nodes[0], record.digest)
    mesh.run(5)

    assert not nodes[-1].store.has(record.digest)
    assert nodes[0].engine.receipts.counts(number) == ([3], 4)


def test_a_record_that_lost_to_a_smaller_key_is_counted_by_nobody() -> None:
    """Two nodes accept one id: the loser's client is told 0 as soon as its node knows."""
    mesh, nodes = mesh_of(3)
    loser = nodes[0]
    nodes[1].skew_ms = -500
    record = loser.post("later", "id")
    nodes[1].post("earlier", "id")
    number = ask(loser, record.digest)
    mesh.run(0.1)

    assert [n.listing()[0].raw for n in nodes] == ["earlier"] * 3
    assert loser.engine.receipts.counts(number) == ([0], 3)


def test_who_lost_a_record_says_so_even_if_its_origin_does_not_know() -> None:
    """The origin counts one less although it still holds the record itself."""
    mesh, nodes = mesh_of(3)
    origin, other, third = nodes
    other.skew_ms = -500
    record = origin.post("later", "id")
    number = ask(origin, record.digest)
    mesh.run(0.01)
    assert origin.engine.receipts.counts(number) == ([3], 3)
    for a, b in ((origin, other), (origin, third)):
        mesh.cut.add(frozenset((a.node_id, b.node_id)))
    mesh.cut.remove(frozenset((origin.node_id, third.node_id)))
    mesh.lose = lambda sender, to, frame: to == origin.node_id and frame[4] != 21  # only answers get through
    other.store.expire(other.now().wall_ms + 25 * 3_600_000, 10)
    other.post("earlier", "id")
    mesh.run(0.01)

    assert third.listing()[0].raw == "earlier"
    assert origin.listing()[0].raw == "later"
    assert origin.engine.receipts.counts(number)[0][0] == 2
    assert set(origin.engine.receipts.arrivals(number)) == {other.node_id}


def test_a_dead_node_is_counted_no_more() -> None:
    """Its count goes with its link."""
    mesh, nodes = mesh_of(4)
    record = nodes[0].post("raw", "id")
    number = ask(nodes[0], record.digest)
    mesh.run(0.1)
    mesh.crash(nodes[2])
    mesh.run(0.1)

    assert set(nodes[0].engine.receipts.arrivals(number)) == {nodes[1].node_id, nodes[3].node_id}
    assert nodes[0].engine.receipts.counts(number) == ([3], 4)


def test_a_link_that_broke_and_is_back_counts_again() -> None:
    """Who was asked is asked again."""
    mesh, nodes = mesh_of(3)
    record = nodes[0].post("raw", "id")
    number = ask(nodes[0], record.digest, life_s=60)
    mesh.run(0.1)
    mesh.disconnect(nodes[0], nodes[1].node_id, "cut")
    nodes[0].feed(v.LinkDown(nodes[1].node_id, "cut"))
    assert nodes[0].engine.receipts.counts(number) == ([2], 3)
    mesh.run_until(mesh.linked, 30)
    mesh.run(0.1)

    assert nodes[0].engine.receipts.counts(number) == ([3], 3)


# --- the tables -----------------------------------------------------------------------------------------


def answers(effects: Sequence[v.Effect]) -> list[tuple[bytes, list[int]]]:
    """The `Held` among effects: to whom, and what."""
    return [
        (e.peer, e.message.counts) for e in effects if isinstance(e, Send) and isinstance(e.message, Held)
    ]


def asked(effects: Sequence[v.Effect]) -> list[tuple[bytes, list[bytes]]]:
    """The `Confirm` among effects: whom, and for what."""
    sent = [e for e in effects if isinstance(e, Send)]
    return [(e.peer, split_digests(e.message.digests)) for e in sent if isinstance(e.message, Confirm)]


def confirm(number: int, *digests: bytes, origin: int = 1, onward: bool = False, ms: int = 2000) -> Confirm:
    return Confirm(peer(origin), number, b"".join(digests), ms, onward)


def test_a_question_is_answered_once_for_each_change() -> None:
    """At once for what is held, then for what comes; not again when nothing has changed."""
    shelf = Shelf(digest(1))
    receipts = Receipts(peer(9), shelf)
    effects = receipts.confirm(peer(1), confirm(1, digest(1), digest(2)), [peer(1)], at(0))
    assert answers(effects) == [(peer(1), [1, 0])]
    assert receipts.changed([digest(1)]) == []
    shelf.digests.add(digest(2))
    assert answers(receipts.changed([digest(2)])) == [(peer(1), [1, 1])]
    shelf.digests.remove(digest(1))
    assert answers(receipts.changed([digest(1)])) == [(peer(1), [0, 1])]


def test_one_asker_may_ask_for_so_much_and_then_the_oldest_is_forgotten() -> None:
    """At the bound all are there; one more, and the first question gets no answer. Others lose nothing."""
    shelf = Shelf()
    receipts = Receipts(peer(9), shelf)
    receipts.confirm(peer(2), confirm(0, digest(0), origin=2), [], at(0))
    questions = ASKED_DIGESTS_MAX // CONFIRM_DIGESTS_MAX
    for number in range(questions):
        first = number * CONFIRM_DIGESTS_MAX
        some = [digest(first + i) for i in range(CONFIRM_DIGESTS_MAX)]
        receipts.confirm(peer(1), confirm(number, *some), [], at(0))
    assert len(receipts) == questions + 1
    receipts.confirm(peer(1), confirm(questions, digest(10**6)), [], at(0))
    assert len(receipts) == questions + 1
    shelf.digests = {digest(0), digest(CONFIRM_DIGESTS_MAX)}

    assert [to for to, _ in answers(receipts.changed([digest(0)]))] == [peer(2)]
    assert [to for to, _ in answers(receipts.changed([digest(CONFIRM_DIGESTS_MAX)]))] == [peer(1)]


@pytest.mark.parametrize(("asked_ms", "life_s"), [(2000, 2.0), (10**9, LIFE_S_MAX)])
def test_a_question_lives_as_long_as_its_client_waits(asked_ms: int, life_s: float) -> None:
    """And a minute at most; then nothing of it is left and nothing wakes the node."""
    receipts = Receipts(peer(9), Shelf())
    receipts.confirm(peer(1), confirm(1, digest(1), ms=asked_ms), [], at(0))
    times: list[float] = []
    while (due_s := receipts.deadline_s) is not None:
        receipts.tick(at(due_s))
        times.append(due_s)

    assert life_s <= times[-1] <= life_s + SWEEP_S
    assert len(receipts) == 0
    assert receipts.changed([digest(1)]) == []


def test_a_question_asked_here_is_gone_when_nobody_waits() -> None:
    """Late answers change nothing."""
    receipts = Receipts(peer(9), Shelf(digest(1)))
    effects = receipts.ask(Ask(7, [digest(1)], 2.0), [peer(1), peer(2)], 3, at(0), onward=False)
    assert asked(effects) == [(peer(1), [digest(1)]), (peer(2), [digest(1)])]
    held = Held(peer(9), 7, [1])
    assert receipts.held(peer(1), held, at(0)) == [Reached(7)]
    assert receipts.counts(7) == ([2], 3)
    receipts.forget(7)
    assert len(receipts) == 0
    assert receipts.held(peer(2), held, at(0)) == []


def test_what_nobody_asked_or_does_not_fit_is_not_counted() -> None:
    """A stranger's answer, or one of another length."""
    receipts = Receipts(peer(9), Shelf(digest(1)))
    receipts.ask(Ask(7, [digest(1)], 2.0), [peer(1)], 2, at(0), onward=False)

    assert receipts.held(peer(3), Held(peer(9), 7, [1]), at(0)) == []
    assert receipts.held(peer(1), Held(peer(9), 7, [1, 1]), at(0)) == []
    assert receipts.counts(7) == ([1], 2)
    receipts.held(peer(1), Held(peer(9), 7, [500]), at(0))
    assert receipts.counts(7) == ([2], 2), "never more than there are"


# --- the larger cluster ---------------------------------------------------------------------------------


def test_a_question_goes_on_and_each_node_answers_only_who_asked_it_first() -> None:
    """Passed to all but the asker and the origin; a second asker hears nothing, so nobody counts twice."""
    receipts = Receipts(peer(9), Shelf(digest(1)))
    question = confirm(1, digest(1), onward=True)
    effects = receipts.confirm(peer(2), question, [peer(n) for n in (1, 2, 3, 4)], at(0))
    assert answers(effects) == [(peer(2), [1])]
    assert [to for to, _ in asked(effects)] == [peer(3), peer(4)]
    assert receipts.confirm(peer(3), question, [peer(n) for n in (1, 2, 3, 4)], at(0)) == []
    receipts.held(peer(3), Held(peer(1), 1, [4]), at(0))
    receipts.held(peer(4), Held(peer(1), 1, [2]), at(0))
    due_s = receipts.deadline_s
    assert due_s is not None
    assert answers(receipts.tick(at(due_s))) == [(peer(2), [7])]

    assert answers(receipts.link_down(peer(3))) == [(peer(2), [3])]
    assert receipts.link_down(peer(2)) == []
    assert receipts.confirm(peer(4), question, [peer(4)], at(0)) == [], "nor to another when that one is gone"


def test_a_sum_is_never_larger_than_the_next_node_takes() -> None:
    """One that reports too many cannot have the node that passes it on banned for it."""
    receipts = Receipts(peer(9), Shelf(digest(1)))
    receipts.confirm(peer(2), confirm(1, digest(1), onward=True), [peer(3)], at(0))
    receipts.held(peer(3), Held(peer(1), 1, [NODES_MAX]), at(0))
    due_s = receipts.deadline_s
    assert due_s is not None

    assert answers(receipts.tick(at(due_s))) == [(peer(2), [NODES_MAX])]


def test_a_question_that_goes_on_is_refused_rather_than_another_forgotten() -> None:
    """Forgotten, it could be answered a second time to another asker."""
    receipts = Receipts(peer(9), Shelf())
    for number in range(ASKED_DIGESTS_MAX // CONFIRM_DIGESTS_MAX):
        some = [digest(i) for i in range(CONFIRM_DIGESTS_MAX)]
        receipts.confirm(peer(1), confirm(number, *some, onward=True), [], at(0))
    before = len(receipts)

    assert receipts.confirm(peer(1), confirm(99, digest(1), onward=True), [peer(1), peer(2)], at(0)) == []
    assert len(receipts) == before
