"""What became of each record, seen from outside: hops, copies, announcements, bytes, times.

Nothing of this is on the wire. A node's host tells the probe what it has taken; the probe counts what
concerns records that clients posted, and leaves the cluster's own talk (pings, member facts, views) out.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cluster.codec import encode, encode_push, split_digests
from cluster.exports import Admitted
from cluster.messages import IHave, Message, Want
from tests.sim.scale_overlay import Flooded
from validator import Record

if TYPE_CHECKING:
    from tests.sim.host import Host
    from tests.sim.world import World

ANNOUNCED_BYTES = 32
"""A digest in an announcement or a request. The frame around it is added once for each frame."""


@dataclass(slots=True)
class Track:
    """One record's way.

    Attributes:
        origin, posted_s: where and when it was posted.
        first: whether it is its origin's first since the probe was reset.
        arrived_s, hops: by node id: when it came to a node, and over how many links. The origin's are there.
        payloads, announced, wanted: copies, announcements and requests that came in anywhere.
        bytes: of all three, frames included.
        flooded: how flooding would have spread it, or None if that was not computed.
    """

    origin: bytes
    posted_s: float
    first: bool
    push_bytes: int
    arrived_s: dict[bytes, float] = field(default_factory=dict[bytes, float])
    hops: dict[bytes, int] = field(default_factory=dict[bytes, int])
    payloads: int = 0
    announced: int = 0
    wanted: int = 0
    bytes: int = 0
    flooded: Flooded | None = None


class Probe:
    """Tracks the records posted since the last `reset`."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.tracks: dict[bytes, Track] = {}
        self.messages: Counter[str] = Counter()
        self._origins: set[bytes] = set()

    def reset(self) -> None:
        """Begin anew: records posted before are no longer counted."""
        self.tracks, self.messages = {}, Counter()
        self._origins = set()

    def posted(self, host: "Host", record: Record) -> Track:
        """A client has posted a record."""
        first = host.node_id not in self._origins
        self._origins.add(host.node_id)
        now_s = self._world.now_s
        track = Track(host.node_id, now_s, first, len(encode_push([record])))
        track.arrived_s[host.node_id], track.hops[host.node_id] = now_s, 0
        self.tracks[record.digest] = track
        return track

    def heard(self, message: Message) -> None:
        """A node has got a message without records."""
        self.messages[type(message).__name__] += 1
        if not isinstance(message, IHave | Want):
            return
        tracks = [t for d in split_digests(message.digests) if (t := self.tracks.get(d)) is not None]
        if not tracks:
            return
        frame_bytes = len(encode(message)) - len(message.digests)
        for track in tracks:
            track.bytes += ANNOUNCED_BYTES + frame_bytes // len(tracks)
            if isinstance(message, IHave):
                track.announced += 1
            else:
                track.wanted += 1

    def admitted(self, host: "Host", peer: bytes, admitted: Admitted) -> None:
        """A node has taken records from a peer."""
        for digest in admitted.stored:
            track = self.tracks.get(digest)
            if track is not None:
                track.payloads += 1
                track.bytes += track.push_bytes
                track.arrived_s[host.node_id] = self._world.now_s
                track.hops[host.node_id] = track.hops.get(peer, 0) + 1
        for digest in admitted.known:
            track = self.tracks.get(digest)
            if track is not None:
                track.payloads += 1
                track.bytes += track.push_bytes
