"""Key files and `dayfly keygen`: who may read them, what a bad one costs, and that nothing shows a key."""

import contextlib
import json
import os
import re
import signal
import stat
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cluster.key import PREFIX, ClusterKey
from node.cli import cli
from node.config import ConfigError, gather, load
from node.key_files import KeyFileError
from node.keys import FILE_BYTES_MAX, read_cluster_keys, read_key_file
from tests.mounts import mounted
from tests.node.commands import COMMAND, ENVIRONMENT, dayfly
from tests.node.terminals import in_terminal
from tests.processes import ROOT, wait_until

ONE, TWO = ClusterKey(b"1" * 32), ClusterKey(b"2" * 32)


def key_file(folder: Path, text: str | bytes, mode: int = 0o600) -> Path:
    """Write a key file."""
    path = folder / "cluster.key"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def command(*arguments: str) -> Result:
    """Run `dayfly` in this process."""
    return CliRunner().invoke(cli, arguments)


def refusal(path: Path) -> str:
    """Why a file is not read; it must not quote the file."""
    with pytest.raises(KeyFileError) as caught:
        read_key_file(path)
    assert ONE.line[10:] not in str(caught.value)
    return str(caught.value)


# --- files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o644, 0o777])
def test_a_file_that_others_may_open_is_refused_with_the_words_to_type(tmp_path: Path, mode: int) -> None:
    """A secret that others can read, or replace, is none."""
    path = key_file(tmp_path, ONE.line, mode)
    assert f"(mode {mode:04o}); type: chmod 600 {path}" in refusal(path)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_its_user_alone_is_read(tmp_path: Path, mode: int) -> None:
    """In its order; what an editor puts at the end of lines does not matter."""
    path = key_file(tmp_path, f"# ours\r\n{TWO.line}\r\n{ONE.line}", mode)
    assert read_key_file(path) == (TWO, ONE)


def test_a_file_that_is_none_names_itself_and_the_way_out(tmp_path: Path) -> None:
    """Missing, a folder, empty, of another kind, too large, or wrong in a line."""
    missing = tmp_path / "no.key"
    assert refusal(missing) == f"{missing}: there is no such file; dayfly keygen -o {missing} makes one"
    assert "is not a file" in refusal(tmp_path)
    path = key_file(tmp_path, "")
    assert refusal(path) == f"{path} there is no key in it; make one with: dayfly keygen"
    assert f"{path} line 2: a key begins with" in refusal(key_file(tmp_path, f"{ONE.line}\n{ONE.line[1:]}"))
    assert "is not ASCII text" in refusal(key_file(tmp_path, b"\xff\xfe" + ONE.line.encode()))
    full = f"{ONE.line}\n#".ljust(FILE_BYTES_MAX, "x")
    assert read_key_file(key_file(tmp_path, full)) == (ONE,)
    assert "is no key file" in refusal(key_file(tmp_path, full + "x"))


# --- settings -------------------------------------------------------------------------------------------


def test_a_key_comes_from_one_place_only(tmp_path: Path) -> None:
    """Two are refused, wherever they come from: a node with the wrong one would be alone without a word."""
    path = key_file(tmp_path, ONE.line)
    flags = {"key_file": [str(path)]}
    assert read_cluster_keys(load(gather(flags, {}, None))) == (ONE,)
    with pytest.raises(ConfigError, match=r"key \(from DAYFLY_KEY\): it is empty"):
        load(gather(flags, {"DAYFLY_KEY": ""}, None))
    assert read_cluster_keys(load(gather({}, {"DAYFLY_KEY": TWO.line}, None))) == (TWO,)
    assert read_cluster_keys(load(gather({}, {}, None))) == ()
    with pytest.raises(
        ConfigError, match=r"key-file \(from --key-file\) and key \(from DAYFLY_KEY\): only one"
    ):
        load(gather(flags, {"DAYFLY_KEY": TWO.line}, None))
    with pytest.raises(ConfigError, match=r"key-file \(from --key-file\) and open \(from --open\): only one"):
        load(gather(flags | {"open": ["true"]}, {}, None))


