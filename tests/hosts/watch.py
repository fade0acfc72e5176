"""What comes out at the end of a host's cable, read packet by packet beside its network stack.

So it sees what a packet filter on the host throws away, and nothing that the host itself sends.
"""

import contextlib
import socket
import struct
import time
from collections import Counter

from tests.background import Background
from tests.hosts.network import Host

_ETH_P_IP = 0x0800
_SYN, _ACK = 0x02, 0x10


class Watch(Background):
    """Counts the packets that come to a host's own address, until the block ends.

    Attributes:
        connects: when each attempt to connect was first seen (monotonic seconds), by source address; one
            that is repeated because nobody answered counts once.
        others: how many of everything else, by protocol and source address. A TCP packet without payload
            that is not a SYN says nothing and is left out.
    """

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._address = socket.inet_aton(host.address)
        with host.space.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP))
        self._socket.settimeout(0.1)
        self._seen: set[tuple[str, int, int]] = set()
        self.connects: dict[str, list[float]] = {}
        self.others: Counter[tuple[str, str]] = Counter()

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self._socket.close()

    def run(self) -> None:
        """Count."""
        while not self.over.is_set():
            with contextlib.suppress(TimeoutError):
                packet = self._socket.recv(2048)
                if packet[16:20] == self._address:
                    self._count(packet)

    def _count(self, packet: bytes) -> None:
        """Take one IPv4 packet (RFC 791 and RFC 9293 for the offsets)."""
        source, body = socket.inet_ntoa(packet[12:16]), packet[(packet[0] & 15) * 4 :]
        if packet[9] != socket.IPPROTO_TCP:
            name = {socket.IPPROTO_UDP: "udp", socket.IPPROTO_ICMP: "icmp"}.get(packet[9], str(packet[9]))
            self.others[name, source] += 1
            return
        ports = struct.unpack("!HH", body[:4])
        if body[13] & (_SYN | _ACK) == _SYN:
            if (source, *ports) not in self._seen:
                self._seen.add((source, *ports))
                self.connects.setdefault(source, []).append(time.monotonic())
        elif struct.unpack("!H", packet[2:4])[0] > len(packet) - len(body) + (body[12] >> 4) * 4:
            self.others["tcp payload", source] += 1
