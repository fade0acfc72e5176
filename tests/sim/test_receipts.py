"""Receipts never lie, whatever strikes: nobody is counted who does not hold the record.

A word needs the time of a packet. So a count is held against who held the record at some instant within
that time, hop by hop: nodes that lost it or died longer ago must not count. What happens behind a cut
is known as late as the cut itself (6 s of silence), and so is, above the full mesh, what happens behind a
stopped node; so there nobody dies or loses a record.
"""

import itertools
import os
from dataclasses import dataclass, field
from functools import partial
from random import Random

import pytest

from cluster.exports import Admitted
from cluster.messages import Message
from cluster.vocabulary import Ask, Forget
from storage import StoreLimits
from tests.sim.host import Host
from tests.sim.scale_probe import Probe
from tests.sim.world import Machine, World

DELAY_S = 0.001
HELD_FOR_S = 10.0
POSTS = 12

LONG = bool(os.environ.get("DAYFLY_TEST_LONG"))
SEEDS, TREE_SEEDS = (60, 40) if LONG else (4, 2)


@dataclass
class Watch:
    """One record that a client waits for at its origin, and when each node was last known to hold it."""

    origin: Host
    number: int
    digest: bytes
    held_s: dict[str, float] = field(default_factory=dict[str, float])
    most: int = 0


class Witness(Probe):
    """Sees what nodes take and lose, and when: also what they hold for no time at all."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.world = world
        self.watches: list[Watch] = []

    def heard(self, message: Message) -> None:
        """Messages do not matter here."""

    def admitted(self, host: Host, peer: bytes, admitted: Admitted) -> None:
        """Note who held what at this instant."""
        for watch in self.watches:
            if watch.digest in admitted.stored or watch.digest in admitted.lost:
                watch.held_s[host.name] = self.world.now_s


def cluster(count: int, mesh: tuple[int, int], limits: dict[int, StoreLimits]) -> tuple[World, list[Host]]:
    """Nodes that know each other; `limits`: of those whose stores are small."""
    world = World(count, (DELAY_S, DELAY_S))
    world.mesh = mesh
    hosts = [
        Host(world, Machine(f"10.0.0.{n + 1}:7946", limits=limits.get(n, StoreLimits())))
        for n in range(count)
    ]
    partial_tier = count > mesh[0]
    assert world.run_until(
        lambda: (
            all(len(h.links) == count - 1 or partial_tier for h in hosts)
            and all(h.engine.views.partial == partial_tier and h.engine.views.size == count for h in hosts)
        ),
        60,
        every_s=0.1,
    )
    world.run(2)
    return world, hosts


def look(world: World, hosts: list[Host], watches: list[Watch], hops: int) -> None:
    """Hold every count against who holds the record, or did within the time of a few packets."""
    for watch in watches:
        for host in hosts:
            if host.alive and host.has(watch.digest):
                watch.held_s[host.name] = world.now_s
        if watch.origin.paused or not watch.origin.alive:
            continue  # it answers nobody
        lately = world.now_s - hops * (2 * DELAY_S + 0.006)
        ((ok,), _) = watch.origin.engine.receipts.counts(watch.number)
        assert ok <= sum(s >= lately for s in watch.held_s.values()), f"{ok} at {world.now_s}"
        assert not ok or watch.origin.has(watch.digest)
        watch.most = max(watch.most, ok)


def post(world: World, host: Host, number: int, contested: bool) -> Watch | None:
    """A client posts, now and then under an id that another posts too, and waits."""
    id = f"c{number // 2}" if contested else f"{number}"
    record = host.submit(id, f"raw {number}").record
    if record is None:
        return None
    watch = Watch(host, number, record.digest, {host.name: world.now_s})
    host.feed(Ask(number, [record.digest], HELD_FOR_S))
    return watch


def trouble(world: World, hosts: list[Host], kind: str, rng: Random) -> None:
    """One fault: a node is killed, stopped for a while, or cut off from another for a while."""
    host = rng.choice([h for h in hosts if h.alive])
    other = rng.choice(hosts)
    if kind == "kill" and sum(h.alive for h in hosts) > len(hosts) // 2 and not host.paused:
        host.crash(power=True)
    elif kind == "stop" and not host.paused:
        host.pause()
        world.at(world.now_s + rng.uniform(0.01, 3), partial(host.go_on, timer_first=True))
    elif kind == "cut":
        ways = {(host.address, other.address), (other.address, host.address)}
        world.cut |= ways
        world.at(world.now_s + rng.uniform(0.01, 3), lambda: world.cut.difference_update(ways))


@pytest.mark.parametrize(
    ("nodes", "mesh", "seed"),
    [(5, (64, 48), seed) for seed in range(SEEDS)] + [(14, (8, 6), seed) for seed in range(TREE_SEEDS)],
)
def test_no_receipt_counts_more_nodes_than_hold_the_record(
    nodes: int, mesh: tuple[int, int], seed: int
) -> None:
    """Kills, stops, cuts, full stores and contested ids, in the full mesh and above it."""
    rng = Random(f"receipts {seed}")
    world, hosts = cluster(nodes, mesh, {1: StoreLimits(records_max=4)})
    world.probe = witness = Witness(world)
    watches = witness.watches
    faults, numbers = iter(range(5)), itertools.count()
    kinds = ("cut", "stop") if seed % 2 else ("kill", "stop") if nodes < mesh[0] else ("kill",)
    for _ in range(POSTS):
        alive = [h for h in hosts if h.alive and not h.paused]
        for host in rng.sample(alive, min(2, len(alive))):
            watch = post(world, host, next(numbers), "cut" not in kinds and rng.random() < 0.3)
            if watch is not None:
                watches.append(watch)
        for step in range(40):
            if step == 1 and rng.random() < 0.5 and next(faults, None) is not None:
                trouble(world, hosts, rng.choice(kinds), rng)
            world.run(0.0005)
            look(world, hosts, watches, hops=1 if nodes < mesh[0] else 5)
        world.run(rng.uniform(0, 0.5))
        look(world, hosts, watches, hops=1 if nodes < mesh[0] else 5)

    assert max(w.most for w in watches) >= nodes - 2, "they do count"
    for watch in watches:
        watch.origin.feed(Forget(watch.number))
    world.run(15)
    assert [len(h.engine.receipts) for h in hosts if h.alive] == [0] * sum(h.alive for h in hosts)


def test_above_the_full_mesh_everybody_is_counted_once() -> None:
    """Forty nodes with few links each: every origin's question comes to exactly forty."""
    world, hosts = cluster(40, (16, 12), {})
    for number, host in enumerate(hosts[:10]):
        watch = post(world, host, number, contested=False)
        assert watch is not None
        world.run(0.2)
        assert host.engine.receipts.counts(number) == ([40], 40)
        assert len(host.links) < 39
