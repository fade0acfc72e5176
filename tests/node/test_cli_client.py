"""`dayfly post`, `list` and `peers` against a real node, a missing one, and something else."""

import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.nodes import lone_node
from tests.node.commands import COMMAND, ENVIRONMENT, answering, dayfly, on_terminal
from tests.processes import ROOT, NodeProcess, free_port
from tests.vectors import HOSTILE_TEXTS


@pytest.fixture(scope="module")
def node() -> Iterator[NodeProcess]:
    """One node for all tests here; each uses ids of its own."""
    with lone_node() as node:
        yield node


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        ('exec "$@" post hello >&-', 0, ""),
        ('exec "$@" post <&-', 1, "empty-field"),
        ('exec "$@" post hello >/dev/full', 1, "the output cannot be written"),
        ('exec "$@" list >/dev/full', 1, "the output cannot be written"),
        ('exec "$@" post --id "$(printf "\\377")" hello', 2, "not UTF-8"),
        ('exec "$@" post --id "" hello', 2, "it is empty"),
        ('exec "$@" list --prefix "$(printf "\\377")"', 2, "not UTF-8"),
        ('exec "$@" watch --prefix "$(printf "\\377")"', 2, "not UTF-8"),
    ],
)
def test_odd_ways_to_be_started_end_with_a_reason(
    node: NodeProcess, command: str, code: int, told: str
) -> None:
    """Closed standard streams, a full disk behind the output, arguments that are no UTF-8 or empty."""
    dayfly("post", "to be listed", "--node", node.url)
    script = ["/bin/sh", "-c", command, "sh", *COMMAND]
    environment = ENVIRONMENT | {"DAYFLY_NODE": node.url}
    ended = subprocess.run(script, env=environment, capture_output=True, cwd=ROOT, timeout=30, check=False)
    assert (ended.returncode, "Traceback" in ended.stderr.decode()) == (code, False), ended.stderr
    assert told in ended.stderr.decode()


# --- post -----------------------------------------------------------------------------------------------


def test_post_takes_an_argument_standard_input_or_a_file(node: NodeProcess, tmp_path: Path) -> None:
    """Three ways in, one receipt out, and the texts arrive as they were."""
    file = tmp_path / "f"
    file.write_text("from a file\n")
    receipts = [
        dayfly("post", "an ärgument", "--node", node.url),
        dayfly("post", "--node", node.url, stdin="from stdin \N{BUTTERFLY}\n".encode()),
        dayfly("post", "--file", str(file), DAYFLY_NODE=node.url),
        dayfly("post", "--node", f"127.0.0.1:{node.port}", "--", "-httpport=1"),
    ]
    assert [(r.code, r.err) for r in receipts] == [(0, "")] * 4
    assert [r.lines[0]["result"] for r in receipts] == ["stored"] * 4
    raws = [node.get(f"/v1/records/{r.lines[0]['id']}")["raw"] for r in receipts]
    assert raws == ["an ärgument", "from stdin \N{BUTTERFLY}\n", "from a file\n", "-httpport=1"]


def test_post_under_an_id_is_idempotent_and_a_conflict_ends_with_1(node: NodeProcess) -> None:
    """Whatever the id looks like it is sent whole; the refusal has its code and the way out."""
    id = "alerts/door ../%2F?#é"
    first = dayfly("post", "--id", id, "open", "--node", node.url)
    again = dayfly("post", "--id", id, "open", "--node", node.url)
    other = dayfly("post", "--id", id, "shut", "--node", node.url)
    assert (first.code, first.lines[0]["id"], first.lines[0]["result"]) == (0, id, "stored")
    assert (again.code, again.lines[0]["result"]) == (0, "exists")
    assert (other.code, other.out) == (1, "")
    assert "refused (id-conflict)" in other.err
    assert "use another id" in other.err


