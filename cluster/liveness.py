"""Is the peer there, and do we hold the same? Pings answer both.

A ping goes out after silence, and now and then on a busy link. It carries the sender's clock and the
fingerprint of its records in the stable window; so does the answer, over the same window. Equal
fingerprints are a whole sync round; different ones start a reconciliation from the side that holds less.
"""

from cluster.compatibility import clock_refusal
from cluster.membership import CLOSE_AFTER_S, Membership, Peer
from cluster.messages import Ping, Pong
from cluster.reconciliation import Reconciliation
from cluster.vocabulary import Close, Effect, Holdings, Now, Send


class Liveness:
    """Ping, answer, compare; close who stays silent or whose clock runs away."""

    def __init__(self, membership: Membership, reconciliation: Reconciliation, holdings: Holdings) -> None:
        self._membership = membership
        self._reconciliation = reconciliation
        self._holdings = holdings

    def tick(self, lag_ms: int, now: Now) -> list[Effect]:
        """Ping who is silent, close who stays so. `lag_ms`: how late our own event loop runs."""
        effects: list[Effect] = []
        for node_id, peer in self._membership.peers.items():
            if now.s >= peer.heard_s + CLOSE_AFTER_S:  # the very sum the deadline is made of
                silent_s = now.s - peer.heard_s
                effects.append(Close(node_id, "silent", f"nothing heard for {silent_s:.1f} s"))
            elif now.s >= peer.ping_due_s:
                effects.append(Send(node_id, self._make_ping(peer, lag_ms, now)))
        return effects

    def ping(self, node_id: bytes, ping: Ping, lag_ms: int, now: Now) -> list[Effect]:
        """Answer a peer's ping and look at what it shows."""
        peer = self._membership.peers[node_id]
        peer.pinged_s = now.s
        if ping.rtt_us:
            peer.rtt_ms = ping.rtt_us / 1000
        peer.lag_ms, peer.records, peer.offset_ms = ping.lag_ms, ping.records, ping.wall_ms - now.wall_ms
        fingerprint = self._reconciliation.fingerprint(
            ping.wall_ms - ping.lower_age_ms, ping.wall_ms - ping.upper_age_ms
        )
        pong = Pong(ping.seq, now.wall_ms, lag_ms, len(self._holdings), fingerprint)
        return [Send(node_id, pong), *self._compare(node_id, fingerprint == ping.fingerprint, now)]

    def pong(self, node_id: bytes, pong: Pong, now: Now) -> list[Effect]:
        """Take the answer to our last ping; a later or unasked one is dropped."""
        peer = self._membership.peers[node_id]
        if pong.seq != peer.ping_seq or peer.ping_sent_s is None:
            return []
        rtt_s, peer.ping_sent_s, peer.pinged_s = now.s - peer.ping_sent_s, None, now.s
        peer.rtt_ms, peer.lag_ms, peer.records = rtt_s * 1000, pong.lag_ms, pong.records
        peer.offset_ms = pong.wall_ms - (peer.ping_sent_wall_ms + int(rtt_s * 500))
        same = self._reconciliation.fingerprint(*peer.ping_window_ms) == pong.fingerprint
        return self._compare(node_id, same, now)

    def _make_ping(self, peer: Peer, lag_ms: int, now: Now) -> Ping:
        lower_age_ms, upper_age_ms = self._reconciliation.window_ages_ms(max(-peer.offset_ms, 0))
        peer.ping_seq += 1
        peer.ping_sent_s, peer.ping_sent_wall_ms = now.s, now.wall_ms
        peer.ping_window_ms = (now.wall_ms - lower_age_ms, now.wall_ms - upper_age_ms)
        fingerprint = self._reconciliation.fingerprint(*peer.ping_window_ms)
        held = len(self._holdings)
        rtt_us = int((peer.rtt_ms or 0.0) * 1000)
        return Ping(peer.ping_seq, now.wall_ms, lag_ms, held, lower_age_ms, upper_age_ms, fingerprint, rtt_us)

    def _compare(self, node_id: bytes, same: bool, now: Now) -> list[Effect]:
        """Act on what a ping showed: the clocks, then whether both hold the same."""
        peer = self._membership.peers[node_id]
        refusal = clock_refusal(peer.offset_ms)
        if refusal is not None:
            return [Close(node_id, *refusal)]
        peer.in_sync = same
        if same:
            peer.synced_s = now.s
            self._reconciliation.equals(node_id)
            return []
        ours = (len(self._holdings), self._membership.node_id) < (peer.records, node_id)
        return self._reconciliation.differs(node_id, now, ours=ours)
