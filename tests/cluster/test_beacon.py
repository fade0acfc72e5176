"""Beacons say who listens where, to their own cluster only."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.beacon import BEACON_BYTES, Beacon, BeaconCodec

beacons = st.builds(
    Beacon, st.binary(min_size=16, max_size=16), st.integers(1, 65535), st.integers(0, 2**64 - 1)
)


@given(beacons)
def test_a_beacon_survives_the_wire(beacon: Beacon) -> None:
    """What was announced is heard, in at most 120 bytes."""
    datagram = BeaconCodec("c").encode(beacon)

    assert len(datagram) == BEACON_BYTES <= 120
    assert BeaconCodec("c").decode(datagram) == beacon


@given(beacons)
def test_another_cluster_hears_nothing(beacon: Beacon) -> None:
    """The cluster's name is the key."""
    assert BeaconCodec("other").decode(BeaconCodec("c").encode(beacon)) is None


@given(beacons, st.integers(0, BEACON_BYTES - 1), st.integers(1, 255))
def test_a_damaged_beacon_is_dropped(beacon: Beacon, at: int, flip: int) -> None:
    """Any one byte changed is noticed."""
    damaged = bytearray(BeaconCodec("c").encode(beacon))
    damaged[at] ^= flip

    assert BeaconCodec("c").decode(bytes(damaged)) is None


@given(st.binary(max_size=200))
def test_junk_is_dropped(junk: bytes) -> None:
    """Random datagrams are no beacons."""
    assert BeaconCodec("c").decode(junk) is None


def test_a_beacon_without_a_port_is_dropped() -> None:
    """Nobody can be dialled on port 0."""
    codec = BeaconCodec("c")
    assert codec.decode(codec.encode(Beacon(bytes(16), 0, 1))) is None
