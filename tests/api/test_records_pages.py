"""`GET /v1/records`: pages, cursors, times, prefixes, and the same as NDJSON."""

import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.api.nodes import lone_node
from tests.processes import Answer, NodeProcess, wait_until

NDJSON = "application/x-ndjson"
COUNT = 25


@pytest.fixture(scope="module")
def node() -> Iterator[NodeProcess]:
    """One node with a few records under `p/`; tests add under other prefixes."""
    with lone_node() as node:
        for i in range(COUNT):
            node.post(f"raw {i}", f"p/{i:02}")
        yield node


def ask(node: NodeProcess, accept: str, /, **query: object) -> Answer:
    return node.ask("GET", f"/v1/records?{urlencode(query)}", accept=accept)


def page(node: NodeProcess, **query: object) -> dict[str, Any]:
    answer = ask(node, "*/*", **query)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    found: dict[str, Any] = answer.json()
    assert set(found) == {"records", "next", "more", "reset"}
    return found


def lines(node: NodeProcess, **query: object) -> list[dict[str, Any]]:
    answer = ask(node, NDJSON, **query)
    assert (answer.status, answer.headers["content-type"]) == (200, NDJSON)
    return [json.loads(line) for line in answer.body.splitlines()]


def ids(found: dict[str, Any]) -> list[str]:
    return [r["id"] for r in found["records"]]


def walk(node: NodeProcess, since: str = "", **query: object) -> tuple[list[str], str]:
    """Turn pages until there is no more; return the ids and the cursor to go on with."""
    seen: list[str] = []
    while True:
        found = page(node, since=since, **query)
        assert not found["reset"]
        seen += ids(found)
        since = found["next"]
        if not found["more"]:
            return seen, since


@pytest.mark.parametrize("limit", [1, 7, COUNT - 1, COUNT, COUNT + 1, 1000])
def test_pages_walk_all_records_in_order_of_arrival(node: NodeProcess, limit: int) -> None:
    """Each once, whatever the size of the page; `more` is told only when there is more."""
    seen, cursor = walk(node, limit=limit, prefix="p/")
    assert seen == [f"p/{i:02}" for i in range(COUNT)]
    assert page(node, since=cursor, prefix="p/")["records"] == []


def test_pages_lose_and_double_nothing_while_records_are_added() -> None:
    """A reader that follows the cursor sees everything exactly once, also what came meanwhile."""
    with lone_node() as node:
        node.post_batch(["x"] * 300, "old/")
        posted = threading.Event()

        def write() -> None:
            for i in range(200):
                node.post("x", f"new/{i}")
            posted.set()

        writer = threading.Thread(target=write)
        writer.start()
        seen, cursor = list[str](), ""
        while True:
            done = posted.is_set()
            more, cursor = walk(node, since=cursor, limit=7)
            seen += more
            if done:
                break
        writer.join()
    assert seen[:300] == [f"old/{i}" for i in range(300)]
    assert seen[300:] == [f"new/{i}" for i in range(200)]


def test_a_page_ends_early_when_it_grows_too_large() -> None:
    """A page is built whole, so it has a bound in bytes too; the walk is complete all the same."""
    with lone_node() as node:
        for i in range(12):
            node.post("x" * (200 * 1024), f"big/{i:02}")
        first = page(node)
        assert first["more"]
        assert len(first["records"]) == 6, "the first that passes 1 MiB is the last"
        assert walk(node)[0] == [f"big/{i:02}" for i in range(12)]


def test_each_record_carries_the_cursor_behind_it(node: NodeProcess) -> None:
    """A reader may stop anywhere and go on from there."""
    records = page(node, prefix="p/")["records"]
    for i in (0, 3, COUNT - 1):
        rest = page(node, prefix="p/", since=records[i]["cursor"])
        assert ids(rest) == [r["id"] for r in records[i + 1 :]]


def test_a_cursor_of_another_node_begins_again_and_says_so(node: NodeProcess) -> None:
    """A client may move to any node: no error, everything once more, and `reset` to know it by."""
    with lone_node() as other:
        other.post("x", "p/other")
        foreign = page(other)["next"]
    found = page(node, since=foreign, prefix="p/")
    assert found["reset"] is True
    assert len(found["records"]) == COUNT
    assert page(node, since=found["next"], prefix="p/")["reset"] is False


@pytest.mark.parametrize(
    ("limit", "status"),
    [
        ("0", 400),
        ("1", 200),
        ("1000", 200),
        ("1001", 400),
        ("abc", 400),
        ("-1", 400),
        ("", 400),
        ("1.0", 400),
    ],
)
def test_the_limit_of_a_page_is_1_to_1000(node: NodeProcess, limit: str, status: int) -> None:
    """Edges in, everything else refused with the bounds."""
    answer = ask(node, "*/*", limit=limit)
    assert answer.status == status
    if status == 400:
        assert answer.json()["code"] == "bad-request"
        assert "1 to 1000" in answer.json()["detail"]


