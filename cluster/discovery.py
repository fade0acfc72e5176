"""Beacons in and out over UDP multicast, on loopback unless told otherwise.

On loopback the time to live is 0 and the group is joined on the loopback interface only, so nothing
leaves the machine and nothing from outside comes in. With `lan` it is 1 (the local network) and every
IPv4 interface takes part. No interface that takes part is an error to work around, not to die of:
seeds still work.
"""

import socket
import struct
import sys
from collections.abc import Callable

import ifaddr
import structlog
import trio

from cluster.beacon import BEACON_BYTES, Beacon, BeaconCodec

_log = structlog.get_logger("dayfly.discovery")

LOOPBACK = "127.0.0.1"
IP_MULTICAST_ALL = 49
"""Linux's socket option, not in Python's socket module: 0 delivers only groups this very socket joined."""

DRAIN_DATAGRAMS = 64
"""Datagrams read before other tasks get a turn: a flood must not hold the loop."""


class Discovery:
    """One multicast group: announce ourselves, report who else does."""

    def __init__(self, group: str, port: int, *, lan: bool, codec: BeaconCodec) -> None:
        self._group = group
        self._port = port
        self._lan = lan
        self._codec = codec
        self._senders: list[socket.socket] = []
        self.interfaces: list[str] = []

    async def run(
        self,
        heard: Callable[[Beacon, str], None],
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen for beacons until cancelled; `heard(beacon, source ip)` is called for each of ours."""
        receiver = self._open_receiver()
        task_status.started()
        if receiver is None:
            return
        with receiver:
            try:
                while True:
                    await trio.lowlevel.wait_readable(receiver)
                    self._drain(receiver, heard)
            finally:
                for sender in self._senders:
                    sender.close()

    def announce(self, beacon: Beacon) -> None:
        """Send one beacon on every interface. Never waits; one that cannot be sent is not missed."""
        datagram = self._codec.encode(beacon)
        for sender in self._senders:
            try:
                sender.sendto(datagram, (self._group, self._port))
            except OSError as error:
                _log.debug("beacon not sent", error=str(error))

    def _drain(self, receiver: socket.socket, heard: Callable[[Beacon, str], None]) -> None:
        for _ in range(DRAIN_DATAGRAMS):
            try:
                datagram, source = receiver.recvfrom(BEACON_BYTES + 1)
            except OSError:  # BlockingIOError: nothing is left to read
                return
            beacon = self._codec.decode(datagram)
            if beacon is not None:
                heard(beacon, source[0])

    def _open_receiver(self) -> socket.socket | None:
        receiver = _datagram_socket()
        try:
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "SO_REUSEPORT"):
                receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            receiver.bind((self._group, self._port))
            if sys.platform == "linux":
                receiver.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
        except OSError as error:
            receiver.close()
            _log.warning("no multicast: only --join finds peers", group=self._group, error=str(error))
            return None
        for interface in _ipv4_addresses() if self._lan else [LOOPBACK]:
            self._join(receiver, interface)
        if not self.interfaces:
            receiver.close()
            _log.warning("no interface takes multicast: only --join finds peers", group=self._group)
            return None
        return receiver

    def _join(self, receiver: socket.socket, interface: str) -> None:
        """Take part on one interface (an IPv4 address of this machine)."""
        membership = struct.pack("4s4s", socket.inet_aton(self._group), socket.inet_aton(interface))
        sender = _datagram_socket()
        try:
            receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1 if self._lan else 0)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            sender.bind((interface, 0))
        except OSError as error:
            sender.close()
            _log.debug("interface takes no multicast", interface=interface, error=str(error))
            return
        self._senders.append(sender)
        self.interfaces.append(interface)


def _ipv4_addresses() -> list[str]:
    return [str(ip.ip) for adapter in ifaddr.get_adapters() for ip in adapter.ips if ip.is_IPv4]


def _datagram_socket() -> socket.socket:
    """Make a non-blocking datagram socket; trio waits for its readiness, plain calls do the rest (a third
    of the cost per datagram)."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made
