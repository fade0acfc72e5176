"""Nodes that lose nothing have nothing to reconcile, however much is new and however much is about to end."""

import pytest

from tests.sim.checks import different, sync_rounds
from tests.sim.host import Host
from tests.sim.world import Machine, World

LIFE_MS = 60_000


def linked(*offsets_ms: int, delay_s: tuple[float, float], ttl_ms: int) -> World:
    """Nodes with these clocks, all linked."""
    world = World(1, delay_s, ttl_ms=ttl_ms)
    hosts = [Host(world, Machine(f"10.0.0.{n + 1}:7946", ms)) for n, ms in enumerate(offsets_ms)]
    assert world.run_until(lambda: all(len(h.links) == len(hosts) - 1 for h in hosts), 10)
    return world


@pytest.mark.parametrize(
    ("offsets_ms", "delay_s", "seconds"),
    [
        ((0, 0, 0), (0.05, 0.4), 120),
        ((-4_000, 0, 4_000), (0.001, 0.001), 3 * LIFE_MS // 1000),
        ((4_000, 0, -4_000), (0.001, 0.001), 3 * LIFE_MS // 1000),
    ],
    ids=["on their way", "over by one clock only", "over by the other clock only"],
)
def test_the_edges_of_the_window_are_not_taken_for_differences(
    offsets_ms: tuple[int, ...], delay_s: tuple[float, float], seconds: int
) -> None:
    """A steady stream of records, through slow links or past the end of their life: not one session."""
    world = linked(*offsets_ms, delay_s=delay_s, ttl_ms=LIFE_MS)
    world.run(5)
    before = sync_rounds(world)
    for number in range(seconds * 5):
        world.rng.choice(world.living()).submit(f"{number}", "raw")
        world.run(0.2)

    assert sync_rounds(world) == before
    world.run(2)
    assert different(world, {}) == []
