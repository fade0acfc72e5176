"""What a seed fixes in advance: the plan, frozen, printed when the seed fails.

Most clusters are small, because the cost of a full mesh grows with its square and small ones find most
bugs sooner; but every size up to 40 occurs, with all faults.
"""

from dataclasses import asdict, dataclass
from random import Random

from storage import StoreLimits
from tests.sim.world import Machine

CORE_SPREAD_MS = 27_000
"""How far a clock that counts as right may be from true time, steps and drift included: two such clocks
are within the 60 s of a link, and a record passes between any two of them."""

FAR_MS = (120_000, 2 * 86_400_000)
"""How far off the clock of the odd one out is, either way."""

LOST_TYPES = tuple(range(4, 19))
"""Frame types that may be lost: all but those of the handshake and of the goodbye."""

MESH_SIZES = {(5, 8): 73, (9, 14): 20, (15, 24): 5, (25, 39): 2}
PARTIAL_SIZES = {(5, 8): 35, (9, 14): 50, (15, 24): 12, (25, 39): 3}
"""How many nodes a cluster has, from and to, and the weights; the second where links are few."""

PARTIAL_SHARE = 0.35
"""Share of seeds in which a handful of nodes counts as many, so that each is linked with few."""

NODES_MAX = 40
"""What every hundredth seed has: 40, 140, 240, and so on."""

MANY_NODES = 15
"""From how many nodes on a cluster counts as large: its trouble is shorter, and more may crash at once."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may fix; None leaves it to the seed."""

    nodes: int | None = None
    records: int | None = None
    seconds: float | None = None
    loss: float | None = None
    churn: float | None = None
    partial: bool | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is drawn before the first event.

    Attributes:
        machines: in order; the last `late` of them start during the trouble.
        loss: share of frames lost, by frame type.
        churn: crashes and restarts weigh this many times their share of the menu.
        faults: how many are drawn from the menu over `seconds`.
        mesh: above and below how many nodes the tiers change, as `EngineConfig` has it.
        contested, large: share of records that fight for one of few ids; that are over 64 KiB.
    """

    seed: int
    machines: tuple[Machine, ...]
    late: int
    records: int
    seconds: float
    mesh: tuple[int, int]
    ttl_ms: int
    delay_s: tuple[float, float]
    multicast: bool
    beacon_loss: float
    loss: dict[int, float]
    churn: float
    faults: int
    contested: float
    large: float

    def lines(self) -> list[str]:
        """The plan for people, a line each."""
        machines = [f"  {m}" for m in self.machines]
        return [f"{k} = {v}" for k, v in asdict(self).items() if k != "machines"] + ["machines:", *machines]


def draw(seed: int, options: Options) -> Plan:
    """Draw everything a seed fixes in advance."""
    r = Random(f"plan {seed}")
    drawn_partial = r.random() < PARTIAL_SHARE
    partial = drawn_partial if options.partial is None else options.partial
    sizes = PARTIAL_SIZES if partial else MESH_SIZES
    (between,) = r.choices(list(sizes), list(sizes.values()))
    drawn = NODES_MAX if seed % 100 == NODES_MAX else r.randint(*between)
    count = drawn if options.nodes is None else options.nodes
    mesh_max = r.randint(4, 8)
    many = count >= MANY_NODES
    spread_ms = r.choice((0, 0, 1_000, CORE_SPREAD_MS - 5_000))
    return Plan(
        seed=seed,
        machines=_machines(r, count, spread_ms),
        late=r.choice((0, 0, 1, count // 4)) if count > 2 else 0,
        records=options.records or r.randint(10, 150),
        seconds=options.seconds or r.uniform(8, 15 if many else 25),
        mesh=(mesh_max, mesh_max * 3 // 4) if partial else (64, 48),
        ttl_ms=r.choice((86_400_000, 86_400_000, 60_000, 20_000)) if spread_ms < 2_000 else 86_400_000,
        delay_s=r.choice(((0.0002, 0.002), (0.001, 0.05), (0.001, 0.2))),
        multicast=r.random() < 0.7,
        beacon_loss=r.choice((0.0, 0.3)),
        loss=_loss(r, options.loss),
        churn=1.0 if options.churn is None else options.churn,
        faults=r.choice((0, 3, 8, 15)),
        contested=r.choice((0.0, 0.1, 0.4)),
        large=r.choice((0.0, 0.0, 0.0, 0.05)),
    )


def _machines(r: Random, count: int, spread_ms: int) -> tuple[Machine, ...]:
    """Draw the machines: their clocks, the room in their stores, and now and then a clock that is far off."""
    full = r.random() < 0.2
    machines = [
        Machine(
            f"10.0.0.{number + 1}:7946",
            r.randint(-spread_ms, spread_ms),
            r.choice((0.0, 0.0, r.uniform(-200, 200))),
            StoreLimits(r.randint(5, 40)) if full and number and r.random() < 0.4 else StoreLimits(),
        )
        for number in range(count)
    ]
    if count > 2 and r.random() < 0.15:
        off_ms = r.choice((-1, 1)) * r.randint(*FAR_MS)
        machines[-1] = Machine(machines[-1].address, off_ms, 0.0, far=True)
    return tuple(machines)


def _loss(r: Random, fixed: float | None) -> dict[int, float]:
    """Draw the share of frames that are lost, by type."""
    if fixed is not None:
        return dict.fromkeys(LOST_TYPES, fixed) if fixed else {}
    if r.random() < 0.5:
        return {}
    return {t: p for t in LOST_TYPES if (p := r.choice((0.0, 0.0, 0.1, 0.3)))}
