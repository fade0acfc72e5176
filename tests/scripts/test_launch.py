"""The scripts of the first minute: they work from anywhere, set up once, and say what is wrong.

No environment is built from nothing here, that takes too long; `.venv` of the copies is the
interpreter and the packages that run the tests, with an empty list of requirements.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETTING_UP = "setting up Dayfly"
AGAIN_S_MAX = 2.0

Ended = subprocess.CompletedProcess[str]


def run(command: list[str | Path], **more: str) -> Ended:
    """Run a script from the root of the file system, as from anywhere."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHON", "PYTHONPATH")}
    return subprocess.run(
        command, cwd="/", env=environment | more, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the scripts beside lists of nothing, with an environment that is ready but not stamped."""
    scripts, venv = tmp_path / "scripts", tmp_path / ".venv"
    shutil.copytree(ROOT / "scripts", scripts)
    (tmp_path / "requirements.lock").write_text("# nothing\n")
    (tmp_path / "requirements-dev.lock").write_text("# nothing either\n")
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    (venv / "lib").symlink_to(Path(sys.prefix) / "lib")
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", venv)
    return tmp_path


def prepare(checkout: Path, kind: str = "runtime", **more: str) -> Ended:
    """Make the environment of a copy ready, as all scripts do first."""
    script = checkout / "scripts" / "prepare"
    script.write_text(f'#!/bin/sh\nset -eu\n. "{checkout}/scripts/environment.sh"\nprepare {kind}\n')
    script.chmod(0o755)
    return run([script], **more)


def test_launch_works_from_any_folder() -> None:
    """Its help is the demo's, although the folder it is run from is another."""
    ended = run([ROOT / "scripts" / "launch", "--help"])
    assert ended.returncode == 0, ended.stderr
    assert "--http-port" in ended.stdout


def test_dayfly_works_by_a_link_and_is_quick_the_second_time(tmp_path: Path) -> None:
    """A link in a folder of programs is enough, and nothing is set up twice."""
    (tmp_path / "dayfly").symlink_to(ROOT / "scripts" / "dayfly")
    assert run([tmp_path / "dayfly", "--version"]).returncode == 0
    start = time.monotonic()
    ended = run([tmp_path / "dayfly", "--version"])
    assert time.monotonic() - start < AGAIN_S_MAX
    assert ended.stdout.startswith("dayfly, version ")
    assert ended.stderr == ""


def test_modules_in_the_current_folder_are_not_taken_for_ours(tmp_path: Path) -> None:
    """A `node.py` where the user happens to be changes nothing."""
    (tmp_path / "node.py").write_text("raise SystemExit('the wrong one')\n")
    ended = subprocess.run(
        [ROOT / "scripts" / "dayfly", "--version"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_setting_up_happens_once_and_again_for_a_new_lock(checkout: Path) -> None:
    """The second time is silent; another list of requirements is another installation."""
    first, second = prepare(checkout), prepare(checkout)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert SETTING_UP in first.stderr
    assert second.stderr == ""
    (checkout / "requirements.lock").write_text("# nothing, in other words\n")
    assert SETTING_UP in prepare(checkout).stderr
    assert prepare(checkout).stderr == ""


def test_what_is_installed_for_development_serves_for_running(checkout: Path) -> None:
    """After `dev` nothing is left to do for `runtime`; the reverse is not so."""
    assert SETTING_UP in prepare(checkout, "dev").stderr
    assert prepare(checkout, "runtime").stderr == ""
    (checkout / ".venv" / ".dayfly-dev").unlink()
    assert SETTING_UP in prepare(checkout, "dev").stderr


def test_two_at_once_set_up_once(checkout: Path) -> None:
    """The second waits for the first and finds everything in place."""
    prepare(checkout, PYTHON="/nonexistent")  # writes the script, does nothing else
    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(run, [[checkout / "scripts" / "prepare"]] * 4))
    assert [e.returncode for e in ended] == [0, 0, 0, 0], ended
    assert sum(SETTING_UP in e.stderr for e in ended) == 1


def test_a_failing_installation_shows_why_and_is_tried_again(checkout: Path) -> None:
    """What pip says is shown then, and only then; what failed does not count as done."""
    nowhere = hashlib.sha256(b"").hexdigest()
    (checkout / "requirements.lock").write_text(f"dayfly-needs-no-such==1 --hash=sha256:{nowhere}\n")
    for _ in range(2):
        ended = prepare(checkout, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(checkout), PIP_CONFIG_FILE=os.devnull)
        assert ended.returncode == 1
        assert "No matching distribution found for dayfly-needs-no-such==1" in ended.stderr
        assert "could not be set up: installing what is locked failed" in ended.stderr


@pytest.mark.parametrize("version", ["2.7.18", "3.9.18", "3.10.0"])
def test_a_python_that_is_too_old_is_named(checkout: Path, version: str) -> None:
    """The message says which was found, in which version, and what to do; nothing is set up."""
    old = checkout / "old-python"
    old.write_text(f"#!/bin/sh\necho {version}\n")
    old.chmod(0o755)
    ended = prepare(checkout, PYTHON=str(old))
    assert ended.returncode == 1
    assert "needs Python 3.11 or newer" in ended.stderr
    assert f"{old} is {version}" in ended.stderr
    assert not list((checkout / ".venv").glob(".dayfly-*"))


def test_test_explains_itself_and_refuses_what_it_does_not_know() -> None:
    """`--help` is about this script, not pytest's; a step that does not exist is wrong usage."""
    script = ROOT / "scripts" / "test"
    helped, refused = run([script, "--help"]), run([script, "--only", "luck"])
    assert helped.returncode == 0
    assert "--only lint|types|tests" in helped.stdout
    assert refused.returncode == 2
    assert "--only lint|types|tests" in refused.stderr
