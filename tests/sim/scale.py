"""A large cluster in one world: started through a seed list, left alone until it is settled, then posted to.

No faults are drawn here: scenarios (tests/sim/scale_scenarios.py) decide what happens, and a probe
(tests/sim/scale_probe.py) sees what comes of it. Links take `link_ms` give or take a half; nothing else
takes time (docs/scale.md says what that leaves out).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from cluster.members import FACT_LIVES, FACT_S
from node.admission import Answer
from tests.sim.host import Host
from tests.sim.scale_members import SHARED_FROM, SharedMembers
from tests.sim.scale_overlay import Graph, changed_share, flood, graph, islands
from tests.sim.scale_probe import Probe
from tests.sim.world import Machine, Violation, World

SEEDS = 3
"""Nodes that all others are told to join, as in `--join a --join b --join c`."""

JOINS_PER_S = 400.0
JOIN_S_MIN = 2.0
"""How fast nodes start: a thousand in 2.5 s, and no cluster all at once."""

STABLE_S = 2.0
STABLE_SHARE = 0.001
SETTLE_S_MAX = 90.0
"""When a cluster counts as settled: for so long no more than so many links came or went between two looks,
or, as long as it is one cluster, after the longest wait."""

SLICE_S = 0.25
"""How much virtual time passes between two looks at the cluster, and two words on the progress."""

FLOODS_MAX = 25
"""Of how many records the way by flooding is computed for comparison; it costs a search over the graph."""

RAW_BYTES = 200
"""Length of what is posted: a line of text with its labels."""

Progress = Callable[[str, float], None]
"""Told what is going on and how far it has come, 0 to 1."""

Watch = Callable[[str], None]
"""Told each line of the trace."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a person chooses.

    Attributes:
        nodes, records, origins: how many; the origins take turns.
        seconds: over which records are posted.
        loss: share of frames lost once the cluster is settled.
        churn: share of the nodes that are replaced a minute (`churn`).
        link_ms: what a link takes on average; each packet takes 0.5 to 1.5 times as long.
        seed: of everything that is drawn.
        mesh: above and below how many nodes the tiers change, as `EngineConfig` has it.
        shared: whether the nodes share one member list instead of gossiping it; None: if there are many.
    """

    nodes: int = 100
    records: int = 100
    seconds: float = 5.0
    origins: int = 1
    loss: float = 0.0
    churn: float = 0.5
    link_ms: float = 1.0
    seed: int = 0
    mesh: tuple[int, int] = (64, 48)
    shared: bool | None = None

    @property
    def delay_s(self) -> tuple[float, float]:
        """Shortest and longest way of a packet."""
        return self.link_ms * 0.0005, self.link_ms * 0.0015


class Cluster:
    """A cluster and its observer.

    Args:
        setup: as above.
        progress: told how far it has come, or None.
        watch: called with each line of the trace, or None.
    """

    def __init__(
        self,
        setup: Setup,
        progress: Progress | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.setup = setup
        self.rng = Random(f"scale {setup.seed}")
        self.world = World(setup.seed, setup.delay_s, multicast=False, watch=watch)
        self.world.mesh = setup.mesh
        self.probe = self.world.probe = Probe(self.world)
        self.machines = [Machine(_address(number)) for number in range(setup.nodes)]
        self.settled_s = 0.0
        self._say = progress or _say_nothing
        self._seeds = tuple(m.address for m in self.machines[:SEEDS])
        self._posts = 0
        self._started_s: dict[bytes, float] = {}
        shared = setup.nodes >= SHARED_FROM if setup.shared is None else setup.shared
        self._members = SharedMembers() if shared else None

    # --- life -------------------------------------------------------------------------------------------

    def start(self, machine: Machine) -> Host:
        """Start a node."""
        self.world.dark.discard(machine.address)
        host = Host(self.world, machine, self._seeds)
        self._started_s[host.node_id] = self.world.now_s
        if self._members is not None:
            self._members.take_in(host)
        return host

    def join(self) -> None:
        """Start all nodes, the seeds first, and wait until they are settled.

        Raises:
            Violation: they are still not one cluster when the time is over.
        """
        world = self.world
        join_s = max(len(self.machines) / JOINS_PER_S, JOIN_S_MIN)
        for number, machine in enumerate(self.machines):
            when_s = 0.0 if number < SEEDS else self.rng.uniform(0.1, join_s)
            world.at(when_s, partial(self.start, machine))
        self.run(join_s, "joining")
        self.settle("settling")
        self.settled_s = world.now_s

    def settle(self, what: str) -> None:
        """Wait until no link has changed for a while."""
        before: Graph = {}
        still_s = 0.0
        start_s = self.world.now_s
        while still_s < STABLE_S or len(before) < 2:
            waited_s = self.world.now_s - start_s
            if waited_s > SETTLE_S_MAX:
                break
            self._say(what, waited_s / SETTLE_S_MAX)
            self.world.run(SLICE_S)
            now = graph(self.world)
            still = changed_share(before, now) <= STABLE_SHARE and islands(now) == 1
            still_s = still_s + SLICE_S if still else 0.0
            before = now
        if islands(before) != 1:
            raise Violation(f"{islands(before)} islands after {SETTLE_S_MAX:.0f} s")

    def kill(self, host: Host, *, power: bool = True) -> None:
        """End a node. `power`: whether its machine stays on and resets its links."""
        host.crash(power=power)
        if self._members is not None:
            self.world.at(self.world.now_s + FACT_S * FACT_LIVES, partial(self._take_off, host))

    def replace(self, host: Host) -> None:
        """Kill a node; another one starts at its address a second later."""
        self.kill(host)
        self.world.at(self.world.now_s + 1.0, partial(self.start, host.machine))

    def _take_off(self, host: Host) -> None:
        """Take a dead node off the shared list, unless a new one at its address has."""
        if self._members is not None and self.world.host_at(host.address) is None:
            self._members.take_off(host)

    def started_s(self, host: Host) -> float:
        """When a node started."""
        return self._started_s[host.node_id]

    # --- records ----------------------------------------------------------------------------------------

    def post(self, host: Host, *, compare: bool = True) -> bytes:
        """Post a record at a node. Returns its digest.

        Args:
            compare: whether to compute how flooding would have spread it, too.

        Raises:
            Violation: the node did not accept it.
        """
        self._posts += 1
        raw = f"record {self._posts} ".ljust(RAW_BYTES, ".")
        submission = host.submit(f"id {self._posts}", raw)
        if submission.answer is not Answer.STORED or submission.record is None:
            raise Violation(f"{host} answers {submission.answer.value!r} to a new record")
        track = self.probe.posted(host, submission.record)
        if compare:
            delay_s, rng = self.setup.delay_s, Random(f"flood {self.setup.seed} {self._posts}")
            track.flooded = flood(graph(self.world), host.node_id, delay_s, rng)
        return submission.record.digest

    def post_by_turns(
        self,
        origins: list[Host],
        records: int,
        seconds: float,
        what: str = "posting",
        *,
        compare: bool = True,
    ) -> None:
        """Post records at even intervals, the origins by turns; dead ones are replaced by living ones."""
        start_s = self.world.now_s
        every = max(records // FLOODS_MAX, len(origins) + 1 if records > FLOODS_MAX else 1)
        for number in range(records):
            self.run(start_s + number * seconds / records - self.world.now_s, what, number / records)
            origin = origins[number % len(origins)]
            if not origin.alive:
                origin = self.rng.choice(self.world.living())
            chosen = number % every == 0 or number < min(len(origins), FLOODS_MAX)
            self.post(origin, compare=compare and chosen)
        self.run(start_s + seconds - self.world.now_s, what, 1.0)

    # --- time -------------------------------------------------------------------------------------------

    def run(self, seconds: float, what: str, part: float = 0.0) -> None:
        """Let time pass, a slice at a time."""
        start_s = self.world.now_s
        while (left_s := start_s + seconds - self.world.now_s) > 1e-9:
            self._say(what, part or 1 - left_s / seconds)
            self.world.run(min(left_s, SLICE_S))

    def run_until(self, condition: Callable[[], bool], seconds: float, what: str, every_s: float) -> bool:
        """Let time pass until `condition` holds, at most `seconds`. Returns whether it does."""
        start_s = self.world.now_s
        while True:
            passed_s = self.world.now_s - start_s
            self._say(what, passed_s / seconds)
            if self.world.run_until(condition, min(SLICE_S, seconds - passed_s), every_s):
                return True
            if self.world.now_s - start_s >= seconds - 1e-9:
                return False


def _address(number: int) -> str:
    number += 1
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:7946"


def _say_nothing(what: str, part: float) -> None:
    """Nobody wants to know."""
