"""The heap, the virtual clock and the network between simulated machines.

Time moves from event to event; nothing here waits, and nothing is drawn but from the seed. Every event
leaves a line in the trace, and the hash of all lines is what two runs of one seed must agree on.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from random import Random
from typing import TYPE_CHECKING

from cluster import vocabulary as v
from storage import StoreLimits
from validator import Record

if TYPE_CHECKING:
    from tests.sim.host import Host
    from tests.sim.scale_probe import Probe

START_WALL_MS = 1_700_000_000_000

EVENTS_AT_ONCE_MAX = 5_000
EVENTS_AT_ONCE_AND_HOST_MAX = 100
"""Events at one instant beyond which the simulated cluster is said to be in a busy loop; the second counts
for each living node where that is more. Our choice: the largest honest burst (a paused node of seven that
wakes up) stays under a tenth of it."""


class Violation(AssertionError):
    """A promise was broken. Carries what and where; the seed is added by whoever runs it."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What stays the same when a node on it ends and another starts.

    Attributes:
        address: `host:port` of its peer port.
        offset_ms, drift_ppm: its wall clock against true time.
        limits: of its node's store.
        far: whether its clock is too far off for it to take part.
    """

    address: str
    offset_ms: int = 0
    drift_ppm: float = 0.0
    limits: StoreLimits = field(default_factory=StoreLimits)
    far: bool = False


class World:
    """Everything that is not a node.

    Args:
        seed: of everything that is drawn here.
        delay_s: shortest and longest way of a packet, in seconds.
        multicast: whether beacons are carried at all.
        watch: called with each line of the trace, or None.
    """

    def __init__(
        self,
        seed: int,
        delay_s: tuple[float, float] = (0.001, 0.001),
        *,
        ttl_ms: int = 24 * 3_600_000,
        multicast: bool = True,
        watch: Callable[[str], None] | None = None,
    ) -> None:
        self.rng = Random(f"world {seed}")
        self.delay_s = delay_s
        self.ttl_ms = ttl_ms
        self.multicast = multicast
        self.mesh: tuple[int, int] = (64, 48)  # above and below how many nodes the tiers change
        self.now_s = 0.0
        self.hosts: list[Host] = []  # all that ever started, in order
        self._living: dict[str, Host] = {}  # by address, in order of start
        self.cut: set[tuple[str, str]] = set()  # (from, to): addresses between which nothing passes
        self.sides: dict[str, int] = {}  # address: its part of a network that is in parts
        self.dark: set[str] = set()  # addresses whose machine has no power
        self.steps_ms: Counter[str] = Counter()  # how far each machine's clock has been set
        self.loss: dict[int, float] = {}  # frame type: share of frames that never get written
        self.beacon_loss = 0.0
        self.posted: dict[bytes, tuple[Record, float]] = {}  # digest: what was acknowledged, and when
        self.latencies_s: list[float] = []
        self.totals: Counter[str] = Counter()
        self.probe: Probe | None = None
        self.events = 0
        self._watch = watch
        self._hash = blake2b(digest_size=8)
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._count = itertools.count()
        self._at_once = 0

    # --- time -------------------------------------------------------------------------------------------

    def at(self, when_s: float, action: Callable[[], object]) -> None:
        """Do something at a time."""
        heapq.heappush(self._heap, (max(when_s, self.now_s), next(self._count), action))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.run_until(lambda: False, seconds)

    def run_until(self, condition: Callable[[], bool], seconds: float, every_s: float = 0.0) -> bool:
        """Let time pass until `condition` holds, asked at most every `every_s`. Returns whether it does."""
        end_s, ask_s = self.now_s + seconds, self.now_s
        while True:
            if self.now_s >= ask_s:
                if condition():
                    return True
                ask_s = self.now_s + every_s
            if not self._heap or self._heap[0][0] > end_s:
                self.now_s = end_s
                return condition()
            self._step()

    def _step(self) -> None:
        when_s, _, action = heapq.heappop(self._heap)
        self._at_once = self._at_once + 1 if when_s == self.now_s else 0
        if self._at_once > EVENTS_AT_ONCE_MAX:
            self._mind_a_busy_loop()
        self.now_s = when_s
        self.events += 1
        action()

    def _mind_a_busy_loop(self) -> None:
        if self._at_once > EVENTS_AT_ONCE_AND_HOST_MAX * len(self._living):
            raise Violation(f"busy loop: {self._at_once} events at {self.now_s:.6f} s")

    def wall_ms(self, machine: Machine) -> int:
        """What a machine's wall clock shows: Unix milliseconds."""
        elapsed_ms = self.now_s * 1000 * (1 + machine.drift_ppm / 1e6)
        return START_WALL_MS + int(elapsed_ms) + machine.offset_ms + self.steps_ms.get(machine.address, 0)

    # --- the trace --------------------------------------------------------------------------------------

    def note(self, what: str) -> None:
        """Add a line to the trace."""
        line = f"{self.now_s:.6f} {what}"
        self._hash.update(line.encode())
        if self._watch is not None:
            self._watch(line)

    @property
    def hash(self) -> str:
        """What two runs of one seed agree on: a digest of the whole trace."""
        return self._hash.hexdigest()

    # --- the network ------------------------------------------------------------------------------------

    def started(self, host: "Host") -> None:
        """A node runs at its machine's address now."""
        self.hosts.append(host)
        self._living[host.address] = host

    def ended(self, host: "Host") -> None:
        """A node runs no more."""
        del self._living[host.address]

    def living(self) -> "list[Host]":
        """The nodes that run now, in the order of their start."""
        return list(self._living.values())

    def host_at(self, address: str) -> "Host | None":
        """The node that runs at an address, or None."""
        return self._living.get(address)

    def passes(self, source: str, target: str) -> bool:
        """Whether a packet gets from one address to another now."""
        if self.sides and self.sides.get(source) != self.sides.get(target):
            return False
        return (source, target) not in self.cut and source not in self.dark and target not in self.dark

    def delay(self) -> float:
        """Draw how long a packet takes, in seconds."""
        return self.rng.uniform(*self.delay_s)

    def beacon(self, sender: "Host") -> None:
        """Carry a datagram to everyone in reach: it may be lost, doubled, and overtaken."""
        if not self.multicast:
            return
        heard = v.BeaconHeard(sender.node_id, sender.address)
        for host in self.living():
            if host is sender or not self.passes(sender.address, host.address):
                continue
            copies = 0 if self.rng.random() < self.beacon_loss else 1 + (self.rng.random() < 0.05)
            for _ in range(copies):
                self.at(self.now_s + self.delay(), partial(host.hear, heard))