@pytest.mark.parametrize(
    ("stdin", "code"),
    [(b"", "empty-field"), (b"\xff", "bad-request"), (b"x" * (1 << 20) + b"x", "too-large")],
)
def test_a_record_that_is_refused_ends_with_1_and_the_reason(
    node: NodeProcess, stdin: bytes, code: str
) -> None:
    """The node's own words reach the person at the terminal."""
    result = dayfly("post", "--node", node.url, stdin=stdin)
    assert result.code == 1
    assert f"refused ({code})" in result.err


def test_a_file_far_too_large_hears_why(node: NodeProcess, tmp_path: Path) -> None:
    """The node stops reading long before the end; its answer is found all the same."""
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(100 << 20)
    result = dayfly("post", "--file", str(large), "--node", node.url)
    assert (result.code, result.out) == (1, "")
    assert "refused (too-large)" in result.err


def test_post_on_a_terminal_says_how_long_it_lives(node: NodeProcess) -> None:
    """People get a sentence, not JSON."""
    shown = on_terminal("post", "hello", "--id", "shown", "--node", node.url)
    assert re.search(r"^shown  5 bytes, until \w{3} \d\d:\d\d:\d\d$", shown, re.MULTILINE)
    assert "was there already" in on_terminal("post", "hello", "--id", "shown", "--node", node.url)


# --- list and peers -------------------------------------------------------------------------------------


def test_a_wait_for_more_nodes_than_there_are_is_not_told_as_a_delay(node: NodeProcess) -> None:
    """It ends with 4 all the same, and nothing spreads further."""
    few = dayfly("post", "--wait", "3", "x", "--node", node.url)
    assert (few.code, "all 1 nodes hold it; 3 were waited for" in few.err) == (4, True), few.err


def test_list_is_ndjson_when_piped_in_order_of_arrival(node: NodeProcess) -> None:
    """A line a record, the same fields as over HTTP; prefix, limit and cursor narrow it down."""
    for i in range(5):
        node.post(f"raw {i}", f"list/{i}")
    listed = dayfly("list", "--prefix", "list/", "--node", node.url)
    assert listed.code == 0
    assert [r["raw"] for r in listed.lines] == [f"raw {i}" for i in range(5)]
    assert listed.lines[0] == node.get("/v1/records/list/0") | {"cursor": listed.lines[0]["cursor"]}
    limited = dayfly("list", "--prefix", "list/", "--limit", "2", "--node", node.url)
    assert limited.lines == listed.lines[:2]
    since = listed.lines[2]["cursor"]
    assert dayfly("list", "--prefix", "list/", "--since", since, "--node", node.url).lines == listed.lines[3:]


def test_list_is_a_table_on_a_terminal_or_ndjson_if_asked(node: NodeProcess) -> None:
    """People see columns; --json gives the lines there too."""
    node.post("hello", "table/1")
    shown = on_terminal("list", "--prefix", "table/", "--node", node.url).split()
    assert shown[:5] == ["id", "age", "left", "size", "raw"]
    assert shown[-5] == "table/1"
    assert shown[-3:] == ["23h", "5", "hello"]
    lines = on_terminal("list", "--prefix", "table/", "--json", "--node", node.url).splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["table/1"]
    assert "no records" in on_terminal("list", "--prefix", "none/", "--node", node.url)
    assert "no peers\nlinks: open\n" in on_terminal("peers", "--node", node.url)


def test_hostile_texts_cannot_give_orders_to_a_terminal(node: NodeProcess) -> None:
    """No escape sequence, line break, direction change or markup of a record is obeyed, as raw or as id."""
    for i, text in enumerate(HOSTILE_TEXTS):
        for id in (f"hostile/{i}", f"hostile/{text}"):
            body = json.dumps({"id": id, "raw": text})
            status = node.ask("POST", "/v1/records", body, content_type="application/json").status
            assert status in (201, 400)
    table = on_terminal("list", "--prefix", "hostile/", "--node", node.url)
    assert "·[31mred·[0m" in table
    assert "[bold]markup[/bold]" in table
    assert table.count("hostile/") >= len(HOSTILE_TEXTS)
    assert len(table.splitlines()) == table.count("hostile/") + 4
    lines = on_terminal("list", "--json", "--prefix", "hostile/", "--node", node.url).splitlines()
    assert {json.loads(line)["raw"] for line in lines} == set(HOSTILE_TEXTS)


