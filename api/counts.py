"""What one HTTP server counts. Plain code."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerCounts:
    """The server's connections at one moment.

    Attributes:
        connections_open: int, open now.
        connections_refused: int, closed at once because a cap was reached, since the start.
        connections_failed: int, ended by an unforeseen exception, since the start.
        connections_cut: int, ended by a deadline (slow head, slow reader, linger), since the start.
        body_bytes: int, bytes of request bodies in hand now.
        handshakes_failed: int, HTTPS connections that spoke no TLS we take, since the start.
        requests_unauthorized: int, turned away without credentials or with wrong ones, since the start.
        posts_limited: int, turned away because their address had posted too much, since the start.
    """

    connections_open: int = 0
    connections_refused: int = 0
    connections_failed: int = 0
    connections_cut: int = 0
    body_bytes: int = 0
    handshakes_failed: int = 0
    requests_unauthorized: int = 0
    posts_limited: int = 0


class ServerStatistics:
    """Counters a server raises; hand one to `serve` and read it with `snapshot`."""

    def __init__(self) -> None:
        self.connections_open = 0
        self.connections_refused = 0
        self.connections_failed = 0
        self.connections_cut = 0
        self.body_bytes = 0
        self.handshakes_failed = 0
        self.requests_unauthorized = 0
        self.posts_limited = 0

    def snapshot(self) -> ServerCounts:
        """Return the counts as they are now."""
        return ServerCounts(
            self.connections_open,
            self.connections_refused,
            self.connections_failed,
            self.connections_cut,
            self.body_bytes,
            self.handshakes_failed,
            self.requests_unauthorized,
            self.posts_limited,
        )
