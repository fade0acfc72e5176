"""Beacons in and out over UDP multicast, on loopback unless told otherwise.

On loopback the time to live is 0 and the group is joined on the loopback interface only, so nothing
leaves the machine and nothing from outside comes in. With `lan` it is 1 (the local network) and every
IPv4 interface takes part, also one that comes later: a node may be up before its network is. No interface
that takes part is an error to work around, not to die of: seeds still work.
"""

import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress

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


def _ipv4_addresses() -> list[str]:
    return [str(ip.ip) for adapter in ifaddr.get_adapters() for ip in adapter.ips if ip.is_IPv4]


class Discovery:
    """One multicast group: announce ourselves, report who else does.

    Args:
        lan: whether to take part on all interfaces, in place of loopback.
        addresses: tells their IPv4 addresses.
    """

    def __init__(
        self,
        group: str,
        port: int,
        *,
        lan: bool,
        codec: BeaconCodec,
        addresses: Callable[[], list[str]] = _ipv4_addresses,
    ) -> None:
        self._group = group
        self._port = port
        self._lan = lan
        self._codec = codec
        self._addresses = addresses
        self._receiver: socket.socket | None = None
        self._senders: dict[str, socket.socket] = {}  # by interface

    @property
    def interfaces(self) -> list[str]:
        """IPv4 addresses of the interfaces that take part."""
        return list(self._senders)

    async def run(
        self,
        heard: Callable[[Beacon, str], None],
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen for beacons until cancelled; `heard(beacon, source ip)` is called for each of ours."""
        receiver = self._receiver = self._open_receiver()
        if receiver is not None:
            self._look(receiver)
            if not self._senders:
                _log.warning("no interface takes multicast: only --join finds peers", group=self._group)
        task_status.started()
        if receiver is None:
            return
        with receiver:
            try:
                while True:
                    await trio.lowlevel.wait_readable(receiver)
                    self._drain(receiver, heard)
            finally:
                self._receiver = None
                for sender in self._senders.values():
                    sender.close()

    def announce(self, beacon: Beacon) -> None:
        """Send one beacon on every interface. Never waits; one that cannot be sent is not missed."""
        datagram = self._codec.encode(beacon)
        if self._lan and self._receiver is not None:
            self._look(self._receiver)
        for sender in self._senders.values():
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
        return receiver

    def _look(self, receiver: socket.socket) -> None:
        """Take part on the interfaces there are now."""
        try:
            there = self._addresses() if self._lan else [LOOPBACK]
        except OSError as error:  # no descriptor is free
            _log.debug("interfaces not looked at", error=str(error))
            return
        for interface in set(self._senders) - set(there):
            self._senders.pop(interface).close()
            with suppress(OSError):  # mostly it has gone with the interface
                receiver.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, self._membership(interface))
        for interface in there:
            if interface not in self._senders:
                self._join(receiver, interface)

    def _membership(self, interface: str) -> bytes:
        return struct.pack("4s4s", socket.inet_aton(self._group), socket.inet_aton(interface))

    def _join(self, receiver: socket.socket, interface: str) -> None:
        """Take part on one interface (an IPv4 address of this machine)."""
        try:
            sender = _datagram_socket()
        except OSError as error:
            _log.debug("no descriptor for an interface", interface=interface, error=str(error))
            return
        try:
            receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, self._membership(interface))
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1 if self._lan else 0)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            sender.bind((interface, 0))
        except OSError as error:
            sender.close()
            _log.debug("interface takes no multicast", interface=interface, error=str(error))
            return
        self._senders[interface] = sender


def _datagram_socket() -> socket.socket:
    """Make a non-blocking datagram socket; trio waits for its readiness, plain calls do the rest (a third
    of the cost per datagram)."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made
