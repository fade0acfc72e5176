"""Beacons over real multicast on loopback: who takes part, and from when."""

import socket

import trio

from cluster.beacon import Beacon, BeaconCodec, open_beacon_key
from cluster.discovery import LOOPBACK, Discovery

GROUP = "239.255.77.79"


def ignore(beacon: Beacon, source: str) -> None:
    """Hear nothing."""


async def test_an_interface_that_comes_later_takes_part_and_one_that_goes_is_let_go() -> None:
    """A node may be up before its network is, and the network may come and go."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((GROUP, 0))
        port = free.getsockname()[1]
    codec, there, heard = BeaconCodec([open_beacon_key("c")]), list[str](), list[Beacon]()
    early = Discovery(GROUP, port, lan=True, codec=codec, addresses=lambda: list(there))
    other = Discovery(GROUP, port, lan=False, codec=codec)
    beacon, came = Beacon(bytes(16), 7946, 1), trio.Event()

    def hear(beacon: Beacon, source: str) -> None:
        heard.append(beacon)
        came.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(early.run, ignore)
        await nursery.start(other.run, hear)
        early.announce(beacon)
        at_first = early.interfaces
        there.append(LOOPBACK)
        early.announce(beacon)
        later = early.interfaces
        with trio.fail_after(5):
            await came.wait()
        there.clear()
        early.announce(beacon)
        at_last = early.interfaces
        there.append(LOOPBACK)
        early.announce(beacon)
        again = early.interfaces
        nursery.cancel_scope.cancel()

    assert (at_first, later, at_last, again) == ([], [LOOPBACK], [], [LOOPBACK])
    assert heard[0] == beacon
