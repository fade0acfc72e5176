"""Forge beacons: right cluster, made-up nodes and ports, as many a second as asked for.

A program of its own, so that it does not slow down the test that watches: run it on a host of the test's
network, `python -m tests.hosts.flood CLUSTER GROUP:PORT SOURCE PER_S`. It prints a line when it begins,
and how many it sent when its standard input ends.
"""

import random
import select
import socket
import sys
import time

from cluster.beacon import Beacon, BeaconCodec, open_beacon_key

FORGED = 100_000
"""Made in advance and then sent in turn: ten seconds' worth."""
BATCH = 50


def main(cluster: str, group: str, source: str, per_s: int) -> None:
    """Flood until standard input ends."""
    codec, rng = BeaconCodec([open_beacon_key(cluster)]), random.Random(0)
    forged = [
        codec.encode(Beacon(rng.randbytes(16), rng.randrange(1, 65536), int(time.time() * 1000)))
        for _ in range(FORGED)
    ]
    host, _, port = group.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(source))
        out.bind((source, 0))
        print("begun", flush=True)
        sent, began = 0, time.monotonic()
        while not select.select([sys.stdin], [], [], max(began + sent / per_s - time.monotonic(), 0))[0]:
            for datagram in forged[sent % FORGED : sent % FORGED + BATCH]:
                out.sendto(datagram, (host, int(port)))
            sent += BATCH
        print(sent / (time.monotonic() - began), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
