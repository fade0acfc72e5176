"""With whom we are linked, which new links are welcome, and who must be let go.

Liveness is the connection's: a dead process closes it at once. For silent losses a peer is pinged
after 2 s without a word, suspected after 4, dropped after 6. When this node itself was stalled (a
suspended machine, a long pause) all these clocks are put forward by the stall, so that a sick node does
not condemn healthy ones (Lifeguard's local health, reduced to what TCP leaves of the problem).

Of two connections between the same two nodes the one dialled by the lower node id stays; when one node
dialled both, it keeps its older one. Both sides decide so without asking each other.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from cachetools import TTLCache

from cluster.candidates import Candidates
from cluster.messages import Hello
from cluster.vocabulary import LinkUp, Now

PING_AFTER_S = 2.0
HIGHER_ID_PINGS_LATER_S = 0.5
"""The lower id pings first; its ping ends the silence for both sides, so an idle link carries one, not two.
It tells the round trip it measured. Taking turns would cost a bare TCP acknowledgement more each time: the
side that asked last has left the kernel's interactive mode (measured: 147 bytes a second instead of 122)."""
PING_BUSY_S = 5.0
"""A busy link is pinged too, this often: the ping also carries the fingerprint and the clock."""
SUSPECT_AFTER_S = 4.0
CLOSE_AFTER_S = 6.0
STALL_S = 0.5
"""Lateness of our own timer from which on the stall is forgiven to the peers."""

PEERS_MAX = 128
"""Links at a time: twice the 64 nodes that a full mesh is meant for; more would starve them all."""

REJECTS_MAX = 3
"""Rejected records from one peer before it is banned; honest nodes validate before they relay."""
BAN_S = 60.0
BANS_MAX = 1024


@dataclass(slots=True)
class Peer:
    """A link that is up, as the engine sees it. Times are monotonic seconds.

    Attributes:
        hello, address, dialled: as in `LinkUp`. up_s: since when it is up.
        ping_later_s: how long to leave pinging to the other side.
        heard_s, pinged_s: when it was last heard of, and last exchanged a ping either way.
        ping_seq, ping_sent_s, ping_sent_wall_ms, ping_window_ms: of our last ping; `ping_sent_s` is None
            once it is answered.
        rtt_ms: of the last answered ping, ours or theirs, or None before the first.
        offset_ms: the peer's wall clock minus ours.
        lag_ms, records: what it last told of itself.
        in_sync: whether the last ping's fingerprints agreed, or None before the first.
        synced_s: when they last did, or None.
        rejects: records it sent that no honest node sends.
    """

    hello: Hello
    address: str
    dialled: bool
    up_s: float
    heard_s: float
    pinged_s: float
    ping_later_s: float = 0.0
    ping_seq: int = 0
    ping_sent_s: float | None = None
    ping_sent_wall_ms: int = 0
    ping_window_ms: tuple[int, int] = (0, 0)
    rtt_ms: float | None = None
    offset_ms: int = 0
    lag_ms: int = 0
    records: int = 0
    in_sync: bool | None = None
    synced_s: float | None = None
    rejects: int = 0

    @property
    def ping_due_s(self) -> float:
        """When to ping next: after silence, or now and then on a busy link; not while one is unanswered."""
        due_s = min(self.heard_s + PING_AFTER_S, self.pinged_s + PING_BUSY_S) + self.ping_later_s
        return due_s if self.ping_sent_s is None else max(due_s, self.ping_sent_s + PING_AFTER_S)

    def state(self, now_s: float) -> str:
        """`up`, or `suspect` after `SUSPECT_AFTER_S` of silence."""
        return "suspect" if now_s - self.heard_s >= SUSPECT_AFTER_S else "up"


class Membership:
    """The links that are up, and the rules over them. `candidates` holds those that are not."""

    def __init__(self, node_id: bytes, seeds: Iterable[str], rng: Random) -> None:
        self.node_id = node_id
        self.peers: dict[bytes, Peer] = {}
        self.candidates = Candidates(node_id, self.peers.keys(), seeds, rng)
        self._now_s = 0.0
        self._bans: TTLCache[bytes, str] = TTLCache(BANS_MAX, BAN_S, timer=lambda: self._now_s)

    def refusal(self, hello: Hello, *, dialled: bool, now: Now) -> tuple[str, str] | None:
        """Say why a link to whoever sent `hello` is not wanted, as (code, reason), or None if it is.

        Whether cluster, rules, versions and clocks fit is asked elsewhere (cluster/compatibility.py).
        """
        self._now_s = now.s
        peer = hello.node_id
        if peer == self.node_id:
            return "self", "this address is my own"
        if peer in self._bans:
            return "banned", self._bans[peer]
        present = self.peers.get(peer)
        if present is None:
            return (
                ("full", f"already linked with {PEERS_MAX} nodes") if len(self.peers) >= PEERS_MAX else None
            )
        if present.dialled == dialled:
            # The same side dialled both: the dialler keeps the older one, the other side follows it.
            return ("duplicate", "already linked") if dialled else None
        new_stays = dialled == (self.node_id < peer)
        return None if new_stays else ("duplicate", "already linked, and that link is the one to keep")

    @property
    def complete(self) -> bool:
        """Whether there is a peer and nobody else is known whom we are not linked with."""
        return bool(self.peers) and not self.candidates.unlinked

    @property
    def deadline_s(self) -> float | None:
        """When liveness must be looked at next (monotonic seconds), or None."""
        return min((min(p.ping_due_s, p.heard_s + CLOSE_AFTER_S) for p in self.peers.values()), default=None)

    def link_up(self, event: LinkUp, now: Now) -> None:
        """A link is up."""
        hello, peer = event.hello, event.hello.node_id
        self.peers[peer] = Peer(
            hello,
            event.address,
            event.dialled,
            now.s,
            now.s,
            now.s,
            ping_later_s=0.0 if self.node_id < peer else HIGHER_ID_PINGS_LATER_S,
            records=hello.records,
            offset_ms=hello.wall_ms - now.wall_ms,
        )
        self.candidates.link_up(peer, event.address)

    def link_down(self, peer: bytes, reason: str, now: Now) -> None:
        """A link is gone: its address becomes a candidate again."""
        if self.peers.pop(peer, None) is not None:
            self.candidates.link_down(peer, reason, now)

    def heard(self, peer: bytes, now: Now) -> None:
        """A peer gave a sign of life."""
        self.peers[peer].heard_s = now.s

    def rejected(self, peer: bytes, count: int, now: Now) -> str | None:
        """A peer sent `count` records that no honest node sends. Returns why to close it, or None."""
        self.peers[peer].rejects += count
        if self.peers[peer].rejects < REJECTS_MAX:
            return None
        return self.ban(peer, "it sent records that no honest node relays", now)

    def ban(self, peer: bytes, why: str, now: Now) -> str:
        """Refuse links with `peer` for `BAN_S`. Returns the reason in words."""
        self._now_s = now.s
        reason = f"banned for {BAN_S:.0f} s: {why}"
        self._bans[peer] = reason
        return reason

    def forgive(self, stall_s: float, now: Now) -> None:
        """This node stood still for `stall_s`: what peers sent meanwhile is not read yet."""
        for peer in self.peers.values():
            peer.heard_s = min(peer.heard_s + stall_s, now.s)
