"""Health, readiness, the node and its peers; methods, and the shape of every refusal."""

from collections.abc import Iterator

import pytest

from api.errors import STATUS_BY_CODE, TITLE_BY_CODE
from tests.api.nodes import lone_node
from tests.processes import NodeProcess, cluster, wait_until


@pytest.fixture(scope="module")
def node() -> Iterator[NodeProcess]:
    """One node for all tests here."""
    with lone_node(
        "--ttl", "1h", "--name", "amber", "--sync-interval", "5s", "--records-max", "1000"
    ) as node:
        yield node


def test_a_living_node_is_healthy_and_then_ready() -> None:
    """Health is the answer itself; ready comes after the grace in which a lone node looks for others."""
    with cluster() as c:
        node = c.add(multicast=False).wait_ready()
        assert node.ask("GET", "/healthz").body == b"ok\n"
        assert node.ask("GET", "/readyz").body == b"ready\n"
        assert node.get("/v1/node")["ready"] is True


def test_a_node_that_is_not_ready_says_so_with_503(node: NodeProcess) -> None:
    """A load balancer waits; clients are served all the same."""
    with lone_node() as young:
        answer = young.ask("GET", "/readyz")
        assert young.get("/v1/node")["ready"] is False
        assert (answer.status, answer.body) == (503, b"catching up\n")
        assert young.post("x")["result"] == "stored"


def test_the_node_shows_what_it_is_and_holds(node: NodeProcess) -> None:
    """Counts move with what happens; nothing here needs a second request."""
    before = node.get("/v1/node")
    node.post("four", "id")
    node.post("four", "id")
    node.ask("PUT", "/v1/records/id", "else")
    node.ask("PUT", "/v1/records/bad%00", "x")
    after = node.get("/v1/node")
    assert after["name"] == "amber"
    assert len(bytes.fromhex(after["id"])) == 16
    assert after["rules"] == "size+time+md5 ttl=3600000ms"
    assert after["http"] == [node.url]
    assert after["peer"].startswith("127.0.0.1:")
    assert after["started_at"] <= before["wall_ms"] <= after["wall_ms"]
    assert 0 < after["loop_lag"]["recent_ms"] <= after["loop_lag"]["max_ms"]
    assert (after["peers_up"], after["announced_on"], after["in_sync"]) == (0, [], True)
    assert after["records"] - before["records"] == 1
    assert after["bytes"] - before["bytes"] == len("four") + len("id") + 32
    assert after["oldest_time_stamp"] == node.get("/v1/records/id")["time_stamp"]
    moved = {k: v - before["admission"][k] for k, v in after["admission"].items()}
    assert {k: v for k, v in moved.items() if v} == {
        "accepted": 1,
        "duplicate": 1,
        "conflict": 1,
        "rejected": 1,
    }


def test_the_node_shows_every_limit(node: NodeProcess) -> None:
    """A client can know beforehand what will be refused; the settings show through."""
    limits = node.get("/v1/node")["limits"]
    assert limits["ttl_ms"] == 3_600_000
    assert limits["sync_interval_s"] == 5
    assert limits["records_max"] == 1000
    assert limits["raw_bytes_max"] == 1 << 20
    assert limits["id_bytes_max"] == 256
    assert limits["json_depth_max"] == 16
    assert limits["http"]["body_bytes_max"] == 8 << 20


def test_peers_are_listed_with_what_is_known_of_them() -> None:
    """Two nodes show each other, and one that was stopped stays in the list with the reason."""
    with cluster() as c:
        one, other = c.start(2)
        (peer,) = one.get("/v1/peers")["peers"]
        shown = other.get("/v1/node")
        assert (peer["id"], peer["name"], peer["http"]) == (shown["id"], shown["name"], other.url)
        assert peer["address"] == shown["peer"]
        assert (peer["state"], peer["error"]) == ("up", "")
        assert set(peer) == {
            *("id", "name", "address", "http", "state", "version", "in_sync", "synced_s"),
            *("rtt_ms", "offset_ms", "lag_ms", "records", "heard_s", "error", "code", "key"),
        }
        assert peer["version"] == shown["version"]
        assert one.get("/v1/node")["peers_up"] == 1
        wait_until(lambda: one.peers[0]["synced_s"] is not None, "they have compared what they hold")
        assert 0 <= one.peers[0]["synced_s"] < 30


