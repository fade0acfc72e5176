"""The two original routes: the transcript of the original's document, byte for byte, and its errors."""

import contextlib
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.nodes import forget_peak, lone_node, peak_mb, rss_mb
from tests.processes import Answer, NodeProcess
from tests.vectors import README_RAW, README_SIGNATURE
from validator import sign

JSON = "application/json; charset=utf-8"
OK, EXISTS = b'{"result":true,"msg":"ok"}', b'{"result":true,"msg":"Data exists"}'


@pytest.fixture(scope="module")
def node() -> Iterator[NodeProcess]:
    """One node for all tests here; each uses ids of its own."""
    with lone_node() as node:
        yield node


def post(node: NodeProcess, id: str, raw: str, signature: str | None = None) -> Answer:
    body = {"id": id, "raw": raw, "signature": sign(raw) if signature is None else signature}
    return node.ask("POST", "/postNewData", json.dumps(body), content_type="application/json;")


def test_the_originals_transcript(node: NodeProcess) -> None:
    """The pair of calls of the original's document, odd content type included, answered as it did."""
    with lone_node() as fresh:
        empty = fresh.ask("POST", "/listAllRecentData")
        assert (empty.status, empty.body) == (200, b'{"data_list":[]}')
        body = f'{{"id":"id1","raw":"{README_RAW}","signature":"{README_SIGNATURE}"}}'
        posted = fresh.ask("POST", "/postNewData", body, content_type="application/json;")
        assert (posted.status, posted.headers["content-type"], posted.body) == (200, JSON, OK)
        again = fresh.ask("POST", "/postNewData", body, content_type="application/json;")
        assert (again.status, again.headers["content-type"], again.body) == (200, JSON, EXISTS)
        for method in ("POST", "GET"):
            listed = fresh.ask(method, "/listAllRecentData")
            assert (listed.status, listed.headers["content-type"]) == (200, JSON)
            assert listed.body == f'{{"data_list":[{body}]}}'.encode()
        assert fresh.ask("POST", "/listAllRecentData", "what ever", content_type="x/y").body == listed.body
        head = fresh.ask("HEAD", "/listAllRecentData")
        assert (head.status, head.headers["content-type"], head.body) == (200, JSON, b"")


@pytest.mark.parametrize(
    "content_type", [None, "application/json", "text/plain", "application/x-www-form-urlencoded", "nonsense"]
)
def test_the_content_type_is_ignored(node: NodeProcess, content_type: str | None) -> None:
    """The original never looked at it, so its clients send anything."""
    body = json.dumps({"id": f"type {content_type}", "raw": "x", "signature": sign("x")})
    headers = {} if content_type is None else {"content_type": content_type}
    assert node.ask("POST", "/postNewData", body, **headers).body == OK


def test_a_signature_of_any_case_is_taken_and_kept_as_given(node: NodeProcess) -> None:
    """Listed as posted, whatever the case."""
    assert post(node, "case", README_RAW, README_SIGNATURE.upper()).body == OK
    assert post(node, "case", README_RAW, README_SIGNATURE).body == EXISTS
    listed = {r["id"]: r["signature"] for r in node.listing()}
    assert listed["case"] == README_SIGNATURE.upper()


@pytest.mark.parametrize(
    ("raw", "listed"),
    [
        ('<a href="x">&amp;</a>', rb"\u003ca href=\"x\"\u003e\u0026amp;\u003c/a\u003e"),
        ("a\u2028b\u2029c\u2027\u202a", "a\\u2028b\\u2029c\u2027\u202a".encode()),
        ("\\<\\u003c\\", rb"\\\u003c\\u003c\\"),
        ("\n\r\t/'", rb"\n\r\t/'"),
        ("\x00\x01\x1f", rb"\u0000\u0001\u001f"),
        ("é \N{BUTTERFLY} \x7f\x80", "é \N{BUTTERFLY} \x7f\x80".encode()),
    ],
)
def test_the_listing_is_escaped_as_go_does(node: NodeProcess, raw: str, listed: bytes) -> None:
    """Byte for byte: <, >, & and the two line separators escaped, all else plain."""
    id = f"go {sign(raw)}"
    assert post(node, id, raw).body == OK
    whole = node.ask("POST", "/listAllRecentData").body
    record = b'{"id":"%b","raw":"%b","signature":"%b"}' % (id.encode(), listed, sign(raw).encode())
    assert record in whole
    assert raw in {r["raw"] for r in json.loads(whole)["data_list"]}


def test_ids_and_signatures_are_escaped_alike(node: NodeProcess) -> None:
    """All three texts go through the same encoder."""
    assert post(node, "<&\u2028>", "x").body == OK
    assert b'{"id":"\\u003c\\u0026\\u2028\\u003e",' in node.ask("GET", "/listAllRecentData").body


def test_the_listing_is_in_order_of_time_oldest_first(node: NodeProcess) -> None:
    """The original's order was random; ours says something."""
    ids = [f"order/{i}" for i in range(30)]
    for id in reversed(ids):
        assert post(node, id, "x").body == OK
    assert [r["id"] for r in node.listing() if r["id"].startswith("order/")] == ids[::-1]
    assert all(set(r) == {"id", "raw", "signature"} for r in node.listing())


