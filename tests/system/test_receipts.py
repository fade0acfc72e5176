"""`?wait=all` on real processes: what is counted is what really holds the record."""

import signal
import threading

from tests.processes import Answer, NodeProcess, cluster, wait_until


def reach(answer: Answer) -> tuple[int, int, int]:
    """Status, and how many of how many hold the record."""
    told = answer.json()["reach"]
    return answer.status, told["ok"], told["of"]


def test_five_of_five_hold_it_and_none_can_be_missing() -> None:
    """Each of 30 posts is on every node when its answer comes; a batch too; ten clients at once are too."""
    with cluster() as c:
        nodes = c.start(5)
        for number in range(30):
            answer = nodes[number % 5].ask("PUT", f"/v1/records/{number}?wait=all", "raw")
            assert reach(answer) == (201, 5, 5)
            for node in nodes:
                assert node.ask("GET", f"/v1/records/{number}").status == 200
        body = "\n".join(f'{{"raw": "{"x" * 100}", "id": "b{n}"}}' for n in range(5000))
        batch = nodes[0].ask(
            "POST", "/v1/records?wait=all&timeout=30s", body, content_type="application/x-ndjson"
        )
        assert batch.body.count(b'"reach":{"ok":5,"of":5') == 5000
        assert [n.records for n in nodes] == [5030] * 5
        answers: list[Answer] = []

        def client(number: int) -> None:
            for turn in range(10):
                path = f"/v1/records/{number}-{turn}?wait=all&timeout=20s"
                answers.append(nodes[number % 5].ask("PUT", path, "raw"))

        threads = [threading.Thread(target=client, args=(n,)) for n in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert [reach(a) for a in answers] == [(201, 5, 5)] * 100


def test_a_node_killed_or_stopped_during_the_wait_is_counted_for_what_it_holds() -> None:
    """Stopped: it never acknowledged. Going on: it does. Killed after it did: counted no more."""
    with cluster() as c:
        nodes = c.start(4)
        first, stopped, killed = nodes[0], nodes[1], nodes[2]
        stopped.signal(signal.SIGSTOP)
        assert reach(first.ask("PUT", "/v1/records/a?wait=all&timeout=500ms", "raw")) == (202, 3, 4)
        assert reach(first.ask("PUT", "/v1/records/b?wait=3&timeout=30s", "raw")) == (201, 3, 4)

        answers: list[Answer] = []
        waiting = _post(first, "/v1/records/c?wait=all&timeout=5s", answers)
        wait_until(lambda: killed.ask("GET", "/v1/records/c").status == 200, "the record is on the third")
        killed.kill()
        wait_until(lambda: len(first.peers) == 2, "the death is known", 5)
        stopped.signal(signal.SIGCONT)
        wait_until(lambda: stopped.ask("GET", "/v1/records/c").status == 200, "the record is on the second")
        assert not answers, "one of four is gone, so all four cannot be had"
        waiting.join(30)
        assert reach(answers[0]) == (202, 3, 4)
        assert reach(first.ask("PUT", "/v1/records/d?wait=all", "raw")) == (201, 3, 3)


def _post(node: NodeProcess, path: str, answers: list[Answer]) -> threading.Thread:
    """Post in a thread of its own; the answer comes into `answers`."""
    thread = threading.Thread(target=lambda: answers.append(node.ask("PUT", path, "raw")))
    thread.start()
    return thread


def test_a_full_store_is_not_counted() -> None:
    """It has the link and has read the record, and does not hold it."""
    with cluster() as c:
        first = c.add().wait_ready()
        full = c.add("--records-max", "1")
        c.wait_linked()
        assert reach(first.ask("PUT", "/v1/records/1?wait=all", "raw")) == (201, 2, 2)
        assert reach(first.ask("PUT", "/v1/records/2?wait=all&timeout=300ms", "raw")) == (202, 1, 2)
        assert full.records == 1
