"""`?wait=all` on real processes: what is counted is what really holds the record."""

import signal
import threading

from tests.processes import Answer, NodeProcess, cluster, wait_until


def reach(answer: Answer) -> tuple[int, int, int]:
    """Status, and how many of how many hold the record."""
    told = answer.json()["reach"]
    return answer.status, told["ok"], told["of"]


def test_four_of_four_hold_it_and_a_full_store_is_not_counted() -> None:
    """What is told to be on all nodes is on all; so it is of a batch, and of eight clients at once."""
    with cluster() as c:
        nodes = c.start(4)
        names = [_name(node) for node in nodes]
        for number in range(12):
            answer = nodes[number % 4].ask("PUT", f"/v1/records/{number}?wait=all", "raw")
            assert reach(answer) == (201, 4, 4)
            peers = answer.json()["reach"]["peers"]
            assert {p["name"] for p in peers} == set(names) - {names[number % 4]}
            assert 0 < peers[0]["ms"] <= peers[1]["ms"] <= peers[2]["ms"] < answer.json()["reach"]["ms"] + 1
            for node in nodes:
                assert node.ask("GET", f"/v1/records/{number}").status == 200
        body = "\n".join(f'{{"raw": "{"x" * 100}", "id": "b{n}"}}' for n in range(1000))
        batch = nodes[0].ask(
            "POST", "/v1/records?wait=all&timeout=30s", body, content_type="application/x-ndjson"
        )
        assert batch.body.count(b'"reach":{"ok":4,"of":4') == 1000
        assert b'"peers"' not in batch.body
        assert [n.records for n in nodes] == [1012] * 4
        answers: list[Answer] = []

        def client(number: int) -> None:
            for turn in range(10):
                path = f"/v1/records/{number}-{turn}?wait=all&timeout=20s"
                answers.append(nodes[number % 4].ask("PUT", path, "raw"))

        threads = [threading.Thread(target=client, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert [reach(a) for a in answers] == [(201, 4, 4)] * 80

        full = c.add("--records-max", "1")
        wait_until(lambda: len(nodes[0].peers) == 4 and full.records == 1, "the fifth is linked and full")
        assert reach(nodes[0].ask("PUT", "/v1/records/last?wait=all&timeout=300ms", "raw")) == (202, 4, 5)
        assert full.ask("GET", "/v1/records/last").status == 404


def test_a_node_killed_or_stopped_during_the_wait_is_counted_for_what_it_holds() -> None:
    """Stopped: it never acknowledged. Going on: it does. Killed after it did: counted no more."""
    with cluster() as c:
        nodes = c.start(4)
        first, stopped, killed = nodes[0], nodes[1], nodes[2]
        alive = {_name(stopped), _name(nodes[3])}
        stopped.signal(signal.SIGSTOP)
        assert reach(first.ask("PUT", "/v1/records/a?wait=all&timeout=500ms", "raw")) == (202, 3, 4)
        assert reach(first.ask("PUT", "/v1/records/b?wait=3&timeout=30s", "raw")) == (201, 3, 4)

        answers: list[Answer] = []
        waiting = _post(first, "/v1/records/c?wait=all&timeout=4s", answers)
        wait_until(lambda: killed.ask("GET", "/v1/records/c").status == 200, "the record is on the third")
        killed.kill()
        wait_until(lambda: len(first.peers) == 2, "the death is known", 5)
        stopped.signal(signal.SIGCONT)
        wait_until(lambda: stopped.ask("GET", "/v1/records/c").status == 200, "the record is on the second")
        assert not answers, "one of four is gone, so all four cannot be had"
        waiting.join(30)
        assert reach(answers[0]) == (202, 3, 4)
        told = answers[0].json()["reach"]["peers"]
        assert {p["name"] for p in told} == alive, "the killed one is named no more"
        assert reach(first.ask("PUT", "/v1/records/d?wait=all", "raw")) == (201, 3, 3)

        stopped.signal(signal.SIGSTOP)
        waiting = _post(first, "/v1/records/e?wait=all&timeout=60s", answers)
        wait_until(lambda: first.ask("GET", "/v1/records/e").status == 200, "the record is stored")
        first.signal(signal.SIGTERM)
        waiting.join(30)
        assert reach(answers[1]) in ((202, 1, 3), (202, 2, 3)), "who waits is told before the node ends"
        assert first.process is not None
        assert first.process.wait(10) == 0


def _name(node: NodeProcess) -> str:
    return str(node.get("/v1/node")["name"])


def _post(node: NodeProcess, path: str, answers: list[Answer]) -> threading.Thread:
    """Post in a thread of its own; the answer comes into `answers`."""
    thread = threading.Thread(target=lambda: answers.append(node.ask("PUT", path, "raw")))
    thread.start()
    return thread
