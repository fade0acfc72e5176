"""A data directory that is taken, closed, full or damaged, on real node processes."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounts import mounted
from tests.processes import NodeProcess, cluster, wait_until
from tests.storage.test_journal_full import fill
from tests.system.durable import Load, durable_node, ended, log_lines, running, wait_answers, wait_peers
from tests.system.durable import small_disk as small_disk


def test_a_second_node_on_a_directory_is_told_whom_it_met(tmp_path: Path) -> None:
    """One line, code 1, the process's number; the first goes on."""
    with running(durable_node(tmp_path)) as first:
        code, said = ended(durable_node(tmp_path))
        assert code == 1
        assert said == (
            f"dayfly: the data directory {tmp_path} is in use by process {first.pid}; "
            "each node needs one of its own\n"
        )
        first.post("still here")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A directory nobody may write to: for root, whom modes do not bind, on a read-only file system."""
    if os.geteuid():
        tmp_path.chmod(0o555)
        yield tmp_path
        tmp_path.chmod(0o755)
        return
    with mounted(tmp_path, "ro"):
        yield tmp_path


def test_a_directory_that_cannot_be_written_is_refused(read_only: Path) -> None:
    """One line with path and reason, code 1; nothing listens."""
    code, said = ended(durable_node(read_only / "data"))
    assert code == 1
    assert said.startswith(f"dayfly: the data directory {read_only}/data cannot be used: ")
    assert said.count("\n") == 1


def refusal(node: NodeProcess, raw: str, id: str) -> str:
    """Post a record that must be refused as not durable; return the reason."""
    answer = node.ask("PUT", f"/v1/records/{id}", raw)
    assert (answer.status, answer.json()["code"]) == (507, "not-durable"), answer
    reason: str = answer.json()["detail"]
    return reason


def test_on_a_full_disk_posts_are_refused_and_all_else_goes_on(small_disk: Path) -> None:
    """507 with the reason, reads, gossip and health as ever; with room it goes on without a restart."""
    data = small_disk / "data"
    with cluster() as c:
        node, other = wait_answers(c.add("--data-dir", str(data))), wait_answers(c.add())
        wait_peers(node, 1)
        node.post("before", "before")
        fill(small_disk / "ballast")
        taken_in = refusal(node, "while " * 1_000, "while")
        assert f"left on the device of {data}/journal.sqlite" in taken_in
        assert "the record was taken in" in taken_in
        assert "nothing was stored" in refusal(node, "never", "never")
        # Held and not saved is no success yet; held and saved is.
        assert "the record was taken in" in refusal(node, "while " * 1_000, "while")
        assert node.ask("PUT", "/v1/records/before", "before").status == 200
        assert node.ask("PUT", "/v1/records/before", "else").status == 409
        lines = '{"id":"batch","raw":"x"}\n{"id":"before","raw":"before"}\n'
        batch = node.ask("POST", "/v1/records", lines, content_type="application/x-ndjson")
        assert [json.loads(line)["status"] for line in batch.body.splitlines()] == [507, 200]
        seed = node.ask(
            "POST", "/postNewData", '{"id":"s","raw":"1","signature":"c4ca4238a0b923820dcc509a6f75849b"}'
        )
        assert (seed.status, seed.json()["result"]) == (507, False)
        other.post("by a peer", "peer")
        wait_until(lambda: {r["id"] for r in node.listing()} == {"before", "while", "peer"}, "gossip goes on")
        journal = node.get("/v1/node")["journal"]
        assert (journal["path"], journal["waiting"]) == (f"{data}/journal.sqlite", 2)
        assert "left on the device" in journal["trouble"]
        assert node.ask("GET", "/healthz").body.startswith(b"ok\nposts are refused: ")

        (small_disk / "ballast").unlink()
        wait_until(lambda: not node.get("/v1/node")["journal"]["trouble"], "room is found")
        node.post("after", "after")
        assert node.ask("PUT", "/v1/records/while", "while " * 1_000).status == 200
        assert node.get("/v1/node")["journal"]["waiting"] == 0
        assert node.ask("GET", "/healthz").body == b"ok\n"
        assert len(log_lines(node, "the journal cannot be written")) == 1
        assert len(log_lines(node, "the journal is written again")) == 1
        other.kill()
        node.kill()
        wait_answers(node.start())
        assert {r["id"] for r in node.listing()} == {"before", "while", "peer", "after"}


def test_a_directory_that_goes_away_stops_posts_until_it_is_back(tmp_path: Path) -> None:
    """Without a disk of its own: unmounted by mistake, say. Nobody waits for ever, nothing is lost."""
    with running(durable_node(tmp_path / "data")) as node:
        (tmp_path / "data").rename(tmp_path / "elsewhere")
        assert "the record was taken in" in refusal(node, "while", "while")
        assert "nothing was stored" in refusal(node, "never", "never")
        (tmp_path / "elsewhere").rename(tmp_path / "data")
        wait_until(lambda: node.ask("PUT", "/v1/records/while", "while").status == 200, "it is saved")
        node.post("after", "after")
        node.kill()
        wait_answers(node.start())
        assert {r["id"] for r in node.listing()} == {"while", "after"}


def test_what_could_not_be_saved_until_the_stop_is_told(tmp_path: Path) -> None:
    """The stop itself stays clean and in time; the log says how many records went with it."""
    with running(durable_node(tmp_path / "data")) as node:
        (tmp_path / "data").rename(tmp_path / "elsewhere")
        refusal(node, "while", "while")
        node.signal(signal.SIGTERM)
        assert node.process is not None
        assert node.process.wait(5) == 0
        (told,) = log_lines(node, "the journal was closed with records unsaved")
        assert told["reason"].startswith("1 records could not be saved: ")


def test_a_node_whose_files_are_damaged_serves_what_is_whole_and_says_so(tmp_path: Path) -> None:
    """A flipped byte in the journal, then a log cut off in mid-frame: no silence, no refusal to serve."""
    journal, log = tmp_path / "journal.sqlite", tmp_path / "journal.sqlite-wal"
    with running(durable_node(tmp_path)) as node:
        load = Load(node, "a")
        wait_until(lambda: len(load.acknowledged) > 500, "much is acknowledged")
        node.signal(signal.SIGTERM)
        load.wait()
        assert node.process is not None
        node.process.wait(10)
    held = journal.read_bytes()
    at = held.index(b"raw of a-2-7 ")
    damaged = held[:at] + b"R" + held[at + 1 :]
    journal.write_bytes(damaged)
    with running(durable_node(tmp_path)) as node:
        listed = {r["id"]: r["raw"] for r in node.listing()}
        assert set(load.acknowledged) - listed.keys() == {"a-2-7"}
        assert all(load.posted[id] == raw for id, raw in listed.items())
        (told,) = log_lines(node, "the journal was damaged")
        assert (told["level"], told["unreadable"]) == ("error", 1)
        assert Path(told["set_aside"]).read_bytes() == damaged
        assert node.get("/v1/node")["journal"]["set_aside"] == told["set_aside"]
        for n in range(20):
            node.post(f"later {n}", f"later {n}")
        node.kill()
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 2 + 1_000])
    with running(durable_node(tmp_path)) as node:
        after = {r["id"] for r in node.listing()}
        assert listed.keys() <= after
        assert "later 0" in after
        assert "later 19" not in after
        node.post("goes on")
