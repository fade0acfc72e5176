"""`/v1/records`: post, put, get, and the caches between."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.nodes import lone_node
from tests.processes import Answer, NodeProcess, wait_until
from validator import sign

NDJSON = "application/x-ndjson"

ODD_IDS = (
    *(
        "a b",
        "a/b",
        "/lead",
        "//two",
        "trail/",
        "a//b",
        ".",
        "..",
        "../..",
        "../../etc/passwd",
        "a/../b",
        ".",
    ),
    *("%", "a%2Fb", "%00", "%zz", "100%", "a?b#c", "a;b=c", "a+b", "a&b=c", "*", "~", "\\", '"', "'", "<x>"),
    *(
        "\N{LATIN SMALL LETTER E WITH ACUTE}",
        "\N{BUTTERFLY}",
        "\u202eabc",
        "\ufffd",
        "x" * 256,
        "\u00e9" * 128,
    ),
)


@pytest.fixture(scope="module")
def node() -> Iterator[NodeProcess]:
    """One node for all tests here; each uses ids of its own."""
    with lone_node() as node:
        yield node


def post_json(node: NodeProcess, **fields: Any) -> Answer:
    return node.ask("POST", "/v1/records", json.dumps(fields), content_type="application/json")


# --- post -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_type": "text/plain; charset=utf-8"},
        {"content_type": "application/octet-stream"},
        {"content_type": ";;;"},
        {},
    ],
)
def test_a_body_of_any_other_type_is_the_raw(node: NodeProcess, headers: dict[str, str]) -> None:
    """`curl -d 'temp=21&unit=c'` works: the node makes id and signature, nothing is decoded as a form."""
    raw = "temp=21&unit=c+%20 é\n"
    answer = node.ask("POST", "/v1/records", raw.encode(), **headers)
    assert answer.status == 201
    receipt = answer.json()
    record = node.get(answer.headers["location"])
    assert record["raw"] == raw
    assert record["signature"] == receipt["signature"] == sign(raw)
    assert record["id"] == receipt["id"]
    assert answer.headers["location"] == f"/v1/records/{receipt['id']}"
    assert len(receipt["id"]) == 26


def test_a_receipt_says_what_is_held_and_until_when(node: NodeProcess) -> None:
    """Everything a publisher may want to know, in one answer."""
    answer = post_json(node, id="receipt", raw="häll")
    limits, record = node.get("/v1/node")["limits"], node.get("/v1/records/receipt")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "status": 201,
        "id": "receipt",
        "result": "stored",
        "time_stamp": record["time_stamp"],
        "expires_at": record["time_stamp"] + limits["ttl_ms"],
        "digest": record["digest"],
        "signature": sign("häll"),
        "size": 5,
    }


def test_the_same_again_is_200_and_another_raw_is_409(node: NodeProcess) -> None:
    """Idempotent for retries, never a silent replacement."""
    first = post_json(node, id="again", raw="x")
    again = post_json(node, id="again", raw="x", signature=sign("x").upper())
    other = post_json(node, id="again", raw="y")
    assert (first.status, again.status, other.status) == (201, 200, 409)
    assert again.json() == first.json() | {"status": 200, "result": "exists"}
    assert again.headers["location"] == first.headers["location"] == "/v1/records/again"
    assert other.headers["content-type"] == "application/problem+json"
    assert (other.json()["code"], other.json()["status"]) == ("id-conflict", 409)
    assert node.get("/v1/records/again")["raw"] == "x"


def test_generated_ids_sort_in_the_order_of_posting(node: NodeProcess) -> None:
    """Two posts in different milliseconds sort by time."""
    ids: list[str] = []

    def clock_moved_on(since_ms: int) -> bool:
        return int(node.get("/v1/node")["wall_ms"]) > since_ms

    for _ in range(5):
        receipt = node.post("x")
        ids.append(receipt["id"])
        wait_until(partial(clock_moved_on, receipt["time_stamp"]), "the clock moves on")
    assert ids == sorted(set(ids))


def test_a_batch_gets_one_result_a_line_in_its_order(node: NodeProcess) -> None:
    """Good and bad lines side by side: each is told what became of it, one does not hurt the next."""
    node.post("held", "batch/held")
    lines: list[tuple[str, int, str]] = [
        ('{"id":"batch/1","raw":"a"}', 201, ""),
        ("nonsense", 400, "bad-json"),
        ('{"id":"batch/held","raw":"held"}', 200, ""),
        ('{"id":"batch/held","raw":"else"}', 409, "id-conflict"),
        ('{"id":"batch/2","raw":""}', 400, "empty-field"),
        ('{"id":"batch/3","raw":"a","signature":"00"}', 400, "bad-signature"),
        ('{"id":"batch/4\\u0000","raw":"a"}', 400, "bad-id"),
        ('{"id":7,"raw":"a"}', 400, "bad-json"),
        ('{"id":"","raw":"a"}', 400, "bad-json"),
        (json.dumps({"id": "batch/5", "raw": "x" * (1 << 20) + "x"}), 413, "too-large"),
        ('{"id":"batch/1","raw":"a"}', 200, ""),
        ('  {"id":"batch/6","raw":"a\\n"}  \r', 201, ""),
        ('{"raw":"a"}', 201, ""),
    ]
    body = "\n\n".join(line for line, _, _ in lines) + "\n"
    answer = node.ask("POST", "/v1/records", body.encode(), content_type=NDJSON)
    assert (answer.status, answer.headers["content-type"]) == (200, NDJSON)
    assert answer.body.endswith(b"\n")
    results = [json.loads(line) for line in answer.body.splitlines()]
    assert [(r["status"], r.get("code", "")) for r in results] == [(s, c) for _, s, c in lines]
    assert results[3]["id"] == "batch/held"
    assert all(r["detail"] for r in results if r["status"] >= 400)
    assert all(r["result"] in ("stored", "exists") for r in results if r["status"] < 400)
    assert node.get("/v1/records/batch/6")["raw"] == "a\n"


def test_an_empty_batch_is_an_empty_answer(node: NodeProcess) -> None:
    """Nothing asked, nothing said."""
    answer = node.ask("POST", "/v1/records", "\n \n\r\n", content_type=NDJSON)
    assert (answer.status, answer.body) == (200, b"")


def test_a_batch_has_a_largest_number_of_lines(node: NodeProcess) -> None:
    """Ten thousand pass; one more and none of them is stored."""
    lines = [f'{{"id":"many/{i % 3}","raw":"x"}}' for i in range(10_000)]
    fits = node.ask("POST", "/v1/records", "\n".join(lines) + "\n\n", content_type=NDJSON)
    assert (fits.status, len(fits.body.splitlines())) == (200, 10_000)
    over = node.ask(
        "POST", "/v1/records", "\n".join(['{"id":"more","raw":"x"}', *lines]), content_type=NDJSON
    )
    assert (over.status, over.json()["code"]) == (413, "too-large")
    assert node.ask("GET", "/v1/records/more").status == 404


# --- put and get by id ----------------------------------------------------------------------------------


@pytest.mark.parametrize("id", ODD_IDS, ids=repr)
def test_an_odd_id_makes_the_round_trip(node: NodeProcess, id: str) -> None:
    """Slashes, dots, percents, any script: Location leads to the record, by PUT and by POST."""
    path = f"/v1/records/{quote(id, safe='')}"
    put = node.ask("PUT", path, "odd")
    assert put.status in (200, 201)
    assert put.headers["location"] == path
    assert put.json()["id"] == id
    posted = post_json(node, id=id, raw="odd")
    assert (posted.status, posted.headers["location"]) == (200, path)
    got = node.ask("GET", path)
    assert (got.status, got.json()["id"], got.json()["raw"]) == (200, id, "odd")


@pytest.mark.parametrize("id", ["plain/with/slashes", "/lead", "//two", "a//b", "trail/", "a/../b", "a/./b"])
def test_slashes_need_no_encoding(node: NodeProcess, id: str) -> None:
    """An id that looks like a path can be written like one, and nobody tidies it up."""
    assert node.ask("PUT", f"/v1/records/{id}", "odd").json()["id"] == id
    assert node.get(f"/v1/records/{id}")["id"] == id


@pytest.mark.parametrize("path", ["%ff", "a%c3", "%ed%a0%80", "%c0%af"])
def test_a_path_that_is_no_utf_8_is_refused(node: NodeProcess, path: str) -> None:
    """It would otherwise be stored under a name that nobody asked for."""
    for method in ("PUT", "GET"):
        answer = node.ask(method, f"/v1/records/{path}", "x" if method == "PUT" else None)
        assert (answer.status, answer.json()["code"]) == (400, "bad-id")


@pytest.mark.parametrize("path", ["%00", "a%0D%0Ab", "a%0A", "%0A", "%7f", "%C2%85"])
def test_a_path_with_control_characters_is_refused(node: NodeProcess, path: str) -> None:
    """Nothing gets into a header or a log that way."""
    answer = node.ask("PUT", f"/v1/records/{path}", "x")
    assert (answer.status, answer.json()["code"]) == (400, "bad-id")


def test_put_is_idempotent_and_conflicts_like_post(node: NodeProcess) -> None:
    """201, 200, 409: the id is the idempotency key. The content type plays no part."""
    first = node.ask("PUT", "/v1/records/put", '{"raw":1}', content_type="application/json")
    again = node.ask("PUT", "/v1/records/put", '{"raw":1}', content_type="text/plain")
    other = node.ask("PUT", "/v1/records/put", "else")
    assert (first.status, again.status, other.status) == (201, 200, 409)
    assert node.get("/v1/records/put")["raw"] == '{"raw":1}'
    for body, code in ((b"", "empty-field"), (b"\xff", "bad-request")):
        assert node.ask("PUT", "/v1/records/put2", body).json()["code"] == code


def test_a_record_is_shown_with_its_life_and_identity(node: NodeProcess) -> None:
    """The whole record as /v1 knows it."""
    node.post("x", "shown")
    record = node.get("/v1/records/shown")
    assert set(record) == {"id", "raw", "signature", "time_stamp", "expires_at", "digest", "size"}
    assert record["expires_at"] - record["time_stamp"] == 24 * 3600 * 1000
    assert len(bytes.fromhex(record["digest"])) == 32


def test_what_has_not_changed_is_not_sent_again(node: NodeProcess) -> None:
    """ETag is the digest; If-None-Match answers 304 without a body."""
    node.post("x", "etag")
    got = node.ask("GET", "/v1/records/etag")
    etag = got.headers["etag"]
    assert etag == f'"{got.json()["digest"]}"'
    for match in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        answer = node.ask("GET", "/v1/records/etag", if_none_match=match)
        assert (answer.status, answer.body) == (304, b""), match
        assert answer.headers["etag"] == etag
        assert "max-age" in answer.headers["cache-control"]
        assert answer.headers["content-type"] == "application/json"  # a cache puts it on what it holds
    assert node.ask("GET", "/v1/records/etag", if_none_match='"other"').status == 200
    assert node.ask("GET", "/v1/records/gone", if_none_match="*").status == 404


LISTINGS = (
    ("/listAllRecentData", "*/*", "application/json"),
    ("/v1/records", "application/json", "application/json"),
    ("/v1/records", "application/x-ndjson", "application/x-ndjson"),
)


@pytest.mark.parametrize(("path", "accept", "kind"), LISTINGS)
def test_a_listing_that_has_not_changed_is_not_sent_again(
    node: NodeProcess, path: str, accept: str, kind: str
) -> None:
    """Its tag stays until something comes; to POST, which the original's clients use, it is always sent."""
    node.post("x")
    got = node.ask("GET", path, accept=accept)
    tag = got.headers["etag"]
    assert tag.startswith('W/"')
    for method in ("GET", "HEAD"):
        again = node.ask(method, path, accept=accept, if_none_match=tag)
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
        assert again.headers["content-type"].startswith(kind)
        assert again.headers["cache-control"] == "no-cache"
    if path == "/listAllRecentData":
        assert node.ask("POST", path, if_none_match=tag).status == 200
    node.post("x")
    changed = node.ask("GET", path, accept=accept, if_none_match=tag)
    assert (changed.status, changed.headers["etag"] != tag) == (200, True)
    assert len(changed.body) > len(got.body)