def test_a_node_alone_has_no_peers(node: NodeProcess) -> None:
    """An empty list, not an error."""
    assert node.get("/v1/peers") == {"links": "open", "peers": []}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/node", "/v1/peers"])
def test_what_changes_every_moment_is_not_cached(node: NodeProcess, path: str) -> None:
    """An operator sees now."""
    assert node.ask("GET", path).headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/records", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("/v1/records/x", {"GET", "HEAD", "PUT", "OPTIONS"}),
        ("/v1/node", {"GET", "HEAD", "OPTIONS"}),
        ("/v1/peers", {"GET", "HEAD", "OPTIONS"}),
        ("/healthz", {"GET", "HEAD", "OPTIONS"}),
        ("/readyz", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_another_method_is_405_with_what_is_allowed(node: NodeProcess, path: str, allowed: set[str]) -> None:
    """Allow names exactly what the route takes, and OPTIONS tells the same."""
    for method in {"DELETE", "PATCH", "POST", "PUT", "BREW"} - allowed:
        answer = node.ask(method, path)
        assert (answer.status, answer.json()["code"]) == (405, "method"), method
        assert set(answer.headers["allow"].split(", ")) == allowed
        assert method in answer.json()["detail"]
    options = node.ask("OPTIONS", path)
    assert options.status == 200
    assert set(options.headers["allow"].split(", ")) == allowed


REFUSALS: list[tuple[str, str, bytes, dict[str, str], str]] = [
    ("GET", "/nowhere", b"", {}, "not-found"),
    ("GET", "/v1", b"", {}, "not-found"),
    ("GET", "/v1/records/", b"", {}, "not-found"),
    ("GET", "/v1/node/", b"", {}, "not-found"),
    ("GET", "/V1/NODE", b"", {}, "not-found"),
    ("DELETE", "/v1/node", b"", {}, "method"),
    ("POST", "/v1/records", b"{", {"content_type": "application/json"}, "bad-json"),
    ("POST", "/v1/records", b"", {}, "empty-field"),
    ("POST", "/v1/records", b"\xff", {}, "bad-request"),
    ("PUT", "/v1/records/%00", b"x", {}, "bad-id"),
    ("PUT", "/v1/records/" + "x" * 257, b"x", {}, "too-large"),
    ("PUT", "/v1/records/taken", b"y", {}, "id-conflict"),
    ("GET", "/v1/records?since=nonsense", b"", {}, "bad-request"),
    ("GET", "/v1/node", b"", {"host": "evil.example"}, "bad-host"),
    ("POST", "/v1/records", b"x", {"origin": "http://evil.example"}, "bad-origin"),
    (
        "POST",
        "/v1/records",
        b'{"raw":"x","signature":"x"}',
        {"content_type": "application/json"},
        "bad-signature",
    ),
]


@pytest.mark.parametrize(("method", "path", "body", "headers", "code"), REFUSALS)
def test_every_refusal_is_a_problem_with_its_code(
    node: NodeProcess, method: str, path: str, body: bytes, headers: dict[str, str], code: str
) -> None:
    """RFC 9457: one shape, one table; the status in the body is the one on the wire."""
    node.ask("PUT", "/v1/records/taken", "x")
    answer = node.ask(method, path, body or None, **headers)
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "code", "detail"}
    assert problem["code"] == code
    assert answer.status == problem["status"] == STATUS_BY_CODE[code]
    assert problem["title"] == TITLE_BY_CODE[code]
    assert problem["detail"]
    assert problem["detail"].isprintable()


def test_every_code_has_a_title_and_a_status_of_an_error() -> None:
    """The table is whole."""
    assert STATUS_BY_CODE.keys() == TITLE_BY_CODE.keys()
    assert all(400 <= status < 600 for status in STATUS_BY_CODE.values())
