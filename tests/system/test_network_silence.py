"""A node started for a look keeps to its machine: watched on a wire that leads elsewhere.

The node runs in a network namespace of its own that has, besides loopback, one end of a cable (veth) with
an address and a default route. Whatever passes that end is counted by the kernel. The namespace sends a
little by itself when the cable comes up, so IPv6 is off and the count starts after that.
"""

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass

import pytest

from tests.processes import ROOT

INSIDE = """
set -e
ip link set lo up
ip link add cable type veth peer name far
echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6 2>/dev/null || true
ip addr add 10.77.0.1/24 dev cable
ip link set cable up
ip link set far up
ip route add default dev cable
exec "$@"
"""

RUN = """
import json, sys
sys.path.insert(0, ".")
from pathlib import Path
from tests.processes import Cluster, wait_until

def sent():
    lines = Path("/proc/net/dev").read_text().splitlines()
    return next(int(l.split(":")[1].split()[9]) for l in lines if l.strip().startswith("cable:"))

cluster = Cluster(*sys.argv[1:])
before = sent()
try:
    a, b = cluster.start(2)
    a.post("hello")
    cluster.wait_equal(1)
    bound = (Path("/proc/net/tcp").read_text() + Path("/proc/net/udp").read_text()).splitlines()
    listening = [l.split()[1] for l in bound if " 0A " in l or "00000000:0000 07" in l]
    print(json.dumps({"sent": sent() - before, "listening": listening}))
finally:
    cluster.close()
"""


@dataclass
class Seen:
    """What was seen: packets out on the cable, and local addresses that listen (as the kernel lists them)."""

    sent: int
    listening: list[str]


def run_beside_a_cable(*options: str) -> Seen:
    """Start two nodes beside the cable, post a record, and count what went out on it."""
    if sys.platform != "linux":
        pytest.skip("network namespaces are a thing of Linux")
    wrap = ["unshare", "--net", "--mount-proc", "--fork", "--pid"]
    if os.geteuid() != 0:
        wrap[1:1] = ["--user", "--map-root-user"]
    try:
        probe = subprocess.run(
            [*wrap, "sh", "-c", INSIDE, "sh", "true"], capture_output=True, text=True, timeout=20, check=False
        )
    except FileNotFoundError as error:
        pytest.skip(f"no {error.filename} on this machine")
    if probe.returncode:
        pytest.skip(f"no network namespaces here: {probe.stderr.strip()[-200:]}")
    done = subprocess.run(
        [*wrap, "sh", "-c", INSIDE, "sh", sys.executable, "-c", textwrap.dedent(RUN), *options],
        capture_output=True,
        text=True,
        timeout=90,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    return Seen(seen["sent"], seen["listening"])


def test_nothing_leaves_loopback_by_default() -> None:
    """Two nodes find each other and share a record; not one packet goes out, no port is open outside."""
    seen = run_beside_a_cable()

    assert seen.sent == 0
    assert seen.listening
    # Loopback, and the receivers of beacons, bound to the group that only loopback's membership feeds
    # (239.255.77.78, in the kernel's byte order).
    assert all(a.startswith(("0100007F:", "4E4DFFEF:")) for a in seen.listening), seen


def test_with_lan_the_node_announces_itself() -> None:
    """The same count sees beacons when they are asked for: the test above can fail."""
    seen = run_beside_a_cable("--lan")

    assert seen.sent > 0
