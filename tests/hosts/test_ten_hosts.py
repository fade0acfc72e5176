"""Ten hosts and what happens to them: found by multicast, split, lossy, cut one way, killed.

One cluster lives through all of it. Whatever happened, every record that a node accepted, and that was
not on a killed node alone, is listed by all afterwards, in the same order, and under each id the record
that must win.
"""

import random
import secrets
import time
from collections.abc import Generator
from dataclasses import dataclass

import pytest

from tests.hosts.ledger import Poster
from tests.hosts.network import Network
from tests.hosts.nodes import HostCluster, HostNode, host_cluster, seconds
from tests.processes import wait_until

FOUND_S_MAX = 10.0
HEALED_S_MAX = 5.0
CONFLICTS = 100


@dataclass
class Ten:
    """The cluster on the network it runs on. `found_s`: from when the last one answers to all knowing all."""

    net: Network
    cluster: HostCluster
    started_s: float
    found_s: float

    @property
    def nodes(self) -> list[HostNode]:
        """The nodes, host 1 first."""
        return self.cluster.hosted


@pytest.fixture(scope="module")
def nodes_on_ten(ten_hosts: Network) -> Generator[Ten, None, None]:
    """The cluster that all tests here share, in the order they stand in."""
    with host_cluster() as cluster:
        for host in ten_hosts.hosts:
            cluster.add_on(host)
        started_s = cluster.wait_listening()
        yield Ten(ten_hosts, cluster, started_s, cluster.wait_up(60))


@pytest.fixture
def ten(net: Network, nodes_on_ten: Ten) -> Ten:
    """Ten nodes on ten hosts of a wire without faults, all linked and all with the same records."""
    assert net is nodes_on_ten.net
    nodes_on_ten.cluster.settle()
    return nodes_on_ten


def test_ten_hosts_find_each_other_by_multicast(ten: Ten) -> None:
    """Within ten seconds of the last one's start each lists nine peers as up."""
    print(f"\n10 hosts: all answer after {ten.started_s:.1f} s, all linked {ten.found_s:.2f} s later")
    for node in ten.nodes:
        assert len(node.up) == 9
        assert node.host.address in node.get("/v1/node")["announced_on"]
    assert ten.found_s < FOUND_S_MAX


@pytest.mark.timeout(240)
def test_after_a_split_all_lists_are_equal_and_each_id_has_one_winner(ten: Ten) -> None:
    """Five and five go on without each other; when they meet again nothing is lost and all agree."""
    cluster, ledger = ten.cluster, ten.cluster.ledger
    left, right = ten.nodes[:5], ten.nodes[5:]
    before, superseded, split_s = len(ledger), _superseded(ten.nodes), seconds(15, 60)
    ten.net.split([node.host for node in left])
    split_at_s = time.monotonic()
    with Poster(ledger, left, "left-"), Poster(ledger, right, "right-"):
        for number in range(CONFLICTS):
            # Which side is first takes turns: the winner must not depend on the side.
            for side in (left, right)[:: 1 if number % 2 else -1]:
                ledger.post(side[number % 5], f"same-{number}", f"the side of host {side[0].host.number}")
            time.sleep(split_s / CONFLICTS)
        wait_until(lambda: all(len(n.up) == 4 for n in ten.nodes), "the halves lost each other", 15)
    lasted_s = time.monotonic() - split_at_s
    healed_at_s = time.monotonic()
    ten.net.heal()
    took_s = cluster.wait_complete(60, healed_at_s)
    cluster.wait_up()
    linked_s = time.monotonic() - healed_at_s
    won_left = sum(ledger.winner(f"same-{n}").host <= 5 for n in range(CONFLICTS))
    superseded = _superseded(ten.nodes) - superseded
    print(
        f"\nsplit 5+5 for {lasted_s:.0f} s: {len(ledger) - before} ids, {CONFLICTS} of them on both sides "
        f"(won {won_left} : {CONFLICTS - won_left}, nodes dropped {superseded} losers); all lists equal "
        f"{took_s:.2f} s after the heal, all linked after {linked_s:.2f} s"
    )
    assert superseded >= 5 * CONFLICTS, "each of the five that held the loser says so"
    assert took_s < HEALED_S_MAX


