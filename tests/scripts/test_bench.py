"""The bench measures real nodes, tells figures that can be checked, and says why when it cannot."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.benches.latency import Post, Probe, times
from scripts.benches.nodes import RECORD_BYTES, raw_of
from scripts.benches.posts import WARM_UP_POSTS, load_posts, measure_stock
from scripts.benches.report import Case, Figures, Step, percentile, run_cases
from tests.processes import cluster
from validator import sign

ROOT = Path(__file__).parents[2]
NAMESPACE = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]


def bench(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the bench from the root of the file system, as from anywhere."""
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "bench.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd="/",
        env=os.environ | environment,
    )


def summary(ended: "subprocess.CompletedProcess[str]", lines: int) -> dict[str, Any]:
    """Return the last of the NDJSON lines, of which there must be so many."""
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    read: list[dict[str, Any]] = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(read) == lines
    return read[-1]


def test_latency_tells_when_the_last_node_has_a_record() -> None:
    """Two real nodes: one payload a record, spans that fit each other, and HTTP agrees with all of it."""
    told = summary(bench("latency", "--nodes", "2", "--posts", "5", "--interval", "20ms", "--json"), 2)
    figures = told["median"]
    assert (told["bench"], told["case"], told["rounds"]) == ("latency", "2 nodes", 1)
    assert figures["payloads_per_node"] == 1.0
    assert figures["http_probes_agreed"] == 40
    assert 0 < figures["post_p50_ms"] <= figures["post_p99_ms"] <= figures["post_max_ms"]
    assert 0 < figures["first_to_last_max_ms"] < figures["last_node_max_ms"]


def test_receipts_tell_what_waiting_for_all_nodes_costs() -> None:
    """Two real nodes; every answer said two of two, or there would be no figures."""
    figures = summary(bench("receipts", "--nodes", "2", "--posts", "5", "--interval", "5ms", "--json"), 2)[
        "median"
    ]
    assert 0 < figures["post_p50_ms"] <= figures["post_p99_ms"]
    assert 0 < figures["wait_p50_ms"] <= figures["wait_p99_ms"]


def test_fanout_tells_what_a_delivery_costs_beside_a_bare_server() -> None:
    """Every case counts all deliveries, and two subscribers of each got every record once and in order."""
    told = summary(
        bench("fanout", "--subscribers", "3", "--records", "100", "--bare-records", "100", "--json"), 10
    )
    figures = told["median"]
    assert (told["bench"], told["case"]) == ("fanout", "posted singly, 3")
    assert figures["deliveries_per_s"] * figures["wall_us_per_delivery"] == pytest.approx(1e6)
    assert figures["rss_mb_more"] >= 0


def test_durable_tells_what_a_journal_costs() -> None:
    """Two cases side by side, each with posts and batches that were all taken."""
    told = summary(bench("durable", "--connections", "4", "--posts", "2", "--json"), 4)
    assert (told["bench"], told["case"]) == ("durable", "--data-dir")
    assert all(told["median"][f] > 0 for f in ("posts_per_s", "ms_per_turn", "batch_records_per_s"))


@pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run([*NAMESPACE, "true"], check=False).returncode != 0,
    reason="no network namespace can be made here",
)
def test_idle_tells_what_a_link_costs() -> None:
    """Two real nodes in a namespace: pings are seen, and nothing else that would be thousands of bytes."""
    told = summary(bench("idle", "--records", "10", "--seconds", "5", "--json"), 2)
    figures = told["median"]
    assert 20 < figures["link_bytes_per_s"] < 1000
    assert 0.2 < figures["link_packets_per_s"] < 10
    assert 10 < figures["rss_mb_median"] <= figures["rss_mb_max"] < 200
    assert told["required"]["rss_mb_max"] == 60.0


