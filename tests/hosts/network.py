"""Hosts on one wire, and what can go wrong with the wire.

Each host is a network namespace with one cable (veth) to a bridge; the bridge stands in a namespace of
its own and has no address and no uplink, so the machine's network is never touched and nothing gets out.

- A *split* moves cables to a second bridge: both halves go on working inside, and connections between
  them go silent without a reset, as when a switch between two rooms dies.
- *Loss* and *one-way cuts* are packet filters of the bridge: a packet that is dropped was sent, as far as
  its sender knows.
- A *rate* is a token bucket on the cable towards a host.

Faults are only ever added; `heal` takes all of them away.
"""

import contextlib
import shutil
from collections.abc import Generator, Iterable

import pytest

from tests.hosts.namespaces import Namespace, NotPermitted

SUBNET = "10.77.0"
TOOLS = ("ip", "nft", "tc", "unshare", "setpriv")


class Host:
    """One machine: `number` from 1; its cable is `p<number>` at the bridge and eth0 here."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.space = Namespace()
        self.address = f"{SUBNET}.{number}"

    def configure(self) -> None:
        """Give both interfaces their addresses; multicast goes out on the cable."""
        self.space.run(
            *("ip", "-batch", "-"),
            script=f"""
                link set lo up
                addr add {self.address}/24 brd + dev eth0
                link set eth0 up
                route add 224.0.0.0/4 dev eth0
            """,
        )

    def move(self, address: str) -> None:
        """Take another address, as a machine does that gets a new lease."""
        # With the last address of an interface its routes go too.
        self.space.run(
            *("ip", "-batch", "-"),
            script=f"""
                addr del {self.address}/24 dev eth0
                addr add {address}/24 brd + dev eth0
                route replace 224.0.0.0/4 dev eth0
            """,
        )
        self.address = address


class Network:
    """Hosts 1 … count on one bridge. Raises NotPermitted where that cannot be."""

    def __init__(self, count: int) -> None:
        missing = [tool for tool in TOOLS if shutil.which(tool) is None]
        if missing:
            raise NotPermitted(f"no {', '.join(missing)} on this machine")
        self._rules: list[str] = []
        self._slow: list[int] = []
        with contextlib.ExitStack() as made:
            self._switch = Namespace()
            made.callback(self._switch.close)
            self.hosts = [Host(i) for i in range(1, count + 1)]
            for host in self.hosts:
                made.callback(host.space.close)
            self._ip(*_bridge("br0"), *_bridge("br1"))
            self._ip(*(line for host in self.hosts for line in _cable(host)))
            for host in self.hosts:
                host.configure()
            self._try_filter()
            self._open = made.pop_all()

    # --- faults -----------------------------------------------------------------------------------------

    def split(self, hosts: Iterable[Host]) -> None:
        """Put `hosts` on a bridge of their own."""
        self._ip(*(f"link set p{host.number} master br1" for host in hosts))

    def lose(self, percent: int) -> None:
        """Drop this share of all packets, each copy of a multicast by itself."""
        self._filter(f"numgen random mod 100 < {percent} drop")

    def cut(self, source: Host, target: Host) -> None:
        """Drop what `source` sends to `target`, and nothing the other way."""
        self._filter(f'iifname "p{source.number}" oifname "p{target.number}" drop')

    def slow(self, target: Host, rate: str) -> None:
        """Let no more than `rate` (`1mbit`) through to `target`."""
        what = ("root", "tbf", "rate", rate, "burst", "16kb", "latency", "200ms")
        self._switch.run("tc", "qdisc", "replace", "dev", f"p{target.number}", *what)
        self._slow.append(target.number)

    def heal(self) -> None:
        """Take away every fault."""
        self._ip(*(f"link set p{host.number} master br0" for host in self.hosts))
        self._rules = []
        self._filter()
        for number in self._slow:
            self._switch.run("tc", "qdisc", "del", "dev", f"p{number}", "root")
        self._slow = []

    # --- lifetime ---------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of all namespaces; the kernel removes them with everything in them."""
        self._open.close()

    def _ip(self, *lines: str) -> None:
        self._switch.run("ip", "-batch", "-", script="\n".join(lines) + "\n")

    def _filter(self, *rules: str) -> None:
        """Add rules and put all of them into force at once."""
        self._rules += rules
        chain = "\n".join(["type filter hook forward priority 0", *self._rules])
        table = f"table bridge faults {{\nchain forward {{\n{chain}\n}}\n}}\n"
        script = f"table bridge faults\ndelete table bridge faults\n{table}"
        self._switch.run("nft", "-f", "-", script=script)

    def _try_filter(self) -> None:
        try:
            self.lose(0)
            self.heal()
        except AssertionError as error:
            raise NotPermitted(f"no packet filter for bridges here: {error}") from error


@contextlib.contextmanager
def network(count: int) -> Generator[Network, None, None]:
    """Make a network that does not outlive the block; where that cannot be, skip the test and say why."""
    try:
        made = Network(count)
    except NotPermitted as reason:
        pytest.skip(str(reason))
    try:
        yield made
    finally:
        made.close()


def _bridge(name: str) -> Iterable[str]:
    """Without snooping: nobody here asks who listens to which group, so nobody would get any."""
    yield f"link add {name} type bridge mcast_snooping 0 stp_state 0 forward_delay 0"
    yield f"link set {name} up"


def _cable(host: Host) -> Iterable[str]:
    yield f"link add p{host.number} type veth peer name eth0 netns {host.space.path}"
    yield f"link set p{host.number} master br0 up"
