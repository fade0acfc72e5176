"""Beacons by anybody: damaged ones say nothing, forged ones lead to a rationed dial, none is answered.

The seed is fixed. `DAYFLY_TEST_LONG=1`: 20,000 in place of 3,000. A flood from another host, with the dials
counted on the wire, is in tests/hosts/test_beacon_flood.py.
"""

import socket
import time
from collections.abc import Iterator
from random import Random

import pytest

from cluster.address import parse_address
from cluster.beacon import BEACON_BYTES, Beacon, BeaconCodec, open_beacon_key
from cluster.candidates import BEACON_DIALS_PER_S
from tests.background import Background
from tests.hostile.siege import LONG, besieged, two_nodes
from tests.processes import Cluster

BEACONS = 20_000 if LONG else 3_000


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    """Two linked nodes that hear beacons."""
    with two_nodes() as made:
        yield made


class DeadEnd(Background):
    """A port on which nobody is a node: connections are counted and closed."""

    def __init__(self) -> None:
        super().__init__()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.05)
        self.port = int(self._socket.getsockname()[1])
        self.dials = 0

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self._socket.close()

    def run(self) -> None:
        """Count until told to stop."""
        while not self.over.is_set():
            try:
                self._socket.accept()[0].close()
                self.dials += 1
            except TimeoutError:
                pass


def damaged(beacon: bytes, rng: Random) -> bytes:
    """A beacon with another length, other bytes, or nothing of itself."""
    match rng.randrange(4):
        case 0:
            return beacon[: rng.randrange(BEACON_BYTES)]
        case 1:
            return beacon + rng.randbytes(rng.randint(1, 1_000))
        case 2:
            return rng.randbytes(BEACON_BYTES)
        case _:
            at = rng.randrange(BEACON_BYTES)
            return beacon[:at] + bytes([beacon[at] ^ 1 << rng.randrange(8)]) + beacon[at + 1 :]


def test_damaged_and_forged_beacons_cost_a_dial_now_and_then(nodes: Cluster) -> None:
    """Half are damaged, half are whole and lie about who is where; nobody is answered."""
    rng, codec = Random(22), BeaconCodec([open_beacon_key(nodes.name)])
    group = parse_address(nodes.group)
    with DeadEnd() as end, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
        out.bind(("127.0.0.1", 0))
        began = time.monotonic()
        with besieged(nodes, f"{BEACONS} forged beacons"):
            for number in range(BEACONS):
                beacon = codec.encode(Beacon(rng.randbytes(16), end.port, rng.randrange(2**64)))
                out.sendto(damaged(beacon, rng) if number % 2 else beacon, group)
                if number % 100 == 99:  # what the socket cannot hold is dropped and attacks nobody
                    nodes.nodes[0].get("/v1/peers")
        lasted_s = time.monotonic() - began
        out.setblocking(False)
        with pytest.raises(BlockingIOError):
            out.recv(100)
    print(f"{end.dials} dials to a dead end in {lasted_s:.1f} s by {len(nodes.nodes)} nodes")
    assert 0 < end.dials <= len(nodes.nodes) * BEACON_DIALS_PER_S * (lasted_s + 2)
    assert all(len(node.peers) == 1 for node in nodes.nodes)
