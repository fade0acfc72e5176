"""How far a peer is behind what it was pushed: flow control by cumulative acknowledgements.

What was written to a peer may lie unread for long: kernels take megabytes, seconds of a busy node's work.
So each side counts the records of the pushes between them, in the order of the link, and the receiver says
from time to time how many have been through its admission. The difference is what a sender can wait for.
A post never waits for it, a batch does (cluster/backpressure.py).
"""

from collections import deque
from collections.abc import Collection, Sequence

from cluster.messages import WireRecord

BEHIND_RECORDS = 512
"""A peer that has not yet admitted so many is behind. Our choice, measured with ten nodes on two cores: with
1,024 some fall so far behind that others announce to them what lies unread in their own sockets, and they ask
for it; with 256 a cluster of three runs dry between two acknowledgements (a tenth slower)."""

BEHIND_BYTES = 256 * 1024
"""The same for large records."""

UNACKED_FRAMES_MAX = 2 * BEHIND_RECORDS
"""Frames whose sizes are remembered one by one until they are acknowledged; further ones count as part of the
last, or a peer that never acknowledges would have all of them remembered. It is behind by then anyway."""

ACK_RECORDS = 128
ACK_BYTES = 64 * 1024
"""A receiver acknowledges after so many records or bytes, a quarter of what makes it behind: it is told of
room before the sender runs dry, and a single post costs no acknowledgement."""


class SendWindow:
    """What one peer was pushed and has not acknowledged."""

    def __init__(self) -> None:
        self._pushed = 0
        self._acked = 0
        self._unacked: deque[tuple[int, int]] = deque()  # per frame: records pushed up to its end, its bytes
        self._unacked_bytes = 0
        self._given_up = False

    @property
    def behind(self) -> bool:
        """Whether the peer takes records more slowly than they come, and takes some."""
        return not self._given_up and (
            self._pushed - self._acked > BEHIND_RECORDS or self._unacked_bytes > BEHIND_BYTES
        )

    def pushed(self, records: int, frame_bytes: int) -> None:
        """Count a frame that is queued for the peer."""
        self._pushed += records
        self._unacked_bytes += frame_bytes
        if len(self._unacked) >= UNACKED_FRAMES_MAX:
            frame_bytes += self._unacked.pop()[1]
        self._unacked.append((self._pushed, frame_bytes))

    def acked(self, records: int) -> bool:
        """Note that the peer has admitted so many records since the link came up.

        Returns:
            whether that is possible; nothing was noted if not (the peer's fault).
        """
        if not self._acked <= records <= self._pushed:
            return False
        self._acked = records
        while self._unacked and self._unacked[0][0] <= records:
            self._unacked_bytes -= self._unacked.popleft()[1]
        self._given_up = False
        return True

    def give_up(self) -> None:
        """Wait for this peer no more until it acknowledges something again."""
        self._given_up = True


class ReceiveWindow:
    """What one peer pushed here, and how much of it was acknowledged."""

    def __init__(self) -> None:
        self._taken = 0
        self._records = 0
        self._bytes = 0

    def take(self, records: Sequence[WireRecord]) -> int:
        """Count records that have been through admission. Returns what to acknowledge now; 0 for nothing."""
        self._taken += len(records)
        self._records += len(records)
        # As the sender counts, in UTF-8: of four bytes a character it would wait for what is not due yet.
        self._bytes += sum([len(r.raw) if r.raw.isascii() else len(r.raw.encode()) for r in records])
        if self._records < ACK_RECORDS and self._bytes < ACK_BYTES:
            return 0
        self._records = self._bytes = 0
        return self._taken


def crowded(windows: Collection[SendWindow]) -> bool:
    """Whether more than a quarter of the peers are behind, so that a batch being posted should wait.

    A few slow ones among many cost nobody else any time: what finds no room for them is announced.
    """
    return 4 * sum(window.behind for window in windows) > len(windows)
