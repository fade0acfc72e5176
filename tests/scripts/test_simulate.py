"""The simulator's command: figures for people and machines, exact replays, failures that are named."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cluster.exports import Now
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
    ("arguments", "told"),
    [
        (["--seed", "1", "--seeds", "2"], "exclude each other"),
        (["--seeds", "x"], "not a count or FROM-TO"),
        (["--seeds", "5-4"], "no seed is in it"),
        (["--nodes", "1"], "2<=x<=20000"),
        (["--nodes", "61"], "more than 60 nodes need --scenario"),
        (["--nodes", "5", "--nodes", "6"], "several times needs --scenario"),
        (["--plot", "x.svg"], "--plot needs --scenario"),
        (["--origins", "2"], "--origins needs --scenario"),
        (["--link-ms", "2"], "--link-ms needs --scenario"),
        (["--member-list", "shared"], "--member-list needs --scenario"),
        (["--scenario", "party"], "'steady', 'crash', 'origin-dies', 'partition', 'churn'"),
        (["--scenario", "steady", "--seeds", "3"], "--seed chooses one"),
        (["--scenario", "steady", "--nodes", "20001"], "2<=x<=20000"),
        (["--scenario", "steady", "--plot", "x.gif"], "must end in .svg or .png"),
        (["--scenario", "steady", "--plot", "/nowhere/x.svg"], "there is no folder /nowhere"),
    ],
    ids=" ".join,
)
def test_a_bad_argument_is_a_usage_error_that_says_what_is_wrong(arguments: list[str], told: str) -> None:
    """Exit code 2, before anything runs."""
    ended = CliRunner().invoke(simulate, arguments)
    assert ended.exit_code == 2
    assert told in ended.stderr


def test_a_seed_that_fails_is_named_with_all_it_drew_and_how_to_run_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Planted: no repair. Exit code 1."""

    def start_nothing(self: Reconciliation, peer: bytes, now: Now, *, joining: bool) -> list[Effect]:
        return []

    monkeypatch.setattr(Reconciliation, "_start", start_nothing)
    ended = CliRunner().invoke(simulate, ["--seeds", "4-20", "--nodes", "4", "--records", "30"])
    assert ended.exit_code == 1
    assert "stores differ" in ended.stderr
    assert "delay_s = " in ended.stderr
    assert "failed: " in ended.stderr
    assert "--records 30 --trace" in ended.stderr


# --- scenarios ------------------------------------------------------------------------------------------


def test_a_scenario_at_several_sizes_ends_with_a_table_of_them() -> None:
    """One column for each, in words, and nothing on standard error."""
    ended = run("--scenario", "steady", "--nodes", "4", "--nodes", "9", "--records", "5", "--seconds", "1")
    assert (ended.returncode, ended.stderr) == (0, "")
    rows = {line[:40].strip(): line[40:].split() for line in ended.stdout.splitlines() if line.strip()}
    assert rows["nodes"] == ["4", "9"]
    assert rows["delivered, %"] == ["100", "100"]
    assert rows["links, median"] == ["3", "8"]


@pytest.mark.parametrize("scenario", ["steady", "crash", "origin-dies", "partition", "churn"])
def test_every_scenario_tells_its_figures_as_json(scenario: str) -> None:
    """A line for each size; what was promised held."""
    arguments = ["--scenario", scenario, "--nodes", "8", "--records", "4", "--seconds", "8", "--json"]
    ended = CliRunner().invoke(simulate, [*arguments, "--origins", "2", "--churn", "2"])
    assert ended.exit_code == 0, ended.output
    (line,) = (json.loads(line) for line in ended.stdout.splitlines())
    assert (line["scenario"], line["seed"], line["ok"], line["nodes"]) == (scenario, 0, True, 8)
    assert line["later_p50_ms"] > 0
    assert line["wall_s"] > 0
    if scenario == "origin-dies":
        assert (line["kills"], line["incomplete"]) == (4, 0)
    else:
        assert (line["delivery_percent"], line["complete"]) == (100, 1)


def test_a_scenario_replays_exactly() -> None:
    """The same seed gives the same events and figures; only the clock on the wall differs."""
    arguments = ["--scenario", "churn", "--nodes", "8", "--records", "5", "--loss", "0.05", "--json"]

    def figures(seed: str) -> dict[str, float]:
        (line,) = CliRunner().invoke(simulate, [*arguments, "--seed", seed]).stdout.splitlines()
        return {k: v for k, v in json.loads(line).items() if k not in ("wall_s", "memory_mib")}

    assert figures("1") == figures("1")
    assert figures("1") != figures("2")


def test_a_sweep_is_drawn_and_the_same_figures_give_the_same_picture(tmp_path: Path) -> None:
    """An .svg that names its axes, byte for byte the same, and a .png that is one."""
    pytest.importorskip("matplotlib")
    arguments = ["--scenario", "steady", "--nodes", "4", "--nodes", "8", "--records", "3", "--seconds", "1"]
    for name in ("one.svg", "two.svg", "three.png"):
        assert CliRunner().invoke(simulate, [*arguments, "--plot", str(tmp_path / name)]).exit_code == 0
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert b"<svg" in (tmp_path / "one.svg").read_bytes()
    assert (tmp_path / "three.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_plot_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before an hour of simulation, not after it."""

    def find_spec(name: str) -> None:
        """Nothing is installed."""

    monkeypatch.setattr("scripts.simulations.plot.find_spec", find_spec)
    ended = CliRunner().invoke(simulate, ["--scenario", "steady", "--plot", "x.svg"])
    assert ended.exit_code == 2
    assert "pip install matplotlib" in ended.stderr


def test_a_scenario_that_does_not_deliver_ends_with_1_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: nobody catches up, while frames are lost."""

    def start_nothing(self: Reconciliation, peer: bytes, now: Now, *, joining: bool) -> list[Effect]:
        return []

    monkeypatch.setattr(Reconciliation, "_start", start_nothing)
    arguments = ["--scenario", "partition", "--nodes", "6", "--records", "4", "--seconds", "10"]
    ended = CliRunner().invoke(simulate, arguments)
    assert ended.exit_code == 1
    assert "not everything reached every node, of 6 nodes" in ended.stderr
