"""What repairs a loss before anti-entropy has to: announcements, in the cases in which they are forgotten."""

from cluster.codec import wire_record
from cluster.messages import Push, WireRecord
from cluster.vocabulary import Missed
from node.admission import Answer
from tests.cluster.test_mesh import is_push, make
from tests.fakes.mesh import Mesh, MeshNode

SOON_S = 0.5
"""Well before the first ping after silence, which would repair everything."""


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
