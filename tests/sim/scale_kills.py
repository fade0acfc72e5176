"""`origin-dies`: whatever any survivor saw, all survivors have within a second.

One cluster serves many kills, each of another origin. An origin posts one record and ends at a random
instant of the fan-out: either its process is killed, after writing to some of its links only (a real node
writes to them one after the other, the simulated one to all at once), and its machine resets the links;
or its machine loses power, with what was on its way, and nobody is told. Now and then new nodes start in
place of the dead ones, under new ids.
"""

from dataclasses import dataclass

from tests.sim.host import Host
from tests.sim.scale import Cluster
from tests.sim.scale_overlay import graph, overlay
from tests.sim.scale_report import KillReport, percentile
from tests.sim.world import Machine

WITHIN_S = 1.0
"""The promise, counted from the death of the origin."""

FAN_OUT_DELAYS = 3.0
"""The instants of death are drawn from the post to this many times a link's mean delay after it. The
origin's own sends are out after 1.5; the rest of the time others pass them on."""

TREE_SHARE = 0.7
TREE_RECORDS = 2
TREE_S = 0.1
"""How many of the origins have posted before, and so have a tree: without one a record is flooded, and few
survivors can miss it."""

POWER_LOSS_SHARE = 0.3
"""Share of the deaths that nobody is told of."""

DEAD_SHARE_MAX = 0.1
"""How many nodes may be dead before others start in their place: a tenth, and at least one."""

REST_S = 0.3
"""Time between the end of one run and the next post: enough to replace links."""


@dataclass(frozen=True, slots=True)
class _Death:
    """One run: who had the record when all was said, and how long the last one took (from the post)."""

    power: bool
    survivors: int
    holders: int
    tail_s: float


def origin_dies(cluster: Cluster) -> KillReport:
    """Kill as many origins as the setup's `records` says, one after the other."""
    setup = cluster.setup
    deaths: list[_Death] = []
    dead: list[Machine] = []
    for number in range(setup.records):
        part = number / setup.records
        origin = cluster.rng.choice(cluster.world.living())
        deaths.append(_one(cluster, origin, part))
        dead.append(origin.machine)
        cluster.run(REST_S, "killing origins", part)
        if len(dead) >= max(setup.nodes * DEAD_SHARE_MAX, 1):
            for machine in dead:
                cluster.start(machine)
            dead = []
            cluster.settle("settling again")
    return _report(cluster, deaths)


def _one(cluster: Cluster, origin: Host, part: float) -> _Death:
    """Let one origin post and die."""
    world, rng = cluster.world, cluster.rng
    if rng.random() < TREE_SHARE:
        cluster.post_by_turns([origin], TREE_RECORDS, TREE_S, "killing origins", compare=False)
    posted_s = world.now_s
    digest = cluster.post(origin, compare=False)
    power = rng.random() >= POWER_LOSS_SHARE
    if power:
        ends = list(origin.links.values())
        for end in rng.sample(ends, rng.randint(0, len(ends))):
            end.unwrite()
    cluster.run(rng.uniform(0, FAN_OUT_DELAYS * cluster.setup.link_ms / 1000), "killing origins", part)
    cluster.kill(origin, power=power)
    survivors = world.living()

    died_s = world.now_s

    def over() -> bool:
        """Whether all have it, or nobody and nothing is on its way any more."""
        holders = sum(h.has(digest) for h in survivors)
        return holders == len(survivors) or (not holders and world.now_s > died_s + 2 * world.delay_s[1])

    cluster.run_until(over, WITHIN_S, "killing origins", every_s=0.001)
    if not power:
        origin.come_back()  # the machine is on again: it resets what its peers still take for links
    arrived_s = cluster.probe.tracks[digest].arrived_s
    came_s = [arrived_s[h.node_id] for h in survivors if h.node_id in arrived_s]
    return _Death(power, len(survivors), len(came_s), max(came_s, default=posted_s) - posted_s)


def _report(cluster: Cluster, deaths: list[_Death]) -> KillReport:
    seen = [d for d in deaths if d.holders]
    tails_ms = [d.tail_s * 1000 for d in seen]
    return KillReport(
        scenario="origin-dies",
        setup=cluster.setup,
        kills=len(deaths),
        power_losses=sum(not d.power for d in deaths),
        seen=len(seen),
        incomplete=sum(d.holders < d.survivors for d in seen),
        tail_p50_ms=percentile(tails_ms, 50),
        tail_p99_ms=percentile(tails_ms, 99),
        tail_max_ms=percentile(tails_ms, 100),
        overlay=overlay(graph(cluster.world)),
        events=cluster.world.events,
        virtual_s=cluster.world.now_s,
    )