def test_without_a_limit_a_page_has_a_hundred(node: NodeProcess) -> None:
    """The documented default."""
    node.post_batch(["x"] * 101, "hundred/")
    found = page(node, prefix="hundred/")
    assert (len(found["records"]), found["more"]) == (100, True)
    rest = page(node, prefix="hundred/", since=found["next"])
    assert (ids(rest), rest["more"]) == (["hundred/100"], False)


def test_a_prefix_is_taken_literally(node: NodeProcess) -> None:
    """No patterns; an unmatched prefix is an empty page whose cursor has moved on."""
    for id in ("lit/%41", "lit/.*", "lit/é", "lit/A"):
        node.post("x", id)
    assert ids(page(node, prefix="lit/%")) == ["lit/%41"]
    assert ids(page(node, prefix="lit/.")) == ["lit/.*"]
    assert ids(page(node, prefix="lit/é")) == ["lit/é"]
    nothing = page(node, prefix="no such")
    assert (nothing["records"], nothing["more"]) == ([], False)
    node.post("x", "no such/1")
    assert ids(page(node, since=nothing["next"])) == ["no such/1"]


def test_since_takes_a_span_and_unix_time(node: NodeProcess) -> None:
    """Time narrows the page, and the cursor keeps the floor."""
    first = node.post("x", "since/1")
    second_s = first["time_stamp"] // 1000 + 1
    wait_until(lambda: node.get("/v1/node")["wall_ms"] >= second_s * 1000, "the next second")
    node.post("x", "since/2")
    assert ids(page(node, since="10m", prefix="since/")) == ["since/1", "since/2"]
    assert ids(page(node, since=second_s, prefix="since/")) == ["since/2"]
    assert ids(page(node, since=second_s - 1, prefix="since/")) == ["since/1", "since/2"]
    assert ids(page(node, since="0s", prefix="since/")) == []
    assert ids(page(node, since="all", prefix="since/")) == ["since/1", "since/2"]
    floor = page(node, since=second_s, limit=1)
    assert floor["next"].endswith(f".{second_s * 1000}")


@pytest.mark.parametrize(
    "since",
    [
        "yesterday",
        "-5m",
        "10w",
        "x" * 5000,
        "\x00",
        "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    ],
)
def test_a_since_nobody_understands_is_refused(node: NodeProcess, since: str) -> None:
    """With the three right forms, and without quoting all of it."""
    answer = ask(node, "*/*", since=since)
    assert (answer.status, answer.json()["code"]) == (400, "bad-request")
    assert "10m" in answer.json()["detail"]
    assert len(answer.body) < 500


@pytest.mark.parametrize("accept", [NDJSON, f"{NDJSON}, application/json;q=0.5", f"text/html, {NDJSON}"])
def test_ndjson_comes_when_it_is_asked_for(node: NodeProcess, accept: str) -> None:
    """By Accept, with its weights."""
    answer = ask(node, accept, prefix="p/")
    assert answer.headers["content-type"] == NDJSON
    assert len(answer.body.splitlines()) == COUNT


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", f"application/json, {NDJSON};q=0.5", "text/html", "x"]
)
def test_json_comes_otherwise(node: NodeProcess, accept: str) -> None:
    """A page is the default; a browser gets one too."""
    assert ask(node, accept, prefix="p/").headers["content-type"] == "application/json"


def test_ndjson_can_be_broken_off_and_resumed(node: NodeProcess) -> None:
    """Each line has its cursor; a limit cuts exactly; nothing is lost or doubled."""
    whole = lines(node, prefix="p/")
    assert [r["id"] for r in whole] == [f"p/{i:02}" for i in range(COUNT)]
    assert {k: v for k, v in whole[4].items() if k != "cursor"} == node.get("/v1/records/p/04")
    for i in (0, 11, COUNT - 1):
        assert lines(node, prefix="p/", since=whole[i]["cursor"]) == whole[i + 1 :]
        assert lines(node, prefix="p/", limit=i + 1) == whole[: i + 1]
    assert lines(node, prefix="none") == []


def test_ndjson_has_no_limit_of_its_own(node: NodeProcess) -> None:
    """It is streamed, so more than a page's thousand may be asked for, or all."""
    node.post_batch(["x"] * 2500, "all/")
    assert len(lines(node, prefix="all/")) == 2500
    assert len(lines(node, prefix="all/", limit=1001)) == 1001
    assert ask(node, NDJSON, limit=0).status == 400
