"""Every bound of the HTTP floor: what one client may take, and for how long.

Nothing here is enforced here; each field names the bound, its unit, its default and the reason for it.
Tests run the same server with bounds of milliseconds and kilobytes.
"""

from dataclasses import dataclass, replace
from typing import Self

KIB = 1024
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """The bounds of one HTTP server. All are hard: beyond them the client is refused or cut."""

    connections_max: int = 512
    """Open connections in total. A dashboard, a pool of publishers and a few hundred subscribers fit; at
    64 KiB of buffers each, all of them together cost 32 MiB. Lowered to what RLIMIT_NOFILE leaves."""

    connections_per_address_max: int = 64
    """Open connections from one address: one host may not take every place. A browser opens 6."""

    headers_max: int = 100
    """Header fields of one request; more is answered 431. Browsers send about 20. nginx and Apache draw
    the line at 100 as well (Apache's LimitRequestFields)."""

    header_bytes_max: int = 16 * KIB
    """Bytes of one request's line and header fields together; more is answered 431. Cookies of 4 KiB on
    a shared `localhost` still pass."""

    body_bytes_max: int = 8 * MIB
    """Bytes of one request body; more is answered 413. A record of 1 MiB whose JSON writes every byte as
    six characters takes 6 MiB; the rest is room around it."""

    bodies_bytes_max: int = 64 * MIB
    """Bytes of all request bodies in hand at once, over all connections; beyond it 503 with Retry-After.
    Eight of the largest, or thousands of ordinary ones: without it 512 clients could hold 4 GiB."""

    body_timeout_s: float = 15.0
    """Seconds from a request's head to the end of its body, in total; then 408. 8 MiB in 15 s is 4.5
    Mbit/s: a slow uplink. A limit per read instead would let one byte a second go on for ever."""

    handshake_timeout_s: float = 5.0
    """Seconds from the connect to the end of the TLS handshake; then the connection is closed. Two round
    trips: a second on the worst satellite link."""

    head_timeout_s: float = 10.0
    """Seconds from the connect, or from the first byte of a later request, to the end of its head, in
    total; then the connection is closed. A head is one or two packets."""

    write_timeout_s: float = 10.0
    """Seconds a client may take to accept 64 KiB; then it is cut. NATS's write deadline is the same."""

    keep_alive_timeout_s: float = 15.0
    """Seconds a connection may idle between two requests. Longer than the 5 s of most polling clients'
    pools, so that they reuse; short enough that idlers do not fill the table."""

    linger_timeout_s: float = 5.0
    """Seconds for what is left after an end: a handler may finish its work once its client is gone, and a
    client may read an early answer before the socket closes (RFC 9112 section 9.6)."""

    half_closed_timeout_s: float = 65.0
    """Seconds a handler has for a client that has shut its sending side and may still read: the 60 s that
    a post may wait for nodes, and room for the answer. They start anew with whatever the client takes."""

    drain_bytes_max: int = 32 * MIB
    """Bytes read and thrown away after an early answer, so that a client which sends its whole body before
    it reads still gets the answer: four times the largest body we take."""

    graceful_timeout_s: float = 3.0
    """Seconds open requests may go on after the shutdown was asked for. The node itself stops in 5."""

    vanished_timeout_s: float = 30.0
    """Seconds that what was sent may stay without an acknowledgement of the client's kernel; then ours ends
    the connection (RFC 5482). A client whose plug was pulled would else keep its place, say a stream, for the
    quarter of an hour that TCP tries again. Longer than `write_timeout_s`, which judges who does not read."""

    websocket_message_bytes_max: int = MIB + 64 * KIB
    """Bytes of one WebSocket message; more closes with 1009. One record of 1 MiB and room around it."""

    websocket_ping_interval_s: float = 20.0
    """Seconds between pings; who sent nothing at all, not even the pong, in one interval is cut. Below the
    30 to 60 s after which home routers forget a silent connection."""

    def lowered_to(self, connections_max: int) -> Self:
        """Return these limits with at most `connections_max` connections."""
        return replace(self, connections_max=min(self.connections_max, connections_max))
