"""What `--data-dir` promises, on real node processes: what was acknowledged outlives every end of a node."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from scripts.benches.machine import cpu_s, queued_s, rss_mb
from tests.node.commands import COMMAND, ENVIRONMENT
from tests.node.terminals import in_terminal
from tests.processes import cluster, wait_until
from tests.system.durable import (
    Load,
    durable_node,
    fill_journal,
    log_lines,
    running,
    wait_answers,
    wait_peers,
)
from validator import sign

LONG = bool(os.environ.get("DAYFLY_TEST_LONG"))
KILLS = 200 if LONG else 8
KILLS_PER_DIRECTORY = 8
"""Then a new one, so that starting and listing stay short."""


@pytest.mark.parametrize("round", range(KILLS // KILLS_PER_DIRECTORY))
@pytest.mark.timeout(60 + 10 * KILLS_PER_DIRECTORY)
def test_what_was_acknowledged_survives_kill_9_at_any_moment(tmp_path: Path, round: int) -> None:
    """Posted singly and in batches, killed under load again and again: all listed, equal to the byte."""
    rng = random.Random(round)
    posted: dict[str, str] = {}
    acknowledged: set[str] = set()
    for kill in range(KILLS_PER_DIRECTORY + 1):
        with running(durable_node(tmp_path)) as node:
            listed = {r["id"]: r for r in node.listing()}
            assert acknowledged <= listed.keys()
            assert all(r["raw"] == posted[id] for id, r in listed.items())
            assert all(r["signature"] == sign(r["raw"]) for r in listed.values())
            # Killed between the writes of a commit's last frame, the log looks damaged (docs/durability.md).
            assert all(line["unreadable"] == 0 for line in log_lines(node, "the journal was damaged"))
            if kill == KILLS_PER_DIRECTORY:
                break
            load = Load(node, f"{kill}")
            wait_until(lambda load=load: bool(load.acknowledged), "something is acknowledged")  # type: ignore[misc]
            time.sleep(rng.uniform(0.0, 0.4))  # the moment is the point
            node.kill()
            load.wait()
            posted |= load.posted
            acknowledged |= set(load.acknowledged)
    assert len(acknowledged) > KILLS_PER_DIRECTORY * 50


def test_a_clean_stop_closes_the_journal_in_time(tmp_path: Path) -> None:
    """SIGTERM under load: code 0 within the promised five seconds, no log left to replay, all is there."""
    with running(durable_node(tmp_path)) as node:
        load = Load(node, "a")
        wait_until(lambda: len(load.acknowledged) > 100, "much is acknowledged")
        assert sorted(p.name for p in tmp_path.iterdir()) == [
            *("dayfly.lock", "journal.sqlite", "journal.sqlite-wal", "signature.txt"),
        ]
        node.signal(signal.SIGTERM)
        assert node.process is not None
        assert node.process.wait(5) == 0
        load.wait()
        assert not (tmp_path / "journal.sqlite-wal").exists()
        assert log_lines(node, "the journal was") == []
    with running(durable_node(tmp_path)) as node:
        assert set(load.acknowledged) <= {r["id"] for r in node.listing()}


def test_records_of_peers_are_kept_too(tmp_path: Path) -> None:
    """A record taken in by gossip is in the journal of whoever got it."""
    with cluster() as c:
        writer = wait_answers(c.add())
        keeper = wait_answers(c.add("--data-dir", str(tmp_path)))
        wait_peers(keeper, 1)
        assert writer.get("/v1/node")["journal"] is None
        writer.post("from a peer", "id")
        wait_until(lambda: keeper.records == 1, "the record has arrived")
        wait_until(lambda: keeper.get("/v1/node")["journal"]["waiting"] == 0, "it is saved")
        writer.kill()
        keeper.kill()
        wait_answers(keeper.start())
        assert [r["raw"] for r in keeper.listing()] == ["from a peer"]
        assert keeper.get("/v1/node")["journal"]["restored"] == 1


def test_a_node_finds_its_cluster_again_by_the_saved_peers(tmp_path: Path) -> None:
    """Nobody to join, no multicast, another port than before: the address of a peer is all it takes."""
    with cluster() as c:
        other = wait_answers(c.add(multicast=False))
        address = other.get("/v1/node")["peer"]
        node = wait_answers(c.add("--data-dir", str(tmp_path), "--join", address, multicast=False))
        wait_peers(node, 1)
        node.signal(signal.SIGTERM)
        assert node.process is not None
        assert node.process.wait(10) == 0
        assert json.loads((tmp_path / "peers.json").read_bytes()) == {"peers": [address]}
        node.arguments = [a for a in node.arguments if a not in ("--join", address)]
        wait_peers(wait_answers(node.start()), 1)


def test_opening_a_journal_is_told_on_a_terminal_and_in_a_log(tmp_path: Path) -> None:
    """What takes ten seconds for a million records is never silent; the terminal's line goes when done."""
    fill_journal(tmp_path, 3)
    with running(durable_node(tmp_path)) as node:
        (reading,) = log_lines(node, "reading the journal")
        (read,) = log_lines(node, "journal read")
        assert (reading["done"], reading["total"], read["restored"]) == (0, 3, 3)
    arguments = ["up", "--http", f"127.0.0.1:{node.port}", "--no-multicast", "--data-dir", str(tmp_path)]
    with in_terminal([*COMMAND, *arguments], ENVIRONMENT) as terminal:
        wait_until(lambda: "node up" in terminal.shown, "the node is up")
        assert f"reading {tmp_path}: 0 of 3 records\r\x1b[K" in terminal.shown


