"""The tier above the full mesh, with real member lists: few links, one piece, all records, all members.

The thresholds are set low so that few nodes are many.
"""

from collections import Counter

import pytest

from cluster.hyparview import PROBE_S
from storage import StoreLimits
from tests.sim.host import Host
from tests.sim.world import Machine, World

MESH = (8, 6)
NODES = 24
SETTLE_S = 60.0
"""Three periods of the member list."""


def cluster(seed: int, count: int = NODES, mesh: tuple[int, int] = MESH) -> World:
    """Start nodes that know one address, and let them settle."""
    world = World(seed, multicast=False)
    world.mesh = mesh
    start(world, count)
    world.run(SETTLE_S)
    return world


def start(world: World, count: int) -> None:
    """Start more nodes."""
    first = len(world.hosts)
    for number in range(first, first + count):
        world.at(world.now_s + (number - first) * 0.05, lambda n=number: host(world, n))  # type: ignore[misc]  # binds now


def host(world: World, number: int) -> Host:
    """Start one node."""
    return Host(world, Machine(f"10.0.1.{number + 1}:7946"), ("10.0.1.1:7946", "10.0.1.2:7946"))


def pieces(world: World) -> int:
    """Into how many parts the links divide the living."""
    left, count = {h.node_id: h for h in world.living()}, 0
    while left:
        reach = [next(iter(left))]
        count += 1
        while reach:
            found = left.pop(reach.pop(), None)
            reach += () if found is None else found.links
    return count


def complete_lists(world: World) -> bool:
    """Whether every node lists exactly the living ones."""
    ids = sorted(h.node_id for h in world.living())
    return all([m.node_id for m in h.engine.members.living()] == ids for h in world.living())


def post(world: World, origin: Host, seconds: float = 1.0) -> tuple[int, float]:
    """Post a record and let time pass. Returns payloads beyond one per node, and the last one's seconds."""
    before, others = Counter(world.totals), len(world.living()) - 1
    world.latencies_s.clear()
    record = origin.submit(f"at {world.now_s}", "raw").record
    assert record is not None
    world.run(seconds)
    assert all(h.has(record.digest) for h in world.living())
    return world.totals["payloads"] - before["payloads"] - others, max(world.latencies_s)


@pytest.mark.parametrize("seed", range(3))
def test_few_links_hold_all_nodes_together_and_every_node_knows_all(seed: int) -> None:
    """Degrees are bounded, the ring is closed, every member list is complete."""
    world = cluster(seed)
    hosts = world.living()
    assert {h.engine.views.partial for h in hosts} == {True}
    most = hosts[0].engine.views.active_max + 4
    assert all(3 <= len(h.links) <= most for h in hosts)
    assert pieces(world) == 1
    assert complete_lists(world)
    assert all(m.node_id in h.links for h in hosts for m in h.engine.members.ring())


