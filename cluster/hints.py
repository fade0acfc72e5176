"""Addresses that nothing but beacons speak for: a table that forgets, and is fair to hosts.

Anybody on the network can send beacons. In a flood a new address must be heard twice to get in, which a
node that lives there will see to and a made-up one mostly not. One host's ports would all be heard twice,
though, so each host has a few places only, and hosts take turns in being dialled: of one host's
addresses the one that was heard most often is first.
"""

from collections import Counter
from collections.abc import Iterable

from cachetools import FIFOCache, LRUCache

from cluster.candidate import Candidate
from cluster.tokens import TokenBucket

HINTS_MAX = 1024
"""Addresses in the table; the least recently heard of goes first."""
HINTS_PER_HOST_MAX = 32
"""Of one host. Its ports alone would fill the table twice a second in a flood."""
HINT_DIALS_PER_HOST_MAX = 4
"""Dials in flight to one host that beacons led to: half of all, so that a silent one leaves room."""
NEW_HINTS_PER_S = 50.0
"""New addresses taken at first hearing; beyond it is a flood. Twenty seconds' worth fits."""
HEARD_ONCE_MAX = 65_536
"""Addresses remembered in a flood until they are heard again: six seconds of 10,000 a second, 6 MB."""


def host_of(address: str) -> str:
    """Return the host of `host:port`."""
    return address.rpartition(":")[0]


class Hints:
    """The table, in the order in which its addresses were last heard of."""

    def __init__(self) -> None:
        self._hints: dict[str, Candidate] = {}
        self._by_host: Counter[str] = Counter()
        self._turns: LRUCache[str, float] = LRUCache(HINTS_MAX)  # by host, when it was dialled last
        self._heard_once: FIFOCache[str, bool] = FIFOCache(HEARD_ONCE_MAX)
        self._tokens = TokenBucket(NEW_HINTS_PER_S)

    def __len__(self) -> int:
        return len(self._hints)

    def get(self, address: str) -> Candidate | None:
        """Return the hint at an address, or None."""
        return self._hints.get(address)

    def all(self) -> Iterable[Candidate]:
        """All hints there are."""
        return self._hints.values()

    def hear(self, address: str, node_id: bytes, next_s: float, now_s: float) -> Candidate | None:
        """A beacon named `address`. Returns it if it is new in the table, due at `next_s`, or None."""
        hint = self._hints.get(address)
        if hint is not None:
            hint.node_id, hint.heard = node_id, hint.heard + 1
            self._hints[address] = self._hints.pop(address)
            return None
        host = host_of(address)
        if self._by_host[host] >= HINTS_PER_HOST_MAX:
            return None
        again = self._heard_once.pop(address, False)
        if not again and not self._tokens.take(now_s):
            self._heard_once[address] = True
            return None
        if len(self._hints) >= HINTS_MAX:
            # A dial in flight keeps its place: few are, and they must be counted.
            self.drop(next(a for a, c in self._hints.items() if not c.in_flight))
        self._by_host[host] += 1
        new = Candidate(address, node_id, beacon=True, heard=1 + again, next_s=next_s)
        self._hints[address] = new
        return new

    def drop(self, address: str) -> Candidate | None:
        """Forget an address. Returns what was there, or None."""
        hint = self._hints.pop(address, None)
        if hint is not None:
            host = host_of(address)
            self._by_host[host] -= 1
            if not self._by_host[host]:
                del self._by_host[host]
        return hint

    def dialled(self, address: str, now_s: float) -> None:
        """The turn of its host is over."""
        self._turns[host_of(address)] = now_s

    def rank(self, hint: Candidate) -> tuple[float, int, float]:
        """By which hints are dialled: the host whose last turn is longest ago, who was heard most often."""
        return self._turns.get(host_of(hint.address), 0.0), -hint.heard, hint.next_s
