"""A network namespace that holds a loopback interface and nothing else, so that its counters are ours.

Root makes one directly; anybody else through a user namespace, where the kernel's settings allow it.
"""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from typing import NoReturn

from scripts.benches.machine import loopback_traffic

_MARK = "BENCH_NAMESPACE"
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_IP_UDP_HEADER_BYTES = 28


class NotPermitted(Exception):
    """This machine does not let us make a network namespace; says what would help."""


def inside() -> bool:
    """Whether this process is one that `restart_inside` made."""
    return _MARK in os.environ


def restart_inside() -> NoReturn:
    """Replace this process by the same one in a fresh network namespace.

    Raises:
        NotPermitted: this process goes on as it was.
    """
    path = shutil.which("unshare")
    if path is None:
        raise NotPermitted("there is no `unshare` command (util-linux) to make a network namespace with")
    unshare = [path, "--net"] if os.geteuid() == 0 else [path, "--user", "--map-root-user", "--net"]
    tried = subprocess.run([*unshare, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        raise NotPermitted(
            f"no network namespace can be made here ({tried.stderr.strip()}); run it as root, or allow "
            "user namespaces (sysctl kernel.unprivileged_userns_clone=1; in a container: CAP_SYS_ADMIN)"
        )
    os.execve(path, [*unshare, sys.executable, *sys.argv], os.environ | {_MARK: "1"})  # noqa: S606 - ourselves


def enter() -> None:
    """Bring the loopback interface up and check that it counts bytes as the figures assume."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))
        probe.bind(("127.0.0.1", 0))
        before = loopback_traffic()
        probe.sendto(bytes(100), probe.getsockname())
        probe.recv(100)
        after = loopback_traffic()
    counted = after.bytes - before.bytes, after.packets - before.packets, after.datagrams - before.datagrams
    if counted != (100 + _IP_UDP_HEADER_BYTES, 1, 1):
        raise AssertionError(f"a datagram of 100 bytes was counted as {counted} (bytes, packets, datagrams)")
