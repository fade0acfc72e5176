"""A protected node as its clients meet it: every route, both ways to it, and the commands."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.nodes import lone_node
from tests.certificates import make_certificate
from tests.node.commands import dayfly
from tests.processes import NodeProcess, wait_until
from validator import sign

PEN, EYE = "pen-7c1f", "eye-93ab"


def bearer(token: str) -> str:
    """Write bearer credentials."""
    return f"Bearer {token}"


ANN = f"Basic {base64.b64encode(b'ann:' + PEN.encode()).decode()}"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """One node that lets nobody in without credentials."""
    secret = tmp_path_factory.mktemp("secrets") / "pen"
    secret.write_text(f"{PEN}\n")
    secret.chmod(0o600)
    options = ("--auth-user", "ann", "--auth-password", f"file:{secret}", "--read-token", EYE)
    with lone_node(*options, "--write-token", f"file:{secret}") as node:
        yield node


READS = ["/v1/records", "/v1/records/x", "/listAllRecentData", "/v1/node", "/v1/peers", "/nowhere"]
SEED = json.dumps({"id": "seed", "raw": "r", "signature": sign("r")})
WRITES = [
    ("POST", "/v1/records", "fast"),
    ("POST", "/v1/records", "x" * 40_000),  # too large for the fast path
    ("POST", "/postNewData", SEED),
    ("PUT", "/v1/records/put", "put"),
]


@pytest.mark.parametrize("path", READS)
def test_no_route_is_read_without_credentials(node: NodeProcess, path: str) -> None:
    """Neither with none nor with wrong ones; the answer says how to come in."""
    assert node.ask("GET", path).status == 401
    for good in (bearer(EYE), bearer(PEN), ANN):
        assert node.ask("GET", path, authorization=good).status in (200, 404)


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_no_route_is_written_to_without_credentials(
    node: NodeProcess, method: str, path: str, body: str
) -> None:
    """Not on the fast path nor past it; a reader is told that it is one, and nothing is stored."""
    before = json.loads(node.ask("GET", "/v1/node", authorization=bearer(EYE)).body)["records"]
    refused = node.ask(method, path, body)
    assert refused.status == 401
    assert refused.headers["www-authenticate"].startswith("Basic realm=")
    read_only = node.ask(method, path, body, authorization=bearer(EYE))
    assert read_only.status == 403
    if path == "/postNewData":
        assert refused.json() == {"result": False, "msg": "Credentials are needed"}
    else:
        assert (refused.json()["code"], read_only.json()["code"]) == ("auth-required", "forbidden")
    assert json.loads(node.ask("GET", "/v1/node", authorization=bearer(EYE)).body)["records"] == before
    assert node.ask(method, path, body, authorization=bearer(PEN)).status in (200, 201)
    assert node.ask(method, path, body, authorization=ANN).status in (200, 201)


def test_health_needs_no_credentials_and_secrets_are_shown_nowhere(node: NodeProcess) -> None:
    """An orchestrator gets its answer; /v1/node says what is protected, and nobody says with what."""
    node.wait_ready()
    assert [node.ask("GET", path).status for path in ("/healthz", "/readyz")] == [200, 200]
    shown = node.ask("GET", "/v1/node", authorization=bearer(EYE))
    assert shown.json()["access"] == {"writing": "protected", "reading": "protected", "https": False}
    told = shown.body.decode() + node.log.read_text()
    assert PEN not in told
    assert EYE not in told


def test_a_handshake_without_credentials_is_refused(node: NodeProcess) -> None:
    """A WebSocket is a way to read like any other."""
    shake = {"connection": "Upgrade", "upgrade": "websocket", "sec_websocket_version": "13"}
    answer = node.ask("GET", "/v1/ws", sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ==", **shake)
    assert answer.status == 401


def test_the_commands_bring_credentials(node: NodeProcess, tmp_path: Path) -> None:
    """By option, by file or by environment; without them they say what is missing."""
    secret = tmp_path / "pen"
    secret.write_text(f"{PEN}\n")
    secret.chmod(0o600)
    results = [
        dayfly("post", "one", "--node", node.url, "--user", f"ann:{PEN}"),
        dayfly("post", "two", "--node", node.url, "--user", f"ann:file:{secret}"),
        dayfly("post", "three", "--node", node.url, "--token", f"file:{secret}"),
        dayfly("list", "--limit", "1", "--node", node.url, DAYFLY_TOKEN=EYE),
        dayfly("peers", "--node", node.url, DAYFLY_USER=f"ann:{PEN}"),
    ]
    assert [(r.code, r.err) for r in results] == [(0, "")] * 5
    refused = dayfly("list", "--node", node.url)
    assert (refused.code, refused.out) == (1, "")
    assert "refused (auth-required): reading here needs a user and password, or a bearer token" in refused.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--user", "ann:a", "--token", "b"), "not both"),
        (("--user", "ann"), "NAME:PASSWORD"),
        (("--user", "ann:"), "printable ASCII"),
        (("--token", "file:/none"), "'/none' cannot be read: No such file"),
        (("--token", "t\x07"), "printable ASCII"),
        (("--node", "https://127.0.0.1:1", "--ca", "/none"), "--ca '/none' is no readable"),
        (("--node", "ftp://127.0.0.1:1"), "is not an address such as"),
        (("--node", "http://ann:pw@127.0.0.1:1"), "without a user; give user and password by --user"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_refused_before_anything_is_sent(options: tuple[str, ...], said: str) -> None:
    """The exit code is that of wrong usage."""
    refused = dayfly("peers", *options)
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err


def test_guesses_run_out() -> None:
    """Wrong credentials are 401 until the burst is spent, then 429 with the time to wait, right ones too."""
    with lone_node("--write-token", PEN) as node:
        answers = [node.ask("POST", "/v1/records", "x", authorization=bearer(f"g{n}")) for n in range(30)]
        statuses = [a.status for a in answers]
        assert statuses == sorted(statuses)
        assert 10 <= statuses.count(401) <= 20  # some come back while the others are sent
        assert {a.headers["retry-after"] for a in answers if a.status == 429} <= {"1", "2", "3", "4", "5"}
        assert node.ask("GET", "/v1/records").status == 200  # open, and nothing was claimed
        assert node.log.read_text().count("wrong credentials") == 1


def test_posts_beyond_the_rate_are_told_when_to_come_back() -> None:
    """A rate that was set counts here too: by either path, by record of a batch; reading goes on."""
    with lone_node("--post-rate", "2") as node:
        batch = "\n".join(json.dumps({"raw": f"r{n}"}) for n in range(40))
        first = node.ask("POST", "/v1/records", batch, content_type="application/x-ndjson")
        assert first.status == 200
        for path in ("/v1/records", "/v1/records?slow=1"):
            refused = node.ask("POST", path, "x")
            assert (refused.status, refused.json()["code"]) == (429, "too-many")
            assert 10 <= int(refused.headers["retry-after"]) <= 20
        assert node.get("/v1/node")["records"] == 40
        assert node.get("/v1/node")["clients"]["posts_limited"] == 2


def test_the_whole_way_over_https(tmp_path: Path) -> None:
    """The start line says https; commands trust what they are told to and nothing else."""
    certificate, key = make_certificate(tmp_path)
    with lone_node("--http-cert", str(certificate), "--http-key", str(key), tls=True) as node:
        url = f"https://127.0.0.1:{node.port}"
        assert f'"http": "{url}"' in node.log.read_text()
        assert dayfly("post", "hello", "--node", url, "--ca", str(certificate)).code == 0
        assert dayfly("list", "--node", url, DAYFLY_CA=str(certificate)).lines[0]["raw"] == "hello"
        for command in ("list", "watch"):
            distrusted = dayfly(command, "--node", url)
            assert (distrusted.code, distrusted.out) == (3, "")
            assert "is not trusted" in distrusted.err
        assert "write https://" in dayfly("list", "--node", f"http://127.0.0.1:{node.port}").err


def test_a_certificate_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    """One line that names the file, and exit code 1."""
    ended = dayfly("up", "--http", "127.0.0.1:0", "--no-multicast", "--http-cert", str(tmp_path / "none.pem"))
    assert ended.code == 1
    assert "none.pem cannot be read" in ended.err


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ((), "may post and read"),
        (("--write-token", PEN), "may read"),
        (("--read-token", EYE), "may post"),
        (("--write-token", PEN, "--read-token", EYE), "cross the network in clear"),
    ],
    ids=str,
)
def test_a_node_for_others_says_in_a_line_what_is_open(options: tuple[str, ...], note: str) -> None:
    """Once, at the start; a node on loopback has nothing to say."""
    with lone_node(*options, host="0.0.0.0") as node:  # noqa: S104 - it is the test
        wait_until(lambda: note in node.log.read_text(), "the note is in the log")
        lines = [json.loads(line) for line in node.log.read_text().splitlines()]
        assert [note in line["event"] for line in lines if line["level"] == "warning"] == [True]
