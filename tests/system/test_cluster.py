"""What a user is promised, on real node processes found by multicast on loopback."""

import signal
import socket
import statistics
import threading
import time
from functools import partial

import pytest

from tests.processes import NodeProcess, cluster, free_port, wait_until
from tests.vectors import MD5_TWINS
from validator import sign


def test_the_originals_transcript() -> None:
    """Post on one node, a node started later lists it at once; post there, read on the first."""
    with cluster() as c:
        first = c.add().wait_ready()
        body = '{"id":"1","raw":"newmessage","signature":"fbf9957b19f15006367d7702a10d6463"}'
        answer = first.ask("POST", "/postNewData", body, content_type="application/json;")
        assert (answer.status, answer.body) == (200, b'{"result":true,"msg":"ok"}')
        second = c.add().wait_ready()
        assert second.ask("POST", "/listAllRecentData").body == b'{"data_list":[' + body.encode() + b"]}"
        again = second.ask("POST", "/postNewData", body.replace('"1"', '"2"'))
        assert again.status == 200

        wait_until(lambda: {r["id"] for r in first.listing()} == {"1", "2"}, "the first lists both")


@pytest.mark.parametrize("count", [3, 10])
def test_nodes_find_each_other_by_multicast_and_list_the_same(count: int) -> None:
    """A record posted anywhere is listed everywhere, as one payload per node."""
    with cluster() as c:
        nodes = c.start(count)
        for number, node in enumerate(nodes * 3):
            node.post(f"from {number}", f"id{number}")
        c.wait_equal(3 * count)
        listings = [n.ask("GET", "/listAllRecentData") for n in nodes]
        totals = [n.get("/v1/node")["gossip"] for n in nodes]

        assert len({(listing.body, listing.headers["etag"]) for listing in listings}) == 1
        assert [t["records_in_total"] for t in totals] == [3 * (count - 1)] * count
        assert all(t["duplicate_total"] == 0 for t in totals)


def test_above_the_full_mesh_nodes_have_few_links_and_know_all() -> None:
    """Fourteen nodes where five are many: records everywhere, all in every list, deaths change nothing."""
    with cluster("--mesh-max", "5") as c:
        for _ in range(14):
            c.add()
        for node in c.nodes:
            node.wait_ready()
        wait_until(lambda: all(_is_complete(n, 14) for n in c.nodes), "all lists are complete", 60)
        assert {n.get("/v1/node")["tier"] for n in c.nodes} == {"partial"}
        wait_until(lambda: all(len(n.peers) <= 12 for n in c.nodes), "surplus links are gone", 30)
        for number, node in enumerate(c.nodes):
            node.post(f"from {number}")
        c.wait_equal(14)

        for node in c.nodes[3:7]:
            node.kill()
        del c.nodes[3:7]
        for number, node in enumerate(c.nodes):
            node.post(f"again from {number}")
        c.wait_equal(24)


def _is_complete(node: NodeProcess, count: int) -> bool:
    """Whether a node sees all others, linked or listed."""
    states = [p["state"] for p in node.get("/v1/peers")["peers"]]
    return sum(s in ("up", "suspect", "member") for s in states) == count - 1


def test_nodes_find_each_other_by_join_alone() -> None:
    """Without multicast one address is enough."""
    with cluster() as c:
        first = c.add(multicast=False).wait_ready()
        peer = first.get("/v1/node")["peer"].replace("127.0.0.1", "localhost")
        for _ in range(2):
            c.add("--join", peer, multicast=False)
        c.wait_linked()
        c.nodes[2].post("hello")

        c.wait_equal(1)


def test_clusters_of_other_names_stay_apart() -> None:
    """The same group and another name: no link; a join tells why."""
    with cluster() as c:
        first = c.add().wait_ready()
        other = c.add("--cluster", "other", "--join", first.get("/v1/node")["peer"]).wait_ready()
        first.post("secret")
        wait_until(lambda: "other" in str(other.get("/v1/peers")), "the refusal is shown")

        assert other.records == 0
        assert other.peers == first.peers == []


def test_a_joiner_holds_ten_thousand_records_before_it_is_ready() -> None:
    """Catching up happens on join, once, and well within two seconds."""
    with cluster() as c:
        nodes = c.start(3)
        nodes[0].post_batch(["x" * 150] * 10_000, "r")
        c.wait_equal(10_000)
        joiner = c.add()
        wait_until(lambda: _up(joiner) and len(joiner.peers) > 0, "the joiner finds a peer")
        waited_s = wait_until(lambda: joiner.answers, "the joiner is ready")

        assert joiner.records == 10_000
        assert waited_s < 5, "2 s is promised on an idle machine"
        gossip = joiner.get("/v1/node")["gossip"]
        assert gossip["records_in_total"] == 10_000
        c.wait_equal(10_000)


def _up(node: NodeProcess) -> bool:
    try:
        return node.ask("GET", "/healthz").status == 200
    except OSError:
        return False


