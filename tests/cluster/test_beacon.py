"""Beacons say who listens where, to their own cluster only."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.beacon import BEACON_BYTES, Beacon, BeaconCodec, open_beacon_key

OURS, OTHERS = BeaconCodec([open_beacon_key("c")]), BeaconCodec([open_beacon_key("other")])

beacons = st.builds(
    Beacon, st.binary(min_size=16, max_size=16), st.integers(1, 65535), st.integers(0, 2**64 - 1)
)


@given(beacons)
def test_a_beacon_survives_the_wire(beacon: Beacon) -> None:
    """What was announced is heard, in at most 120 bytes."""
    datagram = OURS.encode(beacon)

    assert len(datagram) == BEACON_BYTES <= 120
    assert OURS.decode(datagram) == beacon


@given(beacons)
def test_another_cluster_hears_nothing(beacon: Beacon) -> None:
    """The cluster's name is the key."""
    assert OTHERS.decode(OURS.encode(beacon)) is None


@given(beacons, st.integers(0, BEACON_BYTES - 1), st.integers(1, 255))
def test_a_damaged_beacon_is_dropped(beacon: Beacon, at: int, flip: int) -> None:
    """Any one byte changed is noticed."""
    damaged = bytearray(OURS.encode(beacon))
    damaged[at] ^= flip

    assert OURS.decode(bytes(damaged)) is None


@given(st.binary(max_size=200))
def test_junk_is_dropped(junk: bytes) -> None:
    """Random datagrams are no beacons."""
    assert OURS.decode(junk) is None


def test_a_beacon_without_a_port_is_dropped() -> None:
    """Nobody can be dialled on port 0."""
    assert OURS.decode(OURS.encode(Beacon(bytes(16), 0, 1))) is None


def test_a_node_whose_clock_was_set_back_is_heard() -> None:
    """Its epoch is lower than the one heard before: nothing is decided by it."""
    codec = BeaconCodec([b"k" * 32])
    for epoch_ms in (2, 1, 2):
        beacon = Beacon(bytes(16), 7946, epoch_ms)
        assert codec.decode(codec.encode(beacon)) == beacon


@given(beacons)
def test_a_beacon_is_accepted_under_any_key_and_sent_under_the_first(beacon: Beacon) -> None:
    """While a key is replaced, nodes that have promoted the new one and others hear each other."""
    old, new = b"o" * 32, b"n" * 32

    assert BeaconCodec([old, new]).decode(BeaconCodec([new, old]).encode(beacon)) == beacon
    assert BeaconCodec([new]).decode(BeaconCodec([new, old]).encode(beacon)) == beacon
    assert BeaconCodec([old]).decode(BeaconCodec([new, old]).encode(beacon)) is None
