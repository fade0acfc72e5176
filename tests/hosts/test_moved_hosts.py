"""One host is cut off while all others move to new addresses; it comes back without anybody's help.

Every host runs a node of two clusters: one finds its peers by multicast, the other, without, by a name
that every host looks up in a file. The peers start anew at their new addresses one after another, so
that records survive, and never hear of the host that is away: it must find them.
"""

import time
from collections.abc import Generator, Iterable
from functools import partial
from pathlib import Path

import pytest

from tests.hosts.ledger import Poster
from tests.hosts.network import Host, Network, network
from tests.hosts.nodes import HostCluster, HostNode, host_cluster, seconds
from tests.processes import wait_until

HEARD_S_MAX = 15.0
"""Two beacons of a node that misses somebody."""
NAMED_S_MAX = 45.0
"""A name is looked up every 30 s, and an address that did not answer is dialled every 30 s at the least."""
NAMED_PORTS = (8081, 7947)
NAME = "peers.test"


@pytest.fixture
def four() -> Generator[Network, None, None]:
    """A wire of its own: the hosts on it do not keep their addresses."""
    with network(4) as made:
        yield made


def write_names(file: Path, hosts: Iterable[Host]) -> None:
    """Let the name stand for these hosts. The file stays the same one: it is mounted elsewhere."""
    lines = ["127.0.0.1 localhost", *(f"{host.address} {NAME}" for host in hosts)]
    file.write_text("\n".join(lines) + "\n")


@pytest.mark.timeout(300)
def test_a_host_comes_back_to_peers_that_all_have_new_addresses(four: Network, tmp_path: Path) -> None:
    """It finds them by multicast, or by looking the name up again; nothing that either side took is lost."""
    away, *others = four.hosts
    names = tmp_path / "hosts"
    write_names(names, others)
    with host_cluster() as heard, host_cluster("--join", f"{NAME}:{NAMED_PORTS[1]}") as named:
        for host in (away, *others):
            heard.add_on(host)
            named.add_on(host, multicast=False, names=names, ports=NAMED_PORTS)
        for cluster in (heard, named):
            cluster.wait_listening()
            cluster.wait_up(60)
        four.split([away])
        split_at_s = time.monotonic()
        wait_until(
            lambda: all(len(n.peers) == 2 for c in (heard, named) for n in c.hosted[1:]), "it is missed"
        )
        with (
            Poster(heard.ledger, heard.hosted[:1], "away-", per_s=2),
            Poster(named.ledger, named.hosted[:1], "away-", per_s=2),
        ):
            for host in others:
                _move(host, (heard, named), names, others)
            time.sleep(max(split_at_s + seconds(20, 180) - time.monotonic(), 0))
        for node in (*heard.hosted[1:], *named.hosted[1:]):
            assert f"{away.address}:" not in str(node.get("/v1/peers")), "who started anew never heard of it"
        healed_at_s = time.monotonic()
        four.heal()
        print(
            f"\n1 host away for {healed_at_s - split_at_s:.0f} s, its {len(others)} peers at new addresses:"
        )
        for cluster, how, most_s in ((heard, "multicast", HEARD_S_MAX), (named, "its name", NAMED_S_MAX)):
            cluster.wait_up(most_s)
            linked_s = time.monotonic() - healed_at_s
            cluster.wait_complete(20)
            equal_s = time.monotonic() - healed_at_s
            print(
                f"by {how}: linked with all {linked_s:.1f} s after the heal, "
                f"all {len(cluster.ledger)} records listed {equal_s:.1f} s after it"
            )


def _move(host: Host, clusters: tuple[HostCluster, ...], names: Path, others: list[Host]) -> None:
    """Kill a host's nodes, give it another address, start them anew, and wait until they have caught up."""
    nodes = [node for cluster in clusters for node in cluster.hosted if node.host is host]
    for node in nodes:
        node.kill()
    host.move(host.address.replace(".0.", ".0.10"))
    write_names(names, others)
    for node in nodes:
        node.start()
    for cluster, node in zip(clusters, nodes, strict=True):
        wait_until(partial(_listens, node), "the node on the new address answers", 30)
        wait_until(partial(_sees, node, len(others) - 1), "it found the others", 60)
        cluster.ledger.post(node, f"moved-{host.number}", f"now at {host.address}")
        peers = [n for n in cluster.hosted if n.host in others]
        wait_until(partial(_alike, peers), "the others have the same", 30)


def _listens(node: HostNode) -> bool:
    return node.listens


def _sees(node: HostNode, count: int) -> bool:
    return len(node.up) == count


def _alike(nodes: list[HostNode]) -> bool:
    return len({node.ask("POST", "/listAllRecentData").body for node in nodes}) == 1