def test_a_settings_file_with_a_key_is_for_its_user_alone(tmp_path: Path) -> None:
    """As a key file is."""
    path = tmp_path / "dayfly.toml"
    path.write_text(f'key = "{ONE.line}"\n')
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="holds key and is open to other users; type: chmod 600"):
        gather({}, {}, path)
    path.chmod(0o600)
    assert read_cluster_keys(load(gather({}, {}, path))) == (ONE,)


def test_no_command_shows_a_key(tmp_path: Path) -> None:
    """Settings are printed with where they come from; a secret's text never, not even a wrong one's."""
    shown = dayfly("up", "--print-config", cwd=tmp_path, DAYFLY_KEY=ONE.line)
    assert shown.code == 0
    assert re.search(r'^# key = "\*{3}" +# DAYFLY_KEY$', shown.out, re.MULTILINE)
    wrong = dayfly("up", cwd=tmp_path, DAYFLY_KEY=ONE.line[:-1])
    assert (wrong.code, wrong.err) == (
        2,
        "dayfly: key (from DAYFLY_KEY): line 1: 43 characters are due after dayfly1:, not 42;"
        " copy the whole line again\n",
    )
    for result in (shown, wrong):
        assert ONE.line[8:-4] not in result.out + result.err


# --- keygen ---------------------------------------------------------------------------------------------


def test_keygen_prints_one_line_that_is_a_key_and_never_the_same() -> None:
    """Made to be appended to a file, or stored by whatever keeps secrets."""
    lines = {command("keygen").stdout for _ in range(2)}
    assert len(lines) == 2
    assert all(line.startswith(PREFIX) and line.endswith("\n") and len(line) == 52 for line in lines)


def test_keygen_writes_a_file_for_its_user_alone_and_leaves_an_old_one(tmp_path: Path) -> None:
    """The key goes to the file and nowhere else; what is there is worth more than what is new."""
    path = tmp_path / "cluster.key"
    made = command("keygen", "-o", str(path))
    (key,) = read_key_file(path)
    assert (made.exit_code, made.stdout) == (0, "")
    assert key.fingerprint in made.stderr
    assert key.line not in made.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = command("keygen", "-o", str(path))
    assert again.exit_code == 1
    assert "exists and was left as it is" in again.stderr
    assert read_key_file(path) == (key,)
    assert command("keygen", "-o", str(tmp_path / "no" / "x.key")).exit_code == 1


def test_keygen_leaves_no_file_without_a_key_on_a_full_disk(tmp_path: Path) -> None:
    """It would be in the way of the next try, and no node could start with it."""
    path = tmp_path / "cluster.key"
    with mounted(tmp_path, "size=4k"):
        filler = tmp_path / "filler"
        filler.write_bytes(b"x" * 4096)
        failed = command("keygen", "-o", str(path))
        assert (failed.exit_code, failed.stderr) == (1, f"dayfly: {path}: No space left on device\n")
        assert not path.exists()
        filler.unlink()
        assert command("keygen", "-o", str(path)).exit_code == 0


# --- a node ---------------------------------------------------------------------------------------------


def test_a_node_does_not_start_with_a_bad_key_file(tmp_path: Path) -> None:
    """It would be alone, or worse, open."""
    path = key_file(tmp_path, ONE.line, 0o644)
    result = dayfly("up", "--http", "127.0.0.1:0", "--no-multicast", "--key-file", str(path))
    assert result.code == 1
    assert result.err.endswith(f"type: chmod 600 {path}\n")