@pytest.mark.timeout(240)
def test_at_a_fifth_of_all_packets_lost_no_record_is(ten: Ten) -> None:
    """Posts go on everywhere while every fifth packet is lost; all are listed everywhere afterwards."""
    ledger = ten.cluster.ledger
    before, downs = len(ledger), sum(n.logged("peer down") for n in ten.nodes)
    ten.net.lose(20)
    began = time.monotonic()
    with Poster(ledger, ten.nodes, "lossy-", per_s=10):
        time.sleep(seconds(12, 60))
    lasted_s = time.monotonic() - began
    with_loss = [len(ledger) - node.records for node in ten.nodes]
    behind_s = ten.cluster.wait_complete(60)
    downs = sum(n.logged("peer down") for n in ten.nodes) - downs
    print(
        f"\n20 % loss for {lasted_s:.0f} s: {len(ledger) - before} records, at the last post up to "
        f"{max(with_loss)} on their way; all lists equal {behind_s:.2f} s after it, still at 20 % loss; "
        f"{downs} ends of links that were given up"
    )


@pytest.mark.timeout(240)
def test_a_one_way_cut_is_noticed_gone_round_and_healed(ten: Ten) -> None:
    """Two hosts of which one does not hear the other let go of each other; records reach both by the rest."""
    a, b = ten.nodes[0], ten.nodes[1]
    ids = [node.get("/v1/node")["id"] for node in (a, b)]
    ledger, before = ten.cluster.ledger, len(ten.cluster.ledger)
    ten.net.cut(a.host, b.host)
    cut_at_s = time.monotonic()
    with Poster(ledger, [a, b], "cut-"):
        wait_until(lambda: ids[1] not in _linked(a) and ids[0] not in _linked(b), "both let go", 20)
        noticed_s = time.monotonic() - cut_at_s
        time.sleep(seconds(3, 30))
    reached_s = ten.cluster.wait_complete(20)
    assert ids[1] not in _linked(a), "it is still cut"
    ten.net.heal()
    linked_s = ten.cluster.wait_up(40)
    print(
        f"\none-way cut: noticed by both after {noticed_s:.1f} s; {len(ledger) - before} records posted at "
        f"its two ends were listed by all {reached_s:.2f} s after the last; linked again {linked_s:.2f} s "
        "after the heal"
    )


@pytest.mark.timeout(300)
def test_what_reached_one_survivor_outlives_any_number_of_kills(ten: Ten) -> None:
    """kill -9 of one node after another while all are posted to: only what nobody else had yet is gone.

    After each kill the survivors are asked what they list: that much must be listed by all in the end.
    """
    ledger, seed = ten.cluster.ledger, secrets.randbelow(2**32)
    before, rng = len(ledger), random.Random(seed)
    kills: list[tuple[int, float]] = []
    held: set[str] = set()
    began, lasts_s, pause_s = time.monotonic(), seconds(20, 120), seconds(3, 5)
    with Poster(ledger, ten.nodes, "killed-", per_s=10):
        while time.monotonic() - began < lasts_s:
            next_s = time.monotonic() + pause_s
            victim = rng.choice([node for node in ten.nodes if node.answers])
            victim.kill()
            kills.append((victim.host.number, time.monotonic()))
            held |= _listed_by_any([node for node in ten.nodes if node is not victim])
            victim.start()
            time.sleep(max(next_s - time.monotonic(), 0))
    ten.cluster.wait_listening()
    ten.cluster.wait_up(60)
    listed = _listed_by_any(ten.nodes)
    ledger.decide_doubts(listed)
    lost = {id: ledger.winner(id) for id in ledger.accepted.keys() - listed}
    print(
        f"\n{len(kills)} kills in {lasts_s:.0f} s (seed {seed}): {len(ledger) - before} records accepted, "
        f"{len(held)} ids seen on survivors, {len(lost)} gone with the node that had just accepted them"
    )
    assert not held - listed
    for entry in lost.values():
        ages_s = [at_s - entry.at_s for host, at_s in kills if host == entry.host and at_s > entry.at_s]
        assert min(ages_s, default=60) < 1, f"{entry} was lost, and its node lived on for {ages_s} s"
    ledger.forget(lost)
    print(f"all lists equal {ten.cluster.wait_complete(60):.2f} s after all were linked")


def _superseded(nodes: list[HostNode]) -> int:
    return sum(node.get("/v1/node")["admission"]["superseded"] for node in nodes)


def _linked(node: HostNode) -> list[str]:
    return [peer["id"] for peer in node.peers]


def _listed_by_any(nodes: list[HostNode]) -> set[str]:
    """Return the ids that at least one of those nodes lists that answer."""
    return {record["id"] for node in nodes if node.listens for record in node.listing()}
