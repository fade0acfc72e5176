"""`?wait=`: what a lone node answers, and what it refuses. Clusters: tests/system/test_receipts.py."""

import json
from collections.abc import Iterator

import pytest

from tests.api.nodes import lone_node
from tests.node.commands import dayfly, on_terminal
from tests.processes import NodeProcess

NDJSON = "application/x-ndjson"


@pytest.fixture(scope="module")
def node() -> Iterator[NodeProcess]:
    """One node for all tests here; each uses ids of its own."""
    with lone_node() as node:
        yield node


def test_alone_one_of_one_is_reached_at_once(node: NodeProcess) -> None:
    """On both routes, with every wish that one node can fulfil, and for what is there already."""
    answers = [
        node.ask("POST", "/v1/records?wait=all", "hi"),
        node.ask(
            "POST", "/v1/records?wait=1&timeout=500ms", '{"raw": "hi"}', content_type="application/json"
        ),
        node.ask("PUT", "/v1/records/one?wait=all&timeout=60s", "hi"),
        node.ask("PUT", "/v1/records/one?wait=all&timeout=0", "hi"),
    ]
    assert [a.status for a in answers] == [201, 201, 201, 200]
    for answer in answers:
        reach = answer.json()["reach"]
        assert {k: reach[k] for k in ("ok", "of")} == {"ok": 1, "of": 1}
        assert 0 <= reach["ms"] < 1000
        assert set(reach) == {"ok", "of", "ms"}


def test_more_nodes_than_there_are_is_told_at_once(node: NodeProcess) -> None:
    """202, the record is stored, and nobody waits for what cannot come."""
    answer = node.ask("POST", "/v1/records?wait=2&timeout=60s", "hi")
    assert (answer.status, answer.json()["status"], answer.json()["result"]) == (202, 202, "stored")
    assert answer.json()["reach"]["ms"] < 5000
    assert node.ask("GET", answer.headers["location"]).status == 200


def test_without_wait_nothing_is_said_of_reach(node: NodeProcess) -> None:
    """The answer of a plain post is what it was."""
    assert "reach" not in node.ask("POST", "/v1/records", "hi").json()
    assert "reach" not in node.ask("POST", "/v1/records?timeout=1s", "hi").json()


def test_of_a_batch_each_record_that_is_held_has_its_reach(node: NodeProcess) -> None:
    """What was refused has none; the same record twice has it twice."""
    lines = ['{"raw": "a", "id": "b1"}', "no json", '{"raw": "a", "id": "b1"}', '{"raw": "b", "id": "b2"}']
    answer = node.ask("POST", "/v1/records?wait=all", "\n".join(lines), content_type=NDJSON)
    results = [json.loads(line) for line in answer.body.splitlines()]
    assert [r["status"] for r in results] == [201, 400, 200, 201]
    assert [r.get("reach", {}).get("ok") for r in results] == [1, None, 1, 1]


def test_a_whole_batch_can_wait(node: NodeProcess) -> None:
    """Ten thousand lines, each with its reach."""
    body = "\n".join(f'{{"raw": "x", "id": "many{n}"}}' for n in range(10_000))
    answer = node.ask("POST", "/v1/records?wait=all", body, content_type=NDJSON)
    assert answer.body.count(b'"reach":{"ok":1,"of":1') == 10_000


@pytest.mark.parametrize(
    "query",
    ["wait=", "wait=0", "wait=-1", "wait=some", "wait=1.5", "wait=all&timeout=61s", "wait=all&timeout=",
     "wait=all&timeout=soon", "wait=1234567890", "wait=%D9%A1"],
)  # fmt: skip
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/records"), ("PUT", "/v1/records/never")])
def test_a_wait_that_makes_no_sense_is_refused_before_anything_is_stored(
    node: NodeProcess, method: str, path: str, query: str
) -> None:
    """With the parameter named."""
    answer = node.ask(method, f"{path}?{query}", "raw")
    assert (answer.status, answer.json()["code"]) == (400, "bad-request")
    assert "wait=" in answer.json()["detail"] or "timeout=" in answer.json()["detail"]
    assert node.ask("GET", "/v1/records/never").status == 404


def test_what_is_refused_is_not_waited_for(node: NodeProcess) -> None:
    """A conflict is a conflict, at once."""
    node.ask("PUT", "/v1/records/taken", "mine")
    answer = node.ask("PUT", "/v1/records/taken?wait=all&timeout=60s", "yours")
    assert (answer.status, answer.json()["code"]) == (409, "id-conflict")


def test_the_command_tells_the_reach_and_ends_with_4_when_it_fell_short(node: NodeProcess) -> None:
    """And with 2 for a timeout without a wait."""
    full = dayfly("post", "hi", "--wait", "all", "--node", node.url)
    assert (full.code, full.lines[0]["reach"]["ok"]) == (0, 1)
    assert "held by 1/1 after " in on_terminal("post", "hi", "--wait", "1", "--node", node.url)
    short = dayfly("post", "hi", "--wait", "2", "--timeout", "1s", "--node", node.url)
    assert (short.code, short.lines[0]["status"]) == (4, 202)
    assert "all 1 nodes hold it; 2 were waited for" in short.err
    assert dayfly("post", "hi", "--timeout", "1s", "--node", node.url).code == 2
    refused = dayfly("post", "hi", "--wait", "none", "--node", node.url)
    assert (refused.code, "wait='none'" in refused.err) == (1, True)


def test_the_limits_of_waiting_are_told(node: NodeProcess) -> None:
    """As all limits are."""
    limits = node.get("/v1/node")["limits"]
    assert (limits["waiting_records_max"], limits["wait_timeout_s_max"]) == (32_768, 60.0)