def test_killed_nodes_come_back_and_the_others_never_pause() -> None:
    """kill -9 one node after another under load; each is complete again soon after its start."""
    with cluster() as c:
        nodes = c.start(4)
        slowest_s, count = 0.0, 0
        for victim in nodes[1:]:
            victim.kill()
            for _ in range(50):
                start = time.monotonic()
                nodes[0].post(f"{count}", f"id{count}")
                slowest_s = max(slowest_s, time.monotonic() - start)
                count += 1
            victim.start().wait_ready()
            wait_until(partial(_holds, victim, count), "the restarted node has everything", 10)
        c.wait_equal(count)

        assert slowest_s < 1


def _holds(node: NodeProcess, count: int) -> bool:
    return node.records == count


def test_a_stopped_node_disturbs_nobody_and_catches_up() -> None:
    """SIGSTOP for ten seconds under 500 posts a second: nobody waits, nothing is lost."""
    with cluster() as c:
        nodes = c.start(3)
        usual = _post_for(2, nodes[0], "a")
        nodes[2].signal(signal.SIGSTOP)
        disturbed = _post_for(10, nodes[0], "b")
        nodes[2].signal(signal.SIGCONT)
        total = len(usual) + len(disturbed)
        c.wait_equal(total, 15)

        assert total > 1000, "the load was there"
        assert _p99_ms(disturbed) < 3 * _p99_ms(usual) + 20
        assert max(disturbed) < 1


def _post_for(seconds: float, node: NodeProcess, prefix: str) -> list[float]:
    """Post 500 records a second for a while over one connection; returns each post's seconds."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=20)
    taken: list[float] = []
    start = time.monotonic()
    while (now := time.monotonic()) < start + seconds:
        connection.request("PUT", f"/v1/records/{prefix}{len(taken)}", b"x" * 100)
        answer = connection.getresponse()
        assert answer.status == 201, answer.read()
        answer.read()
        taken.append(time.monotonic() - now)
        time.sleep(max(start + len(taken) / 500 - time.monotonic(), 0))
    connection.close()
    return taken


def _p99_ms(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100)[98] * 1000


def test_records_that_share_an_md5_are_two_records() -> None:
    """Under two ids both are listed everywhere; under one id on two nodes one wins everywhere."""
    first, second = MD5_TWINS
    assert sign(first) == sign(second)
    with cluster() as c:
        a, b = c.start(2)
        a.post(first, "one")
        b.post(second, "two")
        c.wait_equal(2)
        assert {r["raw"] for r in a.listing()} == {first, second}
        threads = [
            threading.Thread(target=_try_post, args=(node, raw, "same"))
            for node, raw in ((a, first), (b, second))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        c.wait_equal(3)


def _try_post(node: NodeProcess, raw: str, id: str) -> None:
    status = node.ask("PUT", f"/v1/records/{id}", raw).status
    assert status in (200, 201, 409)


def test_two_nodes_with_different_raws_for_one_id_agree_once_they_meet() -> None:
    """The earlier record wins on both, whoever joined whom."""
    with cluster() as c:
        meeting = free_port()
        joins = ("--join", f"127.0.0.1:{meeting}")
        a = c.add(*joins, multicast=False).wait_ready()
        b = c.add(*joins, multicast=False).wait_ready()
        a.post("earlier", "id")
        b.post("later", "id")
        b.post("only there", "other")
        assert b.listing()[0]["raw"] == "later"
        c.add("--peer", f"127.0.0.1:{meeting}", multicast=False)
        c.wait_linked()

        c.wait_equal(2)
        assert [r["raw"] for r in b.listing()] == ["earlier", "only there"]
        totals = [n.get("/v1/node")["admission"]["superseded"] for n in c.nodes]
        assert totals[1] == 1, "the loser is reported where it was held"


def test_records_vanish_everywhere_at_the_end_of_their_life() -> None:
    """With a life of three seconds the list is empty on every node soon after, and stays so."""
    with cluster("--ttl", "3s") as c:
        nodes = c.start(3)
        posted_s = time.monotonic()
        nodes[0].post("gone soon", "id")
        c.wait_equal(1)
        wait_until(lambda: all(n.listing() == [] for n in nodes), "it is gone everywhere", 10)
        life_s = time.monotonic() - posted_s

        assert 2.9 < life_s < 4.5
        assert all(n.ask("GET", "/v1/records/id").status == 404 for n in nodes)
        late = c.add().wait_ready()
        assert late.listing() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_node_told_to_stop_ends_in_time_with_open_requests(number: signal.Signals) -> None:
    """Half-sent requests, idle connections and a reader that does not read: exit 0 within five seconds."""
    with cluster() as c:
        node = c.start(2)[0]
        node.post_batch(["x" * 1000] * 5000, "r")
        sockets = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(9)]
        for open_socket in sockets[:3]:
            open_socket.sendall(b"POST /v1/records HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf")
        for open_socket in sockets[3:6]:
            open_socket.sendall(b"GET /listAllRecentData HTTP/1.1\r\nhost: x\r\n\r\n")
        start = time.monotonic()
        node.signal(number)
        assert node.process is not None
        assert node.process.wait(10) == 0
        assert time.monotonic() - start < 5
        for open_socket in sockets:
            open_socket.close()
