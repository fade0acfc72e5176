"""`/metrics`: text that Prometheus takes, and numbers that are right."""

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api.exposition import Samples, read
from tests.api.nodes import lone_node
from tests.processes import ROOT, NodeProcess, cluster, wait_until

DOCS = ROOT / "docs"


def scrape(node: NodeProcess) -> dict[str, Samples]:
    """Read a node's metrics."""
    answer = node.ask("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = answer.body.decode()
    assert len(list(text_string_to_metric_families(text))) == text.count("# TYPE")
    return read(text)


def value(families: dict[str, Samples], name: str, **labels: str) -> float:
    """Return one value."""
    return families[name][name, tuple(labels.items())]


@pytest.mark.parametrize(
    "bad",
    [
        "a 1\n",
        "# HELP a b\n# TYPE a counter\na 1\n",
        "# HELP a b\n# TYPE a gauge\na 1\na 2\n",
        "# HELP a_ms b\n# TYPE a_ms gauge\na_ms 1\n",
        '# HELP a b\n# TYPE a gauge\na{x="1" 1\n',
        "# HELP a b\n# TYPE a gauge\na 1",
        '# HELP a b\n# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n',
    ],
)
def test_the_reader_is_strict(bad: str) -> None:
    """Else it would prove nothing."""
    with pytest.raises((AssertionError, KeyError)):
        read(bad)


def test_a_node_counts_what_becomes_of_records() -> None:
    """Accepted, duplicate, refused by code; and what it holds, under a name that needs escapes."""
    with lone_node("--records-max", "3", "--name", 'a "b" \\ c') as node:
        for number in range(3):
            node.post("x" * 10, f"id{number}")
        node.post("x" * 10, "id0")
        for path, body in (("id0", "other"), ("id9", "x"), ("%00", "x"), ("id8", "x")):
            assert node.ask("PUT", f"/v1/records/{path}", body).status >= 400
        node.ask("PUT", "/v1/records/id0?wait=all", "x" * 10)
        found = scrape(node)
    assert value(found, "dayfly_accepted_total") == 3
    assert value(found, "dayfly_duplicate_total") == 2
    assert {labels[0][1]: v for (_, labels), v in found["dayfly_refused_total"].items()} == {
        "id-conflict": 1,
        "bad-id": 1,
        "store-full": 2,
    }
    assert (value(found, "dayfly_records"), value(found, "dayfly_records_max")) == (3, 3)
    assert value(found, "dayfly_bytes") > 30
    assert 0 <= value(found, "dayfly_oldest_age_seconds") < 60
    assert found["dayfly_reach_seconds"]["dayfly_reach_seconds_count", ()] == 1
    assert value(found, "dayfly_http_connections") == 1
    assert {dict(labels)["name"] for _, labels in found["dayfly_info"]} == {r"a \"b\" \\ c"}


def test_a_cluster_counts_pushes_acks_and_peers() -> None:
    """Two nodes: one payload each way, peers by state, clocks, and what expired."""
    with cluster("--ttl", "2s") as c:
        a, b = c.start(2)
        for number in range(5):
            a.ask("PUT", f"/v1/records/{number}?wait=all", "raw")
        found, other = scrape(a), scrape(b)
        assert value(found, "dayfly_pushes_total") == value(other, "dayfly_payloads_total") == 5
        assert value(found, "dayfly_acks_total") == 5
        assert value(other, "dayfly_relayed_total") == 5
        assert value(other, "dayfly_redundant_total") == 0
        assert found["dayfly_reach_seconds"]["dayfly_reach_seconds_count", ()] == 5
        assert value(found, "dayfly_peers", state="up") == 1
        assert value(found, "dayfly_peers", state="lost") == 0
        assert value(found, "dayfly_members") == 2
        wait_until(lambda: len(scrape(a)["dayfly_clock_skew_seconds"]) == 1, "the clock is measured")
        wait_until(lambda: value(scrape(a), "dayfly_expired_total") == 5, "they have expired")
        assert value(scrape(a), "dayfly_records") == 0


def test_a_node_counts_who_came_to_its_peer_port_and_became_no_link() -> None:
    """A stranger that says junk and goes is one."""
    with lone_node() as node:
        host, _, port = node.get("/v1/node")["peer"].rpartition(":")
        assert value(scrape(node), "dayfly_handshakes_refused_total") == 0
        with socket.create_connection((host, int(port)), 5) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        wait_until(lambda: value(scrape(node), "dayfly_handshakes_refused_total") == 1, "it is counted")


def test_every_metric_is_documented_and_every_panel_shows_one_that_exists() -> None:
    """docs/observability.md and the dashboard name what a node tells, no more and no less."""
    with lone_node() as node:
        names = set(scrape(node))
    told = set(re.findall(r"`(dayfly_[a-z0-9_]+)`", (DOCS / "observability.md").read_text()))
    only_with_a_journal = {"dayfly_journal_waiting", "dayfly_journal_trouble"}
    assert told == names | only_with_a_journal
    shown = set(re.findall(r"dayfly_[a-z0-9_]+", " ".join(_expressions(DOCS / "grafana-dashboard.json"))))
    shown = {re.sub(r"_seconds_(bucket|sum|count)$", "_seconds", name) for name in shown}
    assert shown
    assert shown <= told


def _expressions(path: Path) -> list[str]:
    dashboard: dict[str, Any] = json.loads(path.read_text())
    places = [p["gridPos"] for p in dashboard["panels"]]
    cells = [
        (x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])
    ]
    assert len(cells) == len(set(cells)), "panels overlap"
    assert all(x < 24 for x, _ in cells)
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