def test_the_tags_of_the_forms_of_a_listing_are_not_one(node: NodeProcess) -> None:
    """A cache that holds one form is not told that it is another; `Vary` says on what it depends."""
    tags = {kind: node.ask("GET", "/v1/records", accept=kind).headers for _, kind, _ in LISTINGS[1:]}
    assert len({headers["etag"] for headers in tags.values()}) == 2
    assert all(headers["vary"] == "Accept" for headers in tags.values())


def test_a_floor_that_moves_with_the_time_has_no_lasting_tag(node: NodeProcess) -> None:
    """`since=10m` means other records a moment later, though the same are held."""
    tag = node.ask("GET", "/v1/records?since=10m").headers["etag"]
    wait_until(
        lambda: node.ask("GET", "/v1/records?since=10m", if_none_match=tag).status == 200, "a later floor"
    )


def test_a_page_that_is_waited_for_is_waited_for(node: NodeProcess) -> None:
    """A tag that fits is no answer to `wait`: that comes with the next record, or when the time is over."""
    end = node.get("/v1/records?since=now")["next"]
    tag = node.ask("GET", f"/v1/records?since={end}").headers["etag"]
    answer = node.ask("GET", f"/v1/records?since={end}&wait=50ms", if_none_match=tag)
    assert (answer.status, answer.json()["records"], "etag" in answer.headers) == (200, [], True)