@pytest.mark.parametrize("seed", range(3))
def test_after_the_first_record_of_an_origin_every_node_gets_one_payload(seed: int) -> None:
    """The first is flooded, the rest follow the tree; any node can be the origin."""
    world = cluster(seed)
    for origin in world.living()[::5]:
        post(world, origin)
        assert [post(world, origin)[0] for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("seed", range(3))
def test_when_a_third_dies_at_once_the_next_record_reaches_all_that_live(seed: int) -> None:
    """Trees whose branches died are mended before the record comes, or as it comes."""
    world = cluster(seed)
    origin, *others = world.living()
    post(world, origin)
    for dead in world.rng.sample(others, len(others) // 3):
        dead.crash(power=True)
    world.run(0.01)
    _, last_s = post(world, origin)
    assert last_s < 0.3
    world.run(SETTLE_S * 2)
    assert pieces(world) == 1
    assert complete_lists(world)


def test_machines_that_lose_power_are_noticed_and_replaced() -> None:
    """No reset tells of it; silence does."""
    world = cluster(5)
    origin, *others = world.living()
    for dead in world.rng.sample(others, len(others) // 3):
        dead.crash(power=False)
    record = origin.submit("in the dark", "raw").record
    world.run(SETTLE_S * 2)
    assert record is not None
    assert all(h.has(record.digest) for h in world.living())
    assert pieces(world) == 1
    assert complete_lists(world)


def test_a_growing_cluster_passes_from_one_tier_to_the_other_and_back() -> None:
    """Records posted while nodes are of different minds reach all; in the end all are linked with all."""
    world = cluster(6, 4)
    assert {h.engine.views.partial for h in world.living()} == {False}
    start(world, 20)
    for _ in range(20):
        post(world, world.rng.choice(world.living()), 5.0)
    assert {h.engine.views.partial for h in world.living()} == {True}

    for dead in world.living()[5:]:
        dead.crash(power=True)
        post(world, world.living()[0], 2.0)
    world.run(SETTLE_S * 2)
    hosts = world.living()
    assert {h.engine.views.partial for h in hosts} == {False}
    assert all(len(h.links) == len(hosts) - 1 for h in hosts)


def test_halves_that_forgot_each_other_find_together_again() -> None:
    """Cut for longer than a member fact lives: seeds and lost neighbours are probed for ever."""
    world = cluster(7)
    hosts = world.living()
    addresses = [h.address for h in hosts]
    left = set(addresses[: len(addresses) // 2])
    world.cut |= {(a, b) for a in addresses for b in addresses if (a in left) != (b in left)}
    world.run(150)
    assert pieces(world) == 2
    for number, side in enumerate((hosts[0], hosts[-1])):
        side.submit(f"side {number}", "raw")
    world.run(5)
    world.cut.clear()
    assert world.run_until(lambda: all(len(h.listing()) == 2 for h in hosts), 60, every_s=0.5)
    assert world.run_until(lambda: pieces(world) == 1 and complete_lists(world), 2 * SETTLE_S, every_s=0.5)


def test_large_records_are_announced_from_node_to_node() -> None:
    """No node is sent a second copy of what is costly."""
    world = cluster(8)
    origin = world.living()[3]
    before = world.totals["payloads"]
    record = origin.submit("large", "x" * 100_000).record
    assert record is not None
    world.run(5)
    assert all(h.has(record.digest) for h in world.living())
    assert world.totals["payloads"] - before == len(world.living()) - 1


def test_a_large_record_costs_one_payload_a_node_where_some_still_think_the_cluster_small() -> None:
    """Announced from node to node in both tiers, whoever accepted it."""
    world = World(9, multicast=False)
    for number in range(NODES):
        world.mesh = MESH if number % 2 else (NODES * 2, NODES)
        host(world, number)
        world.run(0.1)
    world.run(SETTLE_S)
    assert Counter(h.engine.views.partial for h in world.living()) == {True: NODES // 2, False: NODES // 2}
    for origin in world.living()[:2]:
        before = world.totals["payloads"]
        record = origin.submit(f"large {origin}", "x" * 100_000).record
        world.run(5)
        assert record is not None
        assert all(h.has(record.digest) for h in world.living())
        assert world.totals["payloads"] - before <= NODES + 1


def test_a_cluster_that_shrinks_returns_to_the_full_mesh_and_stays_there() -> None:
    """How large it was is no rumour that keeps itself alive."""
    world = cluster(1, 40, (24, 18))
    for dead in world.rng.sample(world.living(), 26):
        dead.crash(power=True)
    world.run(240)
    for _ in range(3):
        world.run(30)
        hosts = world.living()
        assert {h.engine.views.partial for h in hosts} == {False}
        assert all(len(h.links) == len(hosts) - 1 for h in hosts)


def test_newcomers_take_the_tier_they_find() -> None:
    """Between the two sizes a partial view stays one, for them too; nobody dials for ever."""
    world = cluster(2, 26, (24, 18))
    for dead in world.living()[20:]:
        dead.crash(power=True)
    world.run(2 * SETTLE_S)
    assert {h.engine.views.partial for h in world.living()} == {True}
    start(world, 2)
    world.run(SETTLE_S)
    assert {h.engine.views.partial for h in world.living()} == {True}
    before = [h.dials for h in world.living()]
    world.run(120)
    probes = 120 / PROBE_S * 2  # of those that died
    assert all(h.dials - b <= probes for h, b in zip(world.living(), before, strict=True))
    assert complete_lists(world)


def test_a_full_store_keeps_no_member_off_the_list() -> None:
    """It asks for no records, and goes on hearing who is there."""
    world = cluster(3, 12)
    full = Host(world, Machine("10.0.2.1:7946", limits=StoreLimits(5)), ("10.0.1.1:7946",))
    for number in range(20):
        world.living()[0].submit(f"filling {number}", "raw")
    world.run(10)
    start(world, 10)
    for number in range(40):
        world.living()[0].submit(f"more {number}", "raw")
        world.run(2)
    assert len(full.listing()) == 5
    assert complete_lists(world)
