"""The simulator's command: figures for people and machines, exact replays, failures that are named."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cluster import Now
from cluster.reconciliation import Reconciliation
from cluster.vocabulary import Effect
from scripts.simulate import simulate

SCRIPT = Path(__file__).parents[2] / "scripts" / "simulate.py"


def run(*arguments: str, hash_seed: str = "0") -> "subprocess.CompletedProcess[str]":
    """Run the script in a process of its own, from the root of the file system."""
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd="/",
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
    )


def test_seeds_that_hold_end_with_figures_and_exit_code_0() -> None:
    """A table on standard output, nothing on standard error."""
    ended = run("--seeds", "3-5", "--nodes", "3", "--records", "10")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "delivery percent" in ended.stdout
    assert "latency p99 ms" in ended.stdout


def test_json_is_a_line_per_seed_and_one_of_all() -> None:
    """Everything delivered, and little more than one payload a copy."""
    ended = run("--seeds", "3", "--loss", "0", "--churn", "0", "--json")
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [line["seed"] for line in lines[:3]] == [0, 1, 2]
    assert (lines[3]["seeds"], lines[3]["delivery_percent"], lines[3]["failed"]) == (3, 100.0, [])
    assert lines[3]["payloads_per_copy"] >= 1


def test_a_seed_replays_exactly_in_another_process() -> None:
    """Not even the hashes that differ from process to process change an event."""
    first, second = (run("--seed", "6", "--trace", hash_seed=h) for h in ("1", "2"))
    assert first.returncode == 0
    assert "hash " in first.stdout
    assert len(first.stderr.splitlines()) > 100
    assert first.stderr == second.stderr


@pytest.mark.parametrize(
    "arguments", [["--seed", "1", "--seeds", "2"], ["--seeds", "x"], ["--seeds", "5-4"], ["--nodes", "1"]]
)
def test_a_bad_argument_is_a_usage_error(arguments: list[str]) -> None:
    """Exit code 2, before anything runs."""
    assert CliRunner().invoke(simulate, arguments).exit_code == 2


def test_a_seed_that_fails_is_named_with_all_it_drew_and_how_to_run_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Planted: no repair. Exit code 1."""

    def start_nothing(self: Reconciliation, peer: bytes, now: Now, *, joining: bool) -> list[Effect]:
        return []

    monkeypatch.setattr(Reconciliation, "_start", start_nothing)
    ended = CliRunner().invoke(simulate, ["--seeds", "4-20", "--records", "30"])
    assert ended.exit_code == 1
    assert "stores differ" in ended.stderr
    assert "delay_s = " in ended.stderr
    assert "failed: " in ended.stderr
    assert "--records 30 --trace" in ended.stderr