def test_a_node_reads_its_keys_again_at_sighup_and_keeps_them_if_the_file_is_bad(tmp_path: Path) -> None:
    """A slip of the editor costs nothing; SIGTERM still ends the node."""
    path, log = key_file(tmp_path, ONE.line), tmp_path / "log"

    def lines(event: str) -> list[dict[str, object]]:
        made = [json.loads(line) for line in log.read_text().splitlines()]
        return [line for line in made if line["event"] == event]

    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [*COMMAND, "up", "--http", "127.0.0.1:0", "--no-multicast", "--key-file", str(path)],
            cwd=ROOT,
            env=ENVIRONMENT,
            stderr=stderr,
            start_new_session=True,  # without a terminal, as a service has none
        )
        try:
            wait_until(lambda: bool(lines("node up")), "the node is up")
            key_file(tmp_path, ONE.line[:-3])
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: bool(lines("the keys stay as they were")), "the node complains")
            key_file(tmp_path, f"{TWO.line}\n{ONE.line}")
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: bool(lines("keys read again")), "the node has the new keys")
            process.send_signal(signal.SIGTERM)
            assert process.wait(5) == 0
        finally:
            process.kill()
            process.wait()
    assert "line 1: 43 characters are due" in str(lines("the keys stay as they were")[0]["reason"])
    assert lines("keys read again")[0]["accepted"] == [TWO.fingerprint, ONE.fingerprint]
    assert lines("node up")[0]["links"] == f"encrypted, key {ONE.fingerprint}, 0 of 0 peers on it"
    assert ONE.line[8:40] not in log.read_text()


def test_a_node_with_a_key_file_stops_when_its_terminal_hangs_up(tmp_path: Path) -> None:
    """A SIGHUP by hand reads the keys; the one that means "the window is closed" leaves no node behind."""
    path, log = key_file(tmp_path, ONE.line), tmp_path / "log"
    node = ["up", "--http", "127.0.0.1:0", "--no-multicast", "--log-format", "json", "--key-file", str(path)]
    script = ["/bin/sh", "-c", 'log=$1; shift; "$@" 2>"$log" & echo "pid $!."; wait', "sh", str(log)]
    with in_terminal([*script, *COMMAND, *node], ENVIRONMENT) as terminal:
        wait_until(lambda: log.exists() and b'"node up"' in log.read_bytes(), "the node is up")
        pid = int(terminal.shown.partition("pid ")[2].partition(".")[0])
        try:
            os.kill(pid, signal.SIGHUP)
            wait_until(lambda: b'"keys read again"' in log.read_bytes(), "the keys are read")
            assert b'"stopping"' not in log.read_bytes()
            terminal.process.kill()  # the session's leader: the kernel takes the terminal from all others
            wait_until(lambda: b'"stopping"' in log.read_bytes(), "the node stops")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("with_key", [True, False])
def test_nohup_means_that_sighup_stops_nothing(tmp_path: Path, with_key: bool) -> None:
    """Whoever starts a node so wants it to outlive the terminal, and may still replace its key."""
    path, log = key_file(tmp_path, ONE.line), tmp_path / "log"
    options = ["--key-file", str(path)] if with_key else []
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            ["nohup", *COMMAND, "up", "--http", "127.0.0.1:0", "--no-multicast", *options],
            cwd=ROOT,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
        )
    try:
        wait_until(lambda: b'"node up"' in log.read_bytes(), "the node is up")
        process.send_signal(signal.SIGHUP)
        if with_key:
            wait_until(lambda: b'"keys read again"' in log.read_bytes(), "the keys are read")
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait()
    assert b'"SIGHUP"' not in log.read_bytes()
    assert b'"SIGTERM"' in log.read_bytes()


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        (["--peer", "0.0.0.0:0"], True),
        (["--peer", "0.0.0.0:0", "--open"], False),
    ],
)
def test_an_open_node_that_others_can_reach_says_so_once(
    options: list[str], warned: bool, tmp_path: Path
) -> None:
    """One clear line at the start, unless it is meant, or nobody can come."""
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [*COMMAND, "up", "--http", "127.0.0.1:0", "--no-multicast", *options],
            cwd=ROOT,
            env=ENVIRONMENT,
            stderr=stderr,
        )
        try:
            wait_until(lambda: b'"node up"' in log.read_bytes(), "the node is up")
            process.send_signal(signal.SIGTERM)
            assert process.wait(5) == 0
        finally:
            process.kill()
            process.wait()
    warnings = [line for line in map(json.loads, log.read_text().splitlines()) if line["level"] == "warning"]
    assert [("links are open" in line["event"], "keygen" in line["event"]) for line in warnings] == (
        [(True, True)] if warned else []
    )