def test_list_into_a_pipe_that_closes_early_is_no_error(node: NodeProcess) -> None:
    """`dayfly list | head -1`: who reads has enough, and nobody is told off."""
    node.post_batch(["x" * 1000] * 500, "pipe/")
    process = subprocess.Popen(
        [*COMMAND, "list", "--node", node.url],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(10) == 0


# --- nobody there, or somebody else ---------------------------------------------------------------------


@pytest.mark.parametrize("command", [("post", "x"), ("list",), ("peers",)])
def test_no_node_ends_with_3_and_says_how_to_start_one(command: tuple[str, ...]) -> None:
    """Unreachable is not refused: a script may try another node."""
    url = f"http://127.0.0.1:{free_port()}"
    result = dayfly(*command, "--node", url)
    assert (result.code, result.out) == (3, "")
    assert f"no node answers at {url}" in result.err
    assert "dayfly up" in result.err


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://a..b:80", f"http://{'a' * 64}.b", "http://127.0.0.1:99999"]
)
def test_an_address_that_can_be_none_ends_with_2(url: str) -> None:
    """Whatever keeps it from being one: brackets, a name that no name can be, a port."""
    for command in ("post", "x"), ("watch",):
        result = dayfly(*command, "--node", url)
        assert (result.code, result.out) == (2, "")
        assert "is not an address" in result.err
    assert dayfly("doctor", "--http", url).code in (2, 3)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (("post", "x"), b""),
        (("list",), b"SSH-2.0-\x1b[31mOpenSSH\r\n"),
        (("peers",), b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<p>\x1b"),
        (("peers",), HEAD + b'Content-Length: 900\r\n\r\n{"peers":['),
        (("post", "x"), HEAD + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"id"\r\n'),
        (("list",), HEAD + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"id"\r\n'),
        (("list",), HEAD + b'Transfer-Encoding: chunked\r\n\r\n8\r\n{"a":1}\n\r\n'),
        (("list",), HEAD + b"Content-Length: 2\r\n\r\n\xff\xff"),
        (("post", "x"), HEAD + b"Content-Length: 2\r\n\r\n{}"),
        (("post", "x"), HEAD + b"Content-Length: 2\r\n\r\n[]"),
        (("list",), HEAD + b"Content-Length: 2\r\n\r\n{}"),
        (("list",), HEAD + b"Content-Length: 2\r\n\r\n[]"),
        (("peers",), HEAD + b"Content-Length: 2\r\n\r\n{}"),
        (("peers",), HEAD + b'Content-Length: 14\r\n\r\n{"peers":[{}]}'),
        (("peers",), HEAD + b"Content-Length: 9000\r\n\r\n" + b"[" * 9000),
    ],
)
def test_an_answer_that_is_no_nodes_or_breaks_off_ends_with_3(
    command: tuple[str, ...], answer: bytes
) -> None:
    """Half an answer is never taken for a whole one, and what a stranger says gives no orders either."""
    with answering(answer) as url:
        result = dayfly(*command, "--node", url)
    assert result.code == 3
    assert url in result.err
    assert [c for c in result.err if not c.isprintable() and c != "\n"] == []


def test_a_command_that_is_interrupted_ends_with_130() -> None:
    """As shells count, and without a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [*COMMAND, "list", "--node", f"http://127.0.0.1:{server.getsockname()[1]}"]
        with subprocess.Popen(command, stdout=-1, stderr=-1, env=ENVIRONMENT, cwd=ROOT) as process:
            connection, _ = server.accept()  # now it waits for an answer
            with connection:
                process.send_signal(signal.SIGINT)
                assert (process.communicate(timeout=30), process.returncode) == ((b"", b""), 130)


def test_a_refusal_in_other_words_than_ours_ends_with_1() -> None:
    """A proxy's 502 has no code of ours; its status is told."""
    with answering(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\n<p>") as url:
        result = dayfly("peers", "--node", url)
    assert (result.code, result.err) == (1, "dayfly: refused with status 502\n")
