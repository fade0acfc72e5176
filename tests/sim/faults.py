"""The faults that strike a drawn cluster, one after another.

Every fault is one method of `Chaos`, named in `MENU`. To add one: a method and its line there. What is
drawn before the first event (sizes, clocks, delays, loss) is in `plan`.
"""

import itertools
import struct
from functools import partial
from random import Random

from cluster import vocabulary as v
from cluster.codec import batches, encode, encode_push
from cluster.messages import IHave, Push, WireRecord
from cluster.outbox import EAGER_BYTES_MAX
from node.admission import Answer
from tests.sim.host import Host
from tests.sim.plan import CORE_SPREAD_MS, MANY_NODES, Plan
from tests.sim.wire import SOCKET_BYTES, Endpoint
from tests.sim.world import Machine, World

MENU = {
    "cut": 3,
    "cut_one_way": 3,
    "partition": 2,
    "clog": 2,
    "heal": 6,
    "slow": 2,
    "repeat": 2,
    "pause": 3,
    "overflow": 1,
    "miss": 2,
    "leave": 1,
    "crash": 3,
    "restart": 4,
    "step_clock": 2,
    "spoil": 2,
}
"""The faults and their weights."""

DELAYS_S = ((0.0001, 0.001), (0.001, 0.3), (0.2, 0.5))
"""What the ways of packets may change to, shortest and longest."""

OVERFLOW_RAW_BYTES = 60_000
OVERFLOW_RECORDS = (EAGER_BYTES_MAX + SOCKET_BYTES) // OVERFLOW_RAW_BYTES + 5
"""So many records of this size, posted at once, are more than a socket and an outbox take."""


RETURN_SHARE = 0.7
"""Share of machines that are off when the trouble ends and are on again in peace."""


class Chaos:
    """Draws faults one by one and does them to a world."""

    def __init__(self, plan: Plan, world: World) -> None:
        self.rng = Random(f"chaos {plan.seed}")
        self._plan = plan
        self._world = world
        self._weights = [w * (plan.churn if n in ("crash", "restart") else 1) for n, w in MENU.items()]
        seeds = () if plan.multicast else tuple(m.address for m in plan.machines[:2])
        self._seeds = seeds
        self._numbers = itertools.count()

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
        """No faults any more: paths open, processes running, machines on, but for some that stay off."""
        world = self._world
        world.note("the trouble ends")
        world.cut.clear()
        world.loss, world.beacon_loss, world.delay_s = {}, 0.0, self._plan.delay_s
        for host in world.living():
            host.go_on(timer_first=True)
        for machine in self._down():
            if machine in self._plan.machines[:2] or self.rng.random() < RETURN_SHARE:
                self.start(machine)

    # --- the menu ---------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Two machines, or a few pairs of many, no longer reach each other."""
        for _ in range(1 + len(self._plan.machines) // 10):
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

    def slow(self) -> None:
        """Packets take longer or shorter from now on, and overtake each other more or less."""
        self._world.delay_s = self.rng.choice(DELAYS_S)

    def repeat(self) -> None:
        """A node sends again what it holds, in any order: doubled and reordered as TCP never does."""
        link = self._any_link()
        if link is None:
            return
        held = link.host.listing()
        again = self.rng.sample(held, min(len(held), self.rng.randint(1, 40)))
        for batch in batches(again):
            link.outbox.push(encode_push(batch))
        told = self.rng.sample(again, len(again))
        link.outbox.send(IHave(self.rng.choice((b"", link.host.node_id)), b"".join(r.digest for r in told)))
        link.write()

    def pause(self) -> None:
        """A process is stopped for a while, sometimes long enough to be given up."""
        host = self._any_host()
        if host is not None and not host.paused:
            self._stop(host, self.rng.choice((0.2, 2.0, 5.0, 12.0)))

    def overflow(self) -> None:
        """A client posts more at once than an outbox takes; one of those it is for does not even read."""
        link = self._any_link()
        if link is None or link.peer_end.host.paused:
            return
        self._stop(link.peer_end.host, self.rng.choice((1.0, 4.0)))
        for _ in range(OVERFLOW_RECORDS):
            number = next(self._numbers)
            link.host.submit(f"burst {number}", f"{number:07} ".ljust(OVERFLOW_RAW_BYTES, "x"))

    def miss(self) -> None:
        """A node stores what a client posts, but its engine is only told that it missed something."""
        host = self._any_host()
        if host is None or host.paused:
            return
        for _ in range(self.rng.randint(1, 5)):
            number = next(self._numbers)
            submission = host.admission.submit(f"missed {number}", f"raw {number}", None, host.now().wall_ms)
            if submission.answer is Answer.STORED and submission.record is not None:
                self._world.posted[submission.record.digest] = (submission.record, self._world.now_s)
        host.feed(v.Missed())

    def leave(self) -> None:
        """A node says goodbye and ends."""
        host = self._any_host()
        if host is not None and not host.paused:
            host.feed(v.Leaving())
            host.crash(power=True)

    def crash(self) -> None:
        """A node, or a third of many at once, ends with all it held; its machine stays on or does not."""
        living = self._world.living()
        at_once = len(living) // 3 if len(living) >= MANY_NODES and self.rng.random() < 0.2 else 1
        for host in self.rng.sample(living, min(at_once, len(living))):
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
        link = self._any_link()
        if link is not None:
            garbage, harmful = self._garbage(link.host)
            self._world.note(f"{link.host} spoils its link with {link.peer.hex()[:4]}: {garbage[:12].hex()}")
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

    def _any_link(self) -> Endpoint | None:
        """A link that is up, from the side of a node that runs."""
        host = self._any_host()
        links = [] if host is None or host.paused else [e for e in host.links.values() if e.state == "up"]
        return self.rng.choice(links) if links else None

    def _stop(self, host: Host, seconds: float) -> None:
        first = self.rng.random() < 0.5
        host.pause()
        self._world.at(self._world.now_s + seconds, lambda: host.go_on(timer_first=first))

    def _down(self) -> list[Machine]:
        return [m for m in self._plan.machines if self._world.host_at(m.address) is None]
