"""What all connections of one server share: the counts that bound them. Plain code, no I/O.

One `Guard` per server. A connection asks `admit` before anything is started for it and tells `release`
once its socket is closed; a body asks `take` for every piece and gives the lot back. Neither waits: who
finds no room is refused.
"""

from collections import Counter
from dataclasses import dataclass

import trio

from api.limits import HttpLimits


@dataclass(frozen=True, slots=True)
class ServerCounts:
    """The server's connections at one moment.

    Attributes:
        connections_open: int, open now.
        connections_refused: int, closed at once because a cap was reached, since the start.
        connections_failed: int, ended by an unforeseen exception, since the start.
        connections_cut: int, ended by a deadline (slow head, slow reader, linger), since the start.
        body_bytes: int, bytes of request bodies in hand now.
    """

    connections_open: int = 0
    connections_refused: int = 0
    connections_failed: int = 0
    connections_cut: int = 0
    body_bytes: int = 0


class ServerStatistics:
    """Counters a server raises; hand one to `serve` and read it with `snapshot`."""

    def __init__(self) -> None:
        self.connections_open = 0
        self.connections_refused = 0
        self.connections_failed = 0
        self.connections_cut = 0
        self.body_bytes = 0

    def snapshot(self) -> ServerCounts:
        """Return the counts as they are now."""
        return ServerCounts(
            self.connections_open,
            self.connections_refused,
            self.connections_failed,
            self.connections_cut,
            self.body_bytes,
        )


class Guard:
    """Bounds shared by the connections of one server.

    Attributes:
        limits: HttpLimits, the bounds.
        statistics: ServerStatistics, what is counted while they are kept.
        idle: scopes of the connections that are between requests; the shutdown cancels them.
    """

    def __init__(self, limits: HttpLimits, statistics: ServerStatistics | None = None) -> None:
        self.limits = limits
        self.statistics = statistics or ServerStatistics()
        self.idle: set[trio.CancelScope] = set()
        self._connections_by_address: Counter[str] = Counter()

    def admit(self, address: str) -> bool:
        """Count a connection from `address` in, or return False and count it refused."""
        counts = self.statistics
        if (
            counts.connections_open >= self.limits.connections_max
            or self._connections_by_address[address] >= self.limits.connections_per_address_max
        ):
            counts.connections_refused += 1
            return False
        counts.connections_open += 1
        self._connections_by_address[address] += 1
        return True

    def release(self, address: str) -> None:
        """Count a connection out that `admit` counted in."""
        self.statistics.connections_open -= 1
        self._connections_by_address[address] -= 1
        if not self._connections_by_address[address]:
            del self._connections_by_address[address]  # else every address ever seen stays

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