def test_other_fields_are_ignored_and_a_time_stamp_is_ours(node: NodeProcess) -> None:
    """A client cannot backdate or postdate a record."""
    body = {"id": "stamped", "raw": "x", "signature": sign("x"), "time_stamp": "1", "more": {"a": [1]}}
    before = node.get("/v1/node")["wall_ms"]
    assert node.ask("POST", "/postNewData", json.dumps(body)).body == OK
    assert before <= node.get("/v1/records/stamped")["time_stamp"] <= node.get("/v1/node")["wall_ms"] + 1000


@pytest.mark.parametrize(
    ("body", "status", "msg"),
    [
        ("", 400, "Error parsing data"),
        ("[]", 400, "Error parsing data"),
        ("{", 400, "Error parsing data"),
        ('{"id":1,"raw":"x","signature":"x"}', 400, "Error parsing data"),
        ("{}", 400, "Invalid data"),
        ('{"id":"a","raw":"x"}', 400, "Invalid data"),
        ('{"id":"","raw":"x","signature":"9dd4e461268c8034f5c8564e155c67a6"}', 400, "Invalid data"),
        ('{"id":"a","raw":"","signature":"d41d8cd98f00b204e9800998ecf8427e"}', 400, "Invalid data"),
        ('{"id":"a","raw":"x","signature":"0dd4e461268c8034f5c8564e155c67a6"}', 400, "Invalid data"),
        ('{"id":"a\\u0007","raw":"x","signature":"9dd4e461268c8034f5c8564e155c67a6"}', 400, "Invalid data"),
        (
            '{"id":"taken","raw":"y","signature":"415290769594460e2e485922904f345d"}',
            409,
            "Different raw data with same id",
        ),
        (f'{{"id":"{"a" * 257}","raw":"x","signature":"x"}}', 413, "The request is too large"),
    ],
)
def test_a_refusal_has_the_originals_words_and_the_right_status(
    node: NodeProcess, body: str, status: int, msg: str
) -> None:
    """The shape the original never got to send, with a status that tells the truth."""
    assert post(node, "taken", "x").status == 200
    answer = node.ask("POST", "/postNewData", body)
    assert (answer.status, answer.headers["content-type"]) == (status, JSON)
    assert answer.body == json.dumps({"result": False, "msg": msg}, separators=(",", ":")).encode()


def test_a_full_store_refuses_with_507_and_goes_on_listing() -> None:
    """Living records are never given up for new ones."""
    with lone_node("--records-max", "2") as node:
        assert post(node, "a", "x").body == post(node, "b", "x").body == OK
        full = post(node, "c", "x")
        assert (full.status, full.json()) == (507, {"result": False, "msg": "The store is full"})
        assert post(node, "a", "x").body == EXISTS
        assert post(node, "a", "y").status == 409
        assert [r["id"] for r in node.listing()] == ["a", "b"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/postNewData", {"POST", "OPTIONS"}),
        ("PUT", "/postNewData", {"POST", "OPTIONS"}),
        ("DELETE", "/listAllRecentData", {"GET", "HEAD", "POST", "OPTIONS"}),
    ],
)
def test_another_method_is_refused_with_what_is_allowed(
    node: NodeProcess, method: str, path: str, allowed: set[str]
) -> None:
    """405 with Allow, in the original's shape."""
    answer = node.ask(method, path)
    assert answer.status == 405
    assert set(answer.headers["allow"].split(", ")) == allowed
    assert answer.json()["result"] is False


@pytest.fixture(scope="module")
def full_node() -> Iterator[NodeProcess]:
    """A node with twenty thousand records of a kilobyte: a listing of 22 MB."""
    with lone_node() as node:
        node.post_batch([f"{i:08}" + "x" * 1000 for i in range(20_000)], "n")
        yield node


def test_a_long_listing_is_streamed_and_memory_stays_flat(full_node: NodeProcess) -> None:
    """Twenty thousand records of a kilobyte: complete, none twice, and never built whole."""
    node = full_node
    assert sorted(int(r["id"][1:]) for r in node.listing()) == list(range(20_000))
    forget_peak(node)
    before = rss_mb(node)
    for _ in range(2):
        assert len(node.ask("POST", "/listAllRecentData").body) > 20_000_000
    assert peak_mb(node) - before < 12, "a listing of 22 MB"


def test_readers_who_do_not_read_on_cost_little_memory_and_hold_up_nobody(full_node: NodeProcess) -> None:
    """Sixteen begin to read and stop: others list as before; then each reads on and misses nothing."""
    node = full_node
    forget_peak(node)
    before = rss_mb(node)
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(socket.create_connection(("127.0.0.1", node.port))) for _ in range(16)]
        for reader in readers:
            reader.sendall(b"GET /listAllRecentData HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        begun = [reader.recv(1000) for reader in readers]
        assert len(node.ask("POST", "/listAllRecentData").body) > 20_000_000
        assert peak_mb(node) - before < 30, "seventeen listings of 22 MB"
        with ThreadPoolExecutor(len(readers)) as pool:  # at once: who were last would be cut
            bodies = [first + rest for first, rest in zip(begun, pool.map(_rest, readers), strict=True)]
    for body in bodies:
        assert body.count(b'"signature"') == 20_000
        assert body.endswith(b"]}\r\n0\r\n\r\n")


def _rest(reader: socket.socket) -> bytes:
    with reader.makefile("rb") as file:
        return file.read()