def test_http_tells_what_a_post_costs_a_server() -> None:
    """A framework and a node are measured alike; a post that is not stored as new ends the measurement."""
    stock = measure_stock("asgi", 4, 100, lambda what, part: None)
    with cluster() as made:
        node = made.start(1)[0]
        ours = load_posts(node.port, 4, 100, node.pid)
        assert node.records == WARM_UP_POSTS + 100
        with pytest.raises(AssertionError):
            load_posts(node.port, 4, 100, node.pid)  # the same records again
    assert stock.keys() == ours.keys()
    for figures in (stock, ours):
        assert 0 < figures["p50_ms"] <= figures["p99_ms"]
        assert figures["requests_per_s"] > 1


def test_batch_tells_what_a_record_costs() -> None:
    """Two batches of 500 are counted after the warm-up; time and rate are the same fact."""
    told = summary(bench("batch", "--size", "500", "--records", "1000", "--json"), 2)
    figures = told["median"]
    assert (told["bench"], told["case"]) == ("batch", "batches of 500")
    assert figures["wall_us_per_record"] * figures["records_per_s"] == pytest.approx(1e6)
    assert figures["batch_ms"] == pytest.approx(figures["wall_us_per_record"] / 2)


def test_throughput_counts_until_the_last_node_has_all(tmp_path: Path) -> None:
    """Two real nodes: one payload a record, CPU for each; each node also writes where its time went.

    Measured open and with a key, side by side.
    """
    arguments = ("throughput", "--nodes", "2", "--records", "2500", "--key", "--json")
    told = summary(bench(*arguments, BENCH_PROFILE=str(tmp_path)), 4)
    figures = told["median"]
    assert (told["bench"], told["case"]) == ("throughput", "2 nodes, a key")
    assert figures["cpu_us_per_record_all_ratio"] > 0
    assert figures["payloads_per_node"] == 1.0
    assert 0 < figures["records_per_s"] <= figures["posted_records_per_s"]
    assert abs(figures["wall_us_per_record"] * figures["records_per_s"] - 1e6) < 100
    profiles = [file.read_text() for file in tmp_path.iterdir()]
    assert len(profiles) == 4
    assert all("unrolled_run" in text for text in profiles)


def test_catchup_tells_when_a_fresh_node_has_all() -> None:
    """A real node of 3,000 records and a fresh one: each record once, and posts before and during."""
    told = summary(bench("catchup", "--records", "3000", "--json"), 2)
    figures = told["median"]
    assert (told["bench"], told["case"]) == ("catchup", "3,000 records")
    assert 0 < figures["equal_s"] < figures["start_to_equal_s"]
    assert 0 < figures["post_p50_before_ms"] <= figures["post_p99_before_ms"]
    assert figures["posts_during"] > 0
    assert 0.9 < figures["payloads_per_record"] < 1.5


def test_idle_says_why_it_cannot_measure(tmp_path: Path) -> None:
    """Exit code 3 and one line that names what is missing, where no namespace can be made."""
    ended = bench("idle", PATH=str(tmp_path))
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.startswith("bench: there is no `unshare`")
    (tmp_path / "unshare").write_text("#!/bin/sh\necho 'unshare failed: not here' >&2; exit 1\n")
    (tmp_path / "unshare").chmod(0o755)
    ended = bench("idle", PATH=str(tmp_path))
    assert (ended.returncode, ended.stdout) == (3, "")
    assert "(unshare failed: not here)" in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("latency", "--interval", "soon"),
        ("latency", "--nodes", "1"),
        ("latency", "--posts", "0"),
        ("throughput", "--nodes", "1"),
        ("catchup", "--records", "0"),
        ("idle", "--records", "-1"),
        ("idle", "--seconds", "0.5"),
        ("idle", "--rounds", "0"),
        ("http", "--posts", "99"),
        ("http", "--connections", "65"),
        ("batch", "--size", "10001"),
        ("nothing",),
    ],
)
def test_a_size_that_cannot_be_measured_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    """Exit code 2, before any node is started."""
    assert bench(*arguments).returncode == 2


def test_help_names_every_measurement() -> None:
    """Whoever types --help sees what can be measured and the exit codes."""
    shown = bench("--help").stdout
    commands = ["latency", "idle", "durable", "memory", "store", "listing", "reconcile", "http", "batch"]
    commands += ["throughput", "catchup"]
    assert all(word in shown for word in (*commands, "Exit codes", "--rounds"))