def test_head_is_get_without_the_body(node: NodeProcess) -> None:
    """The same status and the same headers, for a record, a missing one, and every other route."""
    node.post("x", "head")
    for path in (
        "/v1/records/head",
        "/v1/records/missing",
        "/v1/records",
        "/v1/node",
        "/v1/peers",
        "/healthz",
        "/no",
    ):
        got, head = node.ask("GET", path), node.ask("HEAD", path)
        assert (head.status, head.body) == (got.status, b""), path
        assert head.headers["content-type"] == got.headers["content-type"]
        assert set(head.headers) == set(got.headers)


def test_what_is_not_there_is_404(node: NodeProcess) -> None:
    """With a code, and without echoing the id."""
    answer = node.ask("GET", "/v1/records/never-posted")
    assert (answer.status, answer.json()["code"]) == (404, "not-found")
    assert "never-posted" not in answer.body.decode()


def test_caches_may_keep_a_record_until_its_end_and_then_it_is_404() -> None:
    """Cache-Control counts down with the record's life; past the end there is nothing, by any route."""
    with lone_node("--ttl", "2500ms") as node:
        receipt = node.post("x", "short")
        listed = {p: node.ask("GET", p).headers["etag"] for p in ("/v1/records", "/listAllRecentData")}
        got = node.ask("GET", "/v1/records/short")
        assert got.headers["cache-control"] == "max-age=2"
        wait_until(
            lambda: node.ask("GET", "/v1/records/short").headers.get("cache-control") == "max-age=0",
            "its last second",
        )
        wait_until(lambda: node.ask("GET", "/v1/records/short").status == 404, "its end")
        assert node.get("/v1/node")["wall_ms"] >= receipt["expires_at"]
        assert node.listing() == []
        assert node.get("/v1/records")["records"] == []
        for path, tag in listed.items():
            assert node.ask("GET", path, if_none_match=tag).status == 200  # it is another now
        assert node.ask("GET", "/v1/records/short", if_none_match=got.headers["etag"]).status == 404
        assert node.ask("PUT", "/v1/records/short", "another").status == 201
