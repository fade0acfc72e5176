"""What all connections of one server share: the counts that bound them. Plain code, no I/O.

One `Guard` per server. A connection asks `admit` before anything is started for it and tells `release`
once its socket is closed; a body asks `take` for every piece and gives the lot back. Neither waits: who
finds no room is refused.
"""

from collections import Counter

import trio

from api.access import Access
from api.counts import ServerStatistics
from api.errors import Problem
from api.limits import HttpLimits
from node.exports import counted_address


def no_room() -> Problem:
    """Refuse a body that `Guard.take` had no room for."""
    return Problem("busy", "the bodies in hand leave no room for this one", {"retry-after": "1"})


class Guard:
    """Bounds shared by the connections of one server.

    Attributes:
        limits: HttpLimits, the bounds.
        statistics: ServerStatistics, what is counted while they are kept.
        access: Access, who may do what.
        idle: scopes of the connections that are between requests; the shutdown cancels them.
    """

    def __init__(
        self, limits: HttpLimits, statistics: ServerStatistics | None = None, access: Access | None = None
    ) -> None:
        self.limits = limits
        self.access = access or Access()
        self.statistics = statistics or ServerStatistics()
        self.idle: set[trio.CancelScope] = set()
        self._connections_by_address: Counter[str] = Counter()

    def admit(self, address: str) -> bool:
        """Count a connection from `address` in, or return False and count it refused."""
        counts, host = self.statistics, counted_address(address)
        if (
            counts.connections_open >= self.limits.connections_max
            or self._connections_by_address[host] >= self.limits.connections_per_address_max
        ):
            counts.connections_refused += 1
            return False
        counts.connections_open += 1
        self._connections_by_address[host] += 1
        return True

    def release(self, address: str) -> None:
        """Count a connection out that `admit` counted in."""
        host = counted_address(address)
        self.statistics.connections_open -= 1
        self._connections_by_address[host] -= 1
        if not self._connections_by_address[host]:
            del self._connections_by_address[host]  # else every address ever seen stays

    @property
    def addresses(self) -> int:
        """How many addresses have a connection open."""
        return len(self._connections_by_address)

    def take(self, size: int) -> bool:
        """Reserve `size` bytes of body, or return False and reserve nothing."""
        if self.statistics.body_bytes + size > self.limits.bodies_bytes_max:
            return False
        self.statistics.body_bytes += size
        return True

    def give_back(self, size: int) -> None:
        """Return `size` bytes that `take` reserved."""
        self.statistics.body_bytes -= size

    def close_idle(self) -> None:
        """End every connection that is between requests."""
        for scope in self.idle:
            scope.cancel()
