"""Three hundred clusters under drawn faults, and the simulator's own honesty.

A failure names its seed and what it drew: `python scripts/simulate.py --seed N --trace` runs it again, event
for event. That the checks find bugs is shown in tests/planted.
"""

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from cluster.codec import encode
from cluster.messages import Message, Ping
from tests.sim.checks import anytime
from tests.sim.faults import MENU
from tests.sim.host import Host
from tests.sim.plan import MANY_NODES, NODES_MAX
from tests.sim.run import Report, run_seed
from tests.sim.wire import Endpoint
from tests.sim.world import Machine, Violation, World
from validator import Record, sign

SEEDS = 300
CHUNK = 15

WORKERS = 2
"""Processes that run seeds while the tests wait for them. Our choice: what the smallest machine has."""


@pytest.fixture(scope="module")
def under_way() -> Iterator[dict[int, Future[Report]]]:
    """All seeds, run in the background in processes of their own."""
    # They wait for no clock, so they give way to tests that do.
    with ProcessPoolExecutor(WORKERS, get_context("spawn"), initializer=os.nice, initargs=(10,)) as pool:
        yield {seed: pool.submit(run_seed, seed) for seed in range(SEEDS)}
        pool.shutdown(cancel_futures=True)


@pytest.mark.timeout(600)  # the seeds give way to all other tests
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_every_promise_holds_whatever_the_seed_draws(
    first: int, under_way: dict[int, Future[Report]]
) -> None:
    """Anytime, eventually, finally: for every seed of the chunk."""
    reports = [under_way[seed].result() for seed in range(first, first + CHUNK)]
    assert "\n".join(line for r in reports if r.failure for line in told(r)) == ""
    assert sum(r.posted for r in reports) > CHUNK
    assert all(r.delivered == r.due for r in reports)


def told(report: Report) -> list[str]:
    """What a person needs to look into a seed that failed."""
    return [f"seed {report.seed} failed {report.failure}", *report.plan.lines()]


@pytest.mark.timeout(600)
def test_clusters_are_of_every_size_and_every_fault_strikes_the_large_ones_too(
    under_way: dict[int, Future[Report]],
) -> None:
    """A fault that no seed draws tests nothing."""
    reports = [each.result() for each in under_way.values()]
    sizes = Counter(len(r.plan.machines) for r in reports)
    assert (min(sizes), max(sizes)) == (5, NODES_MAX)
    for least in (0, MANY_NODES):
        struck = sum((r.totals for r in reports if len(r.plan.machines) >= least), start=Counter[str]())
        assert {name for name in MENU if struck[f"fault {name}"]} == set(MENU)
        assert min(struck[name] for name in ("frames lost", "garbage refused", "degraded", "full")) > 0


@pytest.mark.parametrize("seed", [3, 14])
def test_the_same_seed_gives_the_same_events_and_another_seed_others(seed: int) -> None:
    """Without this a failing seed could not be looked into."""
    lines: list[str] = []
    first, second, other = run_seed(seed), run_seed(seed, watch=lines.append), run_seed(seed + 1)
    assert (first.hash, first.events) == (second.hash, second.events)
    assert len(lines) > 100
    assert first.hash != other.hash


def test_a_record_nobody_posted_is_caught() -> None:
    """A phantom in a store."""
    world = World(0)
    host = Host(world, Machine("10.0.0.1:7946"))
    host.store.add(Record.of("id", "raw", sign("raw"), host.now().wall_ms), host.now().wall_ms)
    with pytest.raises(Violation, match="nobody posted"):
        anytime(world)


def test_garbage_costs_its_sender_the_link_and_nobody_else() -> None:
    """Two links; the one that garbage came over is gone, the other carries on."""
    world = World(0)
    good, bad, other = (Host(world, Machine(f"10.0.0.{n}:7946")) for n in (1, 2, 3))
    assert world.run_until(lambda: all(len(h.links) == 2 for h in (good, bad, other)), 10)
    bad.links[good.node_id].spoil(b"\xff" * 10, harmful=True)
    world.run(1)
    assert list(good.links) == [other.node_id]
    good.submit("id", "raw")
    world.run(1)
    assert len(other.listing()) == 1


def test_within_a_connection_nothing_is_lost_or_overtaken_by_a_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut shorter than the silence that ends a link delays, in order; it loses nothing."""
    world = World(0, (0.001, 0.2))
    a, b = (Host(world, Machine(f"10.0.0.{n}:7946")) for n in (1, 2))
    assert world.run_until(lambda: bool(a.links and b.links), 10)
    world.run(1)
    arrived: list[int] = []
    take = b.take

    def tapped(endpoint: Endpoint, message: Message) -> None:
        if isinstance(message, Ping) and message.seq >= 1000:
            arrived.append(message.seq)
        else:
            take(endpoint, message)

    monkeypatch.setattr(b, "take", tapped)
    world.cut.add((a.address, b.address))
    for seq in range(1000, 1050):
        frame = Ping(seq, 0, 0, 0, 0, 0, bytes(16))
        assert len(encode(frame)) < 100
        a.links[b.node_id].outbox.send(frame)
        a.links[b.node_id].write()
        world.run(0.05)
    assert not arrived
    world.cut.clear()
    world.run(1)
    assert arrived == list(range(1000, 1050))