def test_records_left_out_by_lower_limits_are_an_error_that_says_what_may_follow(tmp_path: Path) -> None:
    """Their ids are free, and the older rows would win again: nobody must learn that by losing one."""
    fill_journal(tmp_path, 30)
    with running(durable_node(tmp_path, "--records-max", "20")) as node:
        (told,) = log_lines(node, "the journal holds more than the limits let in")
        assert (told["level"], told["left_out"]) == ("error", 10)
        assert "the older record of an id will win again" in told["event"]


START_S_MAX = 15.0
"""What a start with a million records may take, by its CPU time and by the clock. By the clock counts what
the node does and waits for, the disk included, not how long other programs kept it from a core."""

RSS_MB_MAX = 700.0
"""What a node with a million records of 150 bytes may hold in memory, these included."""


@pytest.mark.skipif(not LONG, reason="takes a minute; DAYFLY_TEST_LONG=1")
@pytest.mark.timeout(300)
def test_a_million_records_are_back_within_fifteen_seconds_and_700_megabytes(tmp_path: Path) -> None:
    """From the start of the process to the first answer; it says how far it is."""
    fill_journal(tmp_path, 1_000_000)
    start_s = time.monotonic()
    with running(durable_node(tmp_path)) as node:
        taken_s, used_s, others_s = time.monotonic() - start_s, cpu_s(node.pid), queued_s(node.pid)
        assert node.records == 1_000_000
        told, held_mb = log_lines(node, "reading the journal"), rss_mb(node.pid)
        print(
            f"a million records restored: {taken_s:.1f} s, of it {others_s:.1f} s without a core, "
            f"CPU {used_s:.1f} s, RSS {held_mb:.0f} MB, told {len(told)} times"
        )
        assert len(told) >= 2
        assert used_s <= START_S_MAX
        assert taken_s - others_s <= START_S_MAX
        assert held_mb <= RSS_MB_MAX


def test_a_stop_while_the_journal_is_read_ends_at_once(tmp_path: Path) -> None:
    """Who has started the wrong node need not wait for it; the journal stays as it is."""
    fill_journal(tmp_path, 60_000)
    node = durable_node(tmp_path)
    try:
        node.start()
        wait_until(lambda: "reading the journal" in node.log.read_text(), "it reads")
        node.signal(signal.SIGTERM)
        assert node.process is not None
        assert node.process.wait(5) == 0
        assert "node up" not in node.log.read_text()
    finally:
        node.kill()
        node.log.unlink()
    with running(durable_node(tmp_path)) as node:
        assert node.records == 60_000
