"""A beacon: 58 bytes by multicast that say "a node of this cluster listens there".

It only announces. It is never answered, so a forged one cannot make a node send anything to a third
party; all it can lead to is a rationed dial, and who is really there is settled by the handshake.

Layout, big-endian: magic and version (4), cluster tag (8), node id (16), TCP port (2), epoch (8: Unix
milliseconds of the node's start), keyed BLAKE2b tag over all before it (16). With cluster keys the tag's
key is derived from one of them, so whoever made the beacon had it. Whoever sent it need not: a recorded one
can be sent again, as often and from whatever address one likes, and leads to rationed dials as a forged one.
Without cluster keys the tag's key is derived from the cluster's name: beacons of another cluster and stray
datagrams fall out, and anybody can make one. The epoch is for people who look at the wire: to refuse a lower
one would lock out a node whose clock was set back, and let the newest be replayed all the same.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest
from random import Random

from cluster.messages import NODE_ID_BYTES

_MAGIC = b"DFB1"
_LAYOUT = struct.Struct(f">4s8s{NODE_ID_BYTES}sHQ")
_TAG_BYTES = 16

BEACON_BYTES = _LAYOUT.size + _TAG_BYTES


@dataclass(frozen=True, slots=True)
class Beacon:
    """What a beacon says. `epoch_ms`: Unix milliseconds of the node's start; nothing is decided by it."""

    node_id: bytes
    port: int
    epoch_ms: int


def open_beacon_key(cluster: str) -> bytes:
    """Return the key of beacons of an open cluster: no secret."""
    return blake2b(cluster.encode(), digest_size=32, person=b"dayfly-beacon").digest()


class BeaconCodec:
    """Encode and decode the beacons of one cluster."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self.use(keys)

    def use(self, keys: Sequence[bytes]) -> None:
        """Use these keys from now on, of 32 bytes each: the first one to send, all are accepted."""
        self._keys = [(blake2b(b"cluster", digest_size=8, key=key).digest(), key) for key in keys]

    def encode(self, beacon: Beacon) -> bytes:
        """Return the datagram that announces `beacon`."""
        cluster_tag, key = self._keys[0]
        body = _LAYOUT.pack(_MAGIC, cluster_tag, beacon.node_id, beacon.port, beacon.epoch_ms)
        return body + _tag(body, key)

    def decode(self, datagram: bytes) -> Beacon | None:
        """Return what a datagram announces, or None if it is not a beacon of this cluster."""
        if len(datagram) != BEACON_BYTES or datagram[:4] != _MAGIC:
            return None
        body, tag = datagram[:-_TAG_BYTES], datagram[-_TAG_BYTES:]
        key = next((key for cluster_tag, key in self._keys if cluster_tag == body[4:12]), None)
        if key is None or not compare_digest(tag, _tag(body, key)):
            return None
        _, _, node_id, port, epoch_ms = _LAYOUT.unpack(body)
        return Beacon(node_id, port, epoch_ms) if port else None


def _tag(body: bytes, key: bytes) -> bytes:
    return blake2b(body, digest_size=_TAG_BYTES, key=key).digest()


BURST_S = (0.2, 0.8)
SEARCHING_S = 5.0
COMPLETE_S = 30.0
"""A starting node is heard three times in its first second, a searching one every 5 s, a settled one
every 30 s: Zyre's one beacon a second floods large networks (czmq 902)."""


class BeaconSchedule:
    """When to send a beacon. `next_s`: monotonic seconds; the first is due at once."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._burst = list(BURST_S)
        self.next_s = 0.0

    def due(self, now_s: float, *, complete: bool) -> bool:
        """Whether to send one now; plans the next. `complete`: nobody is looked for."""
        if now_s < self.next_s:
            return False
        wait_s = COMPLETE_S if complete else SEARCHING_S
        self.next_s = now_s + (self._burst.pop(0) if self._burst else wait_s * self._rng.uniform(0.8, 1.2))
        return True

    def hurry(self, now_s: float) -> None:
        """Somebody was lost: the next one is due within `SEARCHING_S`."""
        self.next_s = min(self.next_s, now_s + SEARCHING_S)
