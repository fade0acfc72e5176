"""What is done to a large cluster: `steady`, `crash`, `partition`, `churn`; `origin-dies` has its own file.

Each takes a cluster that has settled, does its worst, and returns what became of the records.
"""

from dataclasses import dataclass
from functools import partial

from tests.sim.plan import LOST_TYPES
from tests.sim.scale import Cluster
from tests.sim.scale_overlay import graph, overlay
from tests.sim.scale_probe import Track
from tests.sim.scale_report import Report, Wave

REST_S_MAX = 65.0
"""How long repair may take once nobody posts any more: three sync intervals and a little."""

TALK_S = 0.05
"""How long what was said of the last record is still counted: its announcements wait 10 ms."""

CRASH_SHARE = 0.3
WARM_RECORDS = 20
WARM_S = 2.0
"""Records that give an origin its tree before nodes crash, and how long they are given."""


@dataclass(frozen=True, slots=True)
class _Before:
    """Counters as they stood when the measurement began."""

    now_s: float
    sent_bytes: int
    sync_rounds: int
    sync_bytes: int


def steady(cluster: Cluster) -> Report:
    """Nothing happens but records: origins post by turns."""
    setup = cluster.setup
    origins = cluster.rng.sample(cluster.world.living(), min(setup.origins, setup.nodes))
    before = _begin(cluster)
    cluster.post_by_turns(origins, setup.records, setup.seconds)
    return _account("steady", cluster, before)


def crash(cluster: Cluster) -> Report:
    """Three nodes of ten are killed at one instant, and at that instant an origin with a tree posts.

    Their machines stay on: links to them are reset, which takes each neighbour the time of a packet.
    """
    setup = cluster.setup
    (origin,) = cluster.rng.sample(cluster.world.living(), 1)
    cluster.post_by_turns([origin], WARM_RECORDS, WARM_S, "growing the tree")
    before = _begin(cluster)
    others = [h for h in cluster.world.living() if h is not origin]
    for host in cluster.rng.sample(others, int(setup.nodes * CRASH_SHARE)):
        cluster.kill(host)
    cluster.post_by_turns([origin], setup.records, setup.seconds, "posting after the crash")
    return _account("crash", cluster, before)


def partition(cluster: Cluster) -> Report:
    """Two halves do not reach each other while origins on both sides post; then the cut heals."""
    setup = cluster.setup
    hosts = cluster.rng.sample(cluster.world.living(), setup.nodes)
    half = len(hosts) // 2
    before = _begin(cluster)
    cluster.world.sides = {h.address: int(place >= half) for place, h in enumerate(hosts)}
    each = max(setup.origins // 2, 1)
    origins = [h for pair in zip(hosts[:each], hosts[half : half + each], strict=True) for h in pair]
    cluster.post_by_turns(origins, setup.records, setup.seconds, "posting on both sides")
    cluster.world.sides = {}
    return _account("partition", cluster, before)


def churn(cluster: Cluster) -> Report:
    """Nodes are killed, origins too, and others start in their place while origins post."""
    setup, world, rng = cluster.setup, cluster.world, cluster.rng
    origins = rng.sample(world.living(), min(setup.origins, setup.nodes))
    for _ in range(round(setup.churn * setup.nodes * setup.seconds / 60)):
        when_s = world.now_s + rng.uniform(0, setup.seconds)
        world.at(when_s, lambda: cluster.replace(rng.choice(world.living())))
    before = _begin(cluster)
    cluster.post_by_turns(origins, setup.records, setup.seconds)
    return _account("churn", cluster, before)


# --- before and after -----------------------------------------------------------------------------------


def _begin(cluster: Cluster) -> _Before:
    """Begin to measure, and to lose frames if that was asked for."""
    cluster.probe.reset()
    if cluster.setup.loss:
        cluster.world.loss = dict.fromkeys(LOST_TYPES, cluster.setup.loss)
    rounds, sync_bytes = _sync(cluster)
    return _Before(cluster.world.now_s, cluster.world.totals["bytes"], rounds, sync_bytes)


def _sync(cluster: Cluster) -> tuple[int, int]:
    """Sum up anti-entropy over all nodes that ever ran."""
    statistics = [h.engine.statistics() for h in cluster.world.hosts]
    return sum(s.sync_rounds_total for s in statistics), sum(s.sync_bytes_out for s in statistics)


def _complete(cluster: Cluster) -> bool:
    """Whether every living node has what any living node has, those that joined late included."""
    living = cluster.world.living()
    for digest in cluster.probe.tracks:
        holders = sum(h.has(digest) for h in living)
        if 0 < holders < len(living):
            return False
    return True


def _account(scenario: str, cluster: Cluster, before: _Before) -> Report:
    """Let repair do its work, then sum up."""
    world, setup, probe = cluster.world, cluster.setup, cluster.probe
    links, posted_s = graph(world), world.now_s
    cluster.run(TALK_S, "posting", 1.0)
    cluster.run_until(partial(_complete, cluster), REST_S_MAX, "repairing", every_s=0.05)
    rounds, sync_bytes = _sync(cluster)
    nodes = world.living()
    held = {d: t for d, t in probe.tracks.items() if any(h.has(d) for h in nodes)}
    seconds = max(world.now_s - before.now_s, 1e-9)

    def due(track: Track) -> list[bytes]:
        """Whom a record is due at in the time that is measured: who lived all along."""
        return [h.node_id for h in nodes if cluster.started_s(h) <= track.posted_s]

    return Report(
        scenario=scenario,
        setup=setup,
        living=len(nodes),
        first=Wave.of([t for t in held.values() if t.first], due),
        later=Wave.of([t for t in held.values() if not t.first], due),
        lost=len(probe.tracks) - len(held),
        complete=_complete(cluster),
        late_s=max(world.now_s - posted_s - TALK_S, 0.0),
        settled_s=cluster.settled_s,
        overlay=overlay(links),
        sync_rounds=rounds - before.sync_rounds,
        sync_bytes=sync_bytes - before.sync_bytes,
        bytes_per_node_and_s=(world.totals["bytes"] - before.sent_bytes) / seconds / max(len(nodes), 1),
        events=world.events,
        virtual_s=world.now_s,
    )
