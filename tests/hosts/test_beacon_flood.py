"""One host floods the group with forged beacons: it costs the others a rationed dial now and then."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster.candidates import BEACON_DIALS_PER_S
from cluster.flights import DIALS_IN_FLIGHT_MAX
from tests.background import Background
from tests.hosts.network import Host, Network, network
from tests.hosts.nodes import HostCluster, HostNode, host_cluster, seconds
from tests.hosts.watch import Watch
from tests.processes import ROOT, wait_until

PER_S = 10_000
FOUND_S_MAX = 10.0
RSS_MIB_MAX = 32
"""How much a node may grow: the addresses it remembers in a flood are bounded to some 10 MB."""

DEAF = "table ip deaf {\nchain input {\ntype filter hook input priority 0\ntcp flags syn drop\n}\n}\n"


@pytest.fixture
def small() -> Generator[Network, None, None]:
    """A wire of its own: a flood goes to every host on it."""
    with network(6) as made:
        yield made


@dataclass
class Flood:
    """What a flood came to; known when it is over."""

    per_s: float = 0.0


@contextlib.contextmanager
def flood(host: Host, cluster: HostCluster) -> Generator[Flood, None, None]:
    """Flood from `host` until the block ends."""
    program = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "tests.hosts.flood"]
    arguments = [cluster.name, cluster.group, host.address, str(PER_S)]
    with host.space.entered():
        process = subprocess.Popen(
            [*program, *arguments], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    made = Flood()
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        try:
            yield made
        finally:
            made.per_s = float(process.communicate()[0])


class InFlight(Background):
    """Looks, every few milliseconds, how many connections each node is waiting for; keeps the most."""

    def __init__(self, nodes: list[HostNode]) -> None:
        super().__init__()
        self._tables = [Path(f"/proc/{n.pid}/net/tcp") for n in nodes]
        self.most = 0

    def run(self) -> None:
        """Look until told to stop."""
        while not self.over.wait(0.02):
            for table in self._tables:
                # The table changes while it is read: those in two readings were there together in between.
                self.most = max(self.most, len(_waiting(table) & _waiting(table)))


def _waiting(table: Path) -> set[str]:
    """Return the local ends of the connections in state SYN_SENT (02)."""
    rows = (line.split() for line in table.read_text().splitlines()[1:])
    return {row[1] for row in rows if row[3] == "02"}


@pytest.fixture
def three(small: Network) -> Generator[HostCluster, None, None]:
    """Three nodes that are linked, on hosts 1 to 3."""
    with host_cluster() as cluster:
        for host in small.hosts[:3]:
            cluster.add_on(host)
        cluster.wait_listening()
        cluster.wait_up()
        yield cluster


def test_a_flood_of_forged_beacons_leads_to_few_dials_and_no_answer(
    small: Network, three: HostCluster
) -> None:
    """Dials stay within both bounds and so does memory; nothing is sent in reply; the nodes go on working.

    The forger's ports are closed at first: a dial ends at once, so the rate counts. Then they are silent: a
    dial waits until it is given up, so the number in flight counts.
    """
    forger, nodes, half_s = small.hosts[5], three.hosted, seconds(5, 30)
    grown_mib = -_rss_mib(nodes[0])
    with Watch(forger) as watch, InFlight(nodes) as flight, flood(forger, three) as sent:
        began = time.monotonic()
        time.sleep(half_s)
        forger.space.run("nft", "-f", "-", script=DEAF)
        three.ledger.post(nodes[0], "meanwhile", "posted in a flood")
        time.sleep(half_s)
        listed_s = three.wait_complete(5)
        lasted_s = time.monotonic() - began
        grown_mib += _rss_mib(nodes[0])
        rows = len(nodes[0].get("/v1/peers")["peers"])
    dials = [watch.connects.get(host.address, []) for host in small.hosts[:3]]
    print(
        f"\n{sent.per_s:.0f} forged beacons a second for {lasted_s:.0f} s: dials to the forger "
        f"{[len(d) for d in dials]} by 3 nodes, at most {max(map(_most_in_a_second, dials))} in any second "
        f"and {flight.most} in flight; memory {grown_mib:+.1f} MiB; a post was listed by all "
        f"within {listed_s:.2f} s; packets to the forger besides: {dict(watch.others) or 'none'}"
    )
    assert sent.per_s > PER_S / 2, "this was no flood"
    for times in dials:
        # One second's worth can be saved up; half a second for the time that a packet takes to be seen.
        assert 0 < len(times) <= BEACON_DIALS_PER_S * (1.5 + times[-1] - times[0])
        assert _most_in_a_second(times) <= BEACON_DIALS_PER_S * 2.5
    assert 0 < flight.most <= DIALS_IN_FLIGHT_MAX
    assert not watch.others
    assert grown_mib < RSS_MIB_MAX
    assert rows == 2, "who was only heard of in a beacon is no peer"


@pytest.mark.parametrize("forger_is", ["closed", "silent"])
def test_a_node_that_starts_in_a_flood_is_found(small: Network, three: HostCluster, forger_is: str) -> None:
    """Ten seconds after its first answer it is linked with all, whether dials to the forger end or hang."""
    forger = small.hosts[5]
    if forger_is == "silent":
        forger.space.run("nft", "-f", "-", script=DEAF)
    with flood(forger, three) as sent:
        time.sleep(seconds(4, 20))
        found_s = _newcomer(three, small.hosts[3])
    print(
        f"\n{sent.per_s:.0f} forged beacons a second, {forger_is} ports: linked with all in {found_s:.1f} s"
    )
    assert sent.per_s > PER_S / 2, "this was no flood"
    assert found_s < FOUND_S_MAX


def _newcomer(cluster: HostCluster, host: Host) -> float:
    """Start one more node; return the seconds from its first answer until it is linked with all."""
    node = cluster.add_on(host)
    wait_until(lambda: node.listens, "the newcomer answers", 30)
    return cluster.wait_up(FOUND_S_MAX + 5)


def _most_in_a_second(times: list[float]) -> int:
    return max((sum(start <= t < start + 1 for t in times) for start in times), default=0)


def _rss_mib(node: HostNode) -> float:
    status = Path(f"/proc/{node.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))
