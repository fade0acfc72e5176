"""What a seed draws: first a plan (frozen, printed when it fails), then one fault after another.

Every fault is one method of `Chaos`, named in `MENU`. To add one: a method and its line there.
"""

import struct
from dataclasses import asdict, dataclass
from functools import partial
from random import Random

from cluster.codec import encode
from cluster.messages import Push, WireRecord
from storage import StoreLimits
from tests.sim.host import Host
from tests.sim.world import Machine, World

CORE_SPREAD_MS = 27_000
"""How far a clock that counts as right may be from true time, steps and drift included: two such clocks
are within the 60 s of a link, and a record passes between any two of them."""

FAR_MS = (120_000, 2 * 86_400_000)
"""How far off the clock of the odd one out is, either way."""

LOST_TYPES = (4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
"""Frame types that may be lost: all but those of the handshake and of the goodbye."""

MENU = {
    "cut": 3,
    "cut_one_way": 3,
    "partition": 2,
    "clog": 2,
    "heal": 6,
    "pause": 3,
    "crash": 3,
    "restart": 4,
    "step_clock": 2,
    "spoil": 2,
}
"""The faults and their weights."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may fix; None leaves it to the seed."""

    nodes: int | None = None
    records: int | None = None
    seconds: float | None = None
    loss: float | None = None
    churn: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is drawn before the first event.

    Attributes:
        machines: in order; the last `late` of them start during the trouble.
        loss: share of frames lost, by frame type.
        churn: crashes and restarts weigh this many times their share of the menu.
        faults: how many are drawn from the menu over `seconds`.
        contested, large: share of records that fight for one of few ids; that are over 64 KiB.
    """

    seed: int
    machines: tuple[Machine, ...]
    late: int
    records: int
    seconds: float
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
    count = options.nodes or r.choice((2, 3, 3, 4, 5, 6, 7))
    spread_ms = r.choice((0, 0, 1_000, CORE_SPREAD_MS - 5_000))
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
    loss: dict[int, float] = {}
    if options.loss is not None:
        loss = dict.fromkeys(LOST_TYPES, options.loss)
    elif r.random() < 0.5:
        loss = {t: p for t in LOST_TYPES if (p := r.choice((0.0, 0.0, 0.1, 0.3)))}
    return Plan(
        seed=seed,
        machines=tuple(machines),
        late=r.choice((0, 0, 1)) if count > 2 else 0,
        records=options.records or r.randint(10, 150),
        seconds=options.seconds or r.uniform(10, 40),
        ttl_ms=r.choice((86_400_000, 86_400_000, 60_000, 20_000)) if spread_ms < 2_000 else 86_400_000,
        delay_s=r.choice(((0.0002, 0.002), (0.001, 0.05), (0.001, 0.2))),
        multicast=r.random() < 0.7,
        beacon_loss=r.choice((0.0, 0.3)),
        loss={t: p for t, p in loss.items() if p},
        churn=1.0 if options.churn is None else options.churn,
        faults=r.choice((0, 3, 8, 15)),
        contested=r.choice((0.0, 0.1, 0.4)),
        large=r.choice((0.0, 0.0, 0.0, 0.05)),
    )


class Chaos:
    """Draws faults one by one and does them to a world."""

    def __init__(self, plan: Plan, world: World) -> None:
        self.rng = Random(f"chaos {plan.seed}")
        self._plan = plan
        self._world = world
        self._weights = [w * (plan.churn if n in ("crash", "restart") else 1) for n, w in MENU.items()]
        seeds = () if plan.multicast else tuple(m.address for m in plan.machines[:2])
        self._seeds = seeds

    def start(self, machine: Machine) -> Host:
        """Start a node on a machine."""
        self._world.dark.discard(machine.address)
        return Host(self._world, machine, self._seeds)

    def strike(self) -> None:
        """Draw one fault and do it."""
        (name,) = self.rng.choices(list(MENU), self._weights)
        self._world.note(f"fault: {name}")
        self._world.totals[f"fault {name}"] += 1
        getattr(self, name)()

    def end(self) -> None:
        """No faults any more: every path open, every process running, every machine on."""
        world = self._world
        world.note("the trouble ends")
        world.cut.clear()
        world.loss, world.beacon_loss = {}, 0.0
        for host in world.living():
            host.go_on(timer_first=True)
        for machine in self._down():
            self.start(machine)

    # --- the menu ---------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Two machines no longer reach each other."""
        a, b = self._two()
        self._world.cut |= {(a, b), (b, a)}

    def cut_one_way(self) -> None:
        """One machine no longer reaches another, which still reaches it."""
        self._world.cut.add(self._two())

    def partition(self) -> None:
        """Random halves no longer reach each other."""
        addresses = [m.address for m in self._plan.machines]
        left = set(self.rng.sample(addresses, len(addresses) // 2))
        self._world.cut |= {(a, b) for a in addresses for b in addresses if (a in left) != (b in left)}

    def clog(self) -> None:
        """Swizzle-clog: machines lose the network one by one and get it back in another order."""
        addresses = [m.address for m in self._plan.machines]
        chosen = self.rng.sample(addresses, self.rng.randint(1, len(addresses)))
        when_s = self._world.now_s
        for restore in (False, True):
            self.rng.shuffle(chosen)
            for address in chosen:
                when_s += self.rng.uniform(0.05, 2.0)
                self._world.at(when_s, partial(self._isolate, address, restore=restore))

    def heal(self) -> None:
        """Some of what is cut is open again."""
        for way in sorted(self._world.cut):
            if self.rng.random() < 0.6:
                self._world.cut.discard(way)

    def pause(self) -> None:
        """A process is stopped for a while, sometimes long enough to be given up."""
        host = self._any_host()
        if host is not None and not host.paused:
            host.pause()
            seconds, first = self.rng.choice((0.2, 2.0, 5.0, 12.0)), self.rng.random() < 0.5
            self._world.at(self._world.now_s + seconds, lambda: host.go_on(timer_first=first))

    def crash(self) -> None:
        """A node ends, with all it held; its machine stays on or does not."""
        host = self._any_host()
        if host is not None:
            host.crash(power=self.rng.random() < 0.6)

    def restart(self) -> None:
        """A node starts where one ended or none was yet, under a new id."""
        down = self._down()
        if down:
            self.start(self.rng.choice(down))

    def step_clock(self) -> None:
        """A wall clock is set, within the bounds of a right one."""
        machine = self.rng.choice(self._plan.machines)
        room_ms = CORE_SPREAD_MS - 1_000
        if not machine.far:
            self._world.steps_ms[machine.address] = (
                self.rng.randint(-room_ms, room_ms) - machine.offset_ms
                if self._plan.ttl_ms > 3_600_000
                else self.rng.randint(-2_000, 2_000)
            )

    def spoil(self) -> None:
        """A node writes what no node writes."""
        host = self._any_host()
        if host is None or host.paused or not host.links:
            return
        link = self.rng.choice(list(host.links.values()))
        if link.state == "up":
            garbage, harmful = self._garbage(host)
            self._world.note(f"{host} spoils its link with {link.peer.hex()[:4]}: {garbage[:12].hex()}")
            link.spoil(garbage, harmful=harmful)

    # --- helpers ----------------------------------------------------------------------------------------

    def _garbage(self, host: Host) -> tuple[bytes, bool]:
        """Draw bytes that must cost their sender the link, or a frame that must be skipped."""
        noise = self.rng.randbytes(self.rng.randint(1, 60))
        wire = WireRecord("forged", "raw", "not its md5", host.now().wall_ms)
        return self.rng.choice(
            (
                (b"\xff" + self.rng.randbytes(40), True),  # longer than any frame
                (struct.pack(">IBB", 1, 4, 1), True),  # shorter than any frame
                (struct.pack(">IBB", len(noise) + 2, 200, 1) + noise, True),  # unknown, critical
                (struct.pack(">IBB", len(noise) + 2, 200, 0) + noise, False),  # unknown, to be skipped
                (struct.pack(">IBB", len(noise) + 2, 4, 1) + b"\xc1" + noise[1:], True),  # bad body
                (encode(Push([wire] * 3)), True),  # a good frame of bad records
            )
        )

    def _isolate(self, address: str, *, restore: bool) -> None:
        for machine in self._plan.machines:
            ways = {(address, machine.address), (machine.address, address)}
            self._world.cut = self._world.cut - ways if restore else self._world.cut | ways

    def _two(self) -> tuple[str, str]:
        a, b = self.rng.sample([m.address for m in self._plan.machines], 2)
        return a, b

    def _any_host(self) -> Host | None:
        living = self._world.living()
        return self.rng.choice(living) if living else None

    def _down(self) -> list[Machine]:
        return [m for m in self._plan.machines if self._world.host_at(m.address) is None]
