"""What one peer can take of a node by anti-entropy: bounded steps, bounded bytes, and only its turn."""

from cluster.codec import FrameReader
from cluster.dissemination import IHAVE_DIGESTS_MAX
from cluster.messages import IHave, Push
from cluster.reconciliation import ANNOUNCED_MAX
from storage import StoreLimits
from tests.fakes.mesh import HOUR_MS, Mesh, MeshNode
from validator import Record, sign

INTERVAL_S = 20.0


def fill(node: MeshNode, count: int, name: str = "r") -> None:
    """Store records of the last hour, evenly, that nobody was told of."""
    now_ms = node.now().wall_ms
    step_ms = HOUR_MS // count
    made = [
        Record.of(f"{name}{n}", f"{n}", sign(f"{n}"), now_ms - HOUR_MS + n * step_ms) for n in range(count)
    ]
    node.store.add_many(made, now_ms)


def announced(mesh: Mesh, sender: MeshNode) -> list[int]:
    """From now on, how many records each IHAVE of `sender` names."""
    counts: list[int] = []

    def note(node: MeshNode, peer: bytes, frame: bytes) -> bool:
        if node is sender:
            counts.extend(len(m.digests) // 32 for m in FrameReader().feed(frame) if isinstance(m, IHave))
        return False

    mesh.lose = note
    return counts


def small_and_full(records: int) -> tuple[Mesh, MeshNode, MeshNode]:
    """A node of so many records, linked with one that has room for 50."""
    mesh = Mesh(multicast=False)
    large = mesh.add(1)
    fill(large, records)
    small = mesh.add(2, seeds=(large.address,), limits=StoreLimits(records_max=50))
    mesh.run_until(mesh.linked, 5)
    return mesh, large, small


def test_a_full_store_that_holds_less_is_announced_a_bounded_number_a_round() -> None:
    """It throws them away; all 20,000 every sync interval would stall both and fill the line."""
    mesh, large, _ = small_and_full(20_000)
    counts = announced(mesh, large)
    mesh.run(3 * INTERVAL_S)

    assert 0 < max(counts) <= IHAVE_DIGESTS_MAX
    assert 0 < sum(counts) <= 3 * ANNOUNCED_MAX


def test_what_only_a_full_store_holds_reaches_its_larger_peer_within_an_interval() -> None:
    """Whoever starts the round asks for all it lacks, though it announces little; so each repairs itself."""
    mesh = Mesh(multicast=False)
    large = mesh.add(1)
    fill(large, 20_000)
    small = mesh.add(2, seeds=(large.address,), limits=StoreLimits(records_max=50))
    fill(small, 50, "own")
    mesh.lose = lambda sender, peer, frame: sender is small and tells(frame)
    mesh.run(5)
    assert (len(large), len(small)) == (20_000, 50)
    mesh.lose = lambda sender, peer, frame: False

    assert mesh.run_until(lambda: len(large) == 20_050, INTERVAL_S + 2) > 0


def tells(frame: bytes) -> bool:
    """Whether a frame brings records or announces them."""
    return any(isinstance(m, Push | IHave) for m in FrameReader().feed(frame))