# --- the parts that decide ------------------------------------------------------------------------------


def test_spans_are_taken_from_the_right_instants() -> None:
    """Sent at 1 ms and answered at 3; stored at 2, 9 and 5 ms: the last node is 8 ms after, 6 above."""
    post = Post(b"d", 1_000_000, 3_000_000)
    figures = times([post], [{b"d": 2_000_000}, {b"d": 9_000_000}, {b"d": 5_000_000}])
    spans = {name: figures[f"{name}_max_ms"] for name in ("post", "last_node", "last_above_post")}
    assert spans == {"post": 2.0, "last_node": 8.0, "last_above_post": 6.0}
    assert figures["first_to_last_max_ms"] == 7.0


@pytest.mark.parametrize(
    ("found", "stored_ns", "agrees"),
    [(True, 20, True), (True, 21, False), (False, 10, True), (False, 9, False)],
)
def test_a_probe_contradicts_a_stopwatch_that_is_wrong(found: bool, stored_ns: int, agrees: bool) -> None:
    """Asked from 10 to 20: what was found was stored by 20, what was not found was not stored before 10."""
    assert Probe(b"d", 0, found, asked_ns=10, answered_ns=20).agrees(stored_ns) is agrees


def test_percentiles_are_values_that_occurred() -> None:
    """Nearest rank: of 200 values the 99th percentile is the 198th, of one value it is that value."""
    values = [float(v) for v in range(200, 0, -1)]
    assert [percentile(values, p) for p in (50, 99, 100)] == [100.0, 198.0, 200.0]
    assert percentile([7.0], 50) == 7.0


@pytest.mark.parametrize("name", ["a", "post-0001", "idle-099999"])
def test_a_record_has_the_size_other_systems_were_measured_with(name: str) -> None:
    """150 bytes as JSON of the three fields, whatever the name."""
    raw = raw_of(name)
    assert len(json.dumps({"id": name, "raw": raw, "signature": sign(raw)})) == RECORD_BYTES


def cases(*rounds: float) -> list[Case]:
    """Make one case whose rounds give these values; at most 2 is promised."""
    values = iter(rounds)

    def measure(step: Step) -> Figures:
        step("measuring", 0.5)
        return {"span_ms": next(values)}

    return [Case("a case", measure, {"span_ms": 2.0})]


def test_rounds_are_summed_up_by_their_median(capsys: pytest.CaptureFixture[str]) -> None:
    """Three rounds give three lines and a summary with median, lowest, and whether the promise held."""
    run_cases("test", cases(9.0, 1.0, 2.0), rounds=3, as_json=True, strict=True)
    *rounds, told = map(json.loads, capsys.readouterr().out.splitlines())
    assert [line["span_ms"] for line in rounds] == [9.0, 1.0, 2.0]
    assert (told["median"]["span_ms"], told["lowest"]["span_ms"]) == (2.0, 1.0)
    assert told["held"] == {"span_ms": True}


def test_a_compared_figure_is_told_as_a_ratio_too(capsys: pytest.CaptureFixture[str]) -> None:
    """To the first case's of the same round, whatever the other rounds were."""
    both = [*cases(2.0, 4.0), *cases(1.0, 8.0)]
    run_cases("test", both, rounds=2, as_json=True, strict=False, compared=("span_ms",))
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["span_ms_ratio"] for line in told[:4]] == [1.0, 0.5, 1.0, 2.0]
    assert told[-1]["median"]["span_ms_ratio"] == 1.25


def test_a_missed_promise_is_shown_and_fails_a_strict_run(capsys: pytest.CaptureFixture[str]) -> None:
    """The table says so; the exit code does only when asked to."""
    run_cases("test", cases(2.01), rounds=1, as_json=False, strict=False)
    assert "missed: <= 2" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="1"):
        run_cases("test", cases(2.01), rounds=1, as_json=False, strict=True)
    assert "missed: span_ms" in capsys.readouterr().err
