"""The command `dayfly` itself: help, wrong usage, settings, and the life of `dayfly up`."""

import json
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from node.settings import SETTINGS
from tests.node.commands import COMMAND, ENVIRONMENT, dayfly
from tests.processes import ROOT, wait_until

# --- help and usage -------------------------------------------------------------------------------------


def test_help_names_every_command() -> None:
    """The first thing anyone types tells the rest."""
    shown = dayfly("--help")
    assert shown.code == 0
    assert {"up", "demo", "post", "list", "peers", "keygen"} <= set(
        re.findall(r"^  (\w+)", shown.out, re.MULTILINE)
    )
    assert dayfly("-h").out == shown.out


def test_help_of_up_names_every_setting_its_variable_and_its_default() -> None:
    """The one table of settings is the help."""
    shown = re.sub(r"\s+", " ", dayfly("up", "--help").out)
    assert {s.env for s in SETTINGS if not s.flag} == {"DAYFLY_KEY"}
    assert "DAYFLY_KEY itself" in shown
    for setting in [s for s in SETTINGS if s.flag]:
        assert f"--{setting.name}" in shown
        assert f"[{setting.env}; default: {setting.default or 'none'}]" in shown


def test_version_names_itself() -> None:
    """One line, for bug reports."""
    shown = dayfly("--version")
    assert shown.code == 0
    assert re.fullmatch(r"dayfly, version \d+\.\d+\.\d+\n", shown.out)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "Usage: dayfly"),
        (("fly",), "No such command 'fly'"),
        (("up", "--colour"), "--colour"),
        (("up", "--ttl", "forever"), "ttl (from --ttl): 'forever' is not a duration"),
        (("-httpport",), "requires an argument"),
        (("-httpport=http",), "http (from --http)"),
        (("post", "a", "--file", "pyproject.toml"), "RAW or --file, not both"),
        (("post", "--file", "no-such-file"), "no-such-file"),
        (("list", "--limit", "0"), "--limit"),
        (("peers", "--node", "ftp://127.0.0.1:1"), "not an address such as http://127.0.0.1:8080"),
        (("peers", "--node", "http://127.0.0.1:1/v1"), "not an address such as"),
        (("peers", "--node", "http://127.0.0.1:99999"), "not an address such as"),
        (("peers", "--node", ""), "not an address such as"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(arguments: tuple[str, ...], complaint: str) -> None:
    """Nothing is done, nothing is on standard output."""
    result = dayfly(*arguments)
    assert result.code == 2
    assert complaint in result.err
    assert result.out == ""


def test_a_bad_setting_in_the_environment_names_the_variable() -> None:
    """A node that would run with something else than was asked for does not run."""
    result = dayfly("up", DAYFLY_TTL="never")
    assert result.code == 2
    assert "ttl (from DAYFLY_TTL): 'never' is not a duration" in result.err


# --- print-config ---------------------------------------------------------------------------------------


def test_print_config_shows_no_secret_and_stays_a_file(tmp_path: Path) -> None:
    """Where a secret comes from is shown; the secret is not, and what stands for it is only a comment."""
    flags = ("--write-token", "hunter2", "--auth-user", "ann", "--read-token", "file:/dev/null")
    refused = dayfly("up", "--print-config", *flags, AUTH_PASSWORD="hunter2", cwd=tmp_path)
    assert "a secret is 1 to" in refused.err
    shown = dayfly("up", "--print-config", *flags[:-2], AUTH_PASSWORD="hunter2", cwd=tmp_path).out
    assert "hunter2" not in shown + refused.err
    assert re.search(r'^# write_token = "\*{3}" +# --write-token$', shown, re.MULTILINE)
    assert re.search(r'^# auth_password = "\*{3}" +# AUTH_PASSWORD$', shown, re.MULTILINE)
    (tmp_path / "dayfly.toml").write_text(shown)
    assert dayfly("up", "--print-config", AUTH_PASSWORD="x", cwd=tmp_path).code == 0


def test_print_config_is_a_file_that_gives_the_same_again(tmp_path: Path) -> None:
    """Every setting with its origin, as TOML; read back it changes nothing."""
    flags = ("--http", "9000", "--join", "a:1", "--join", "b:2", "--lan", "--name", 'a "b" \\c')
    first = dayfly("up", "--print-config", *flags, DAYFLY_TTL="90s", cwd=tmp_path)
    assert first.code == 0
    origins = {line.split(" = ")[0]: line.rsplit("# ")[-1] for line in first.out.splitlines()}
    assert list(origins) == [s.key for s in SETTINGS]
    given = {"http": "--http", "join": "--join", "lan": "--lan", "name": "--name", "ttl": "DAYFLY_TTL"}
    assert origins == dict.fromkeys(origins, "default") | given

    (tmp_path / "dayfly.toml").write_text(first.out)
    second = dayfly("up", "--print-config", cwd=tmp_path)
    values = [re.sub(r" +# \S+$", "", line) for line in first.out.splitlines()]
    assert [re.sub(r" +# \S+$", "", line) for line in second.out.splitlines()] == values
    assert 'join = ["a:1", "b:2"]' in values
    assert {line.rsplit("# ")[-1] for line in second.out.splitlines()} <= {"dayfly.toml", "default"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("-httpport=8080", "--print-config"),
        ("-httpport", "8080", "--print-config"),
        ("--httpport", "8080", "--print-config"),
        ("--httpport=8080", "--print-config"),
        ("up", "-httpport=8080", "--print-config"),
    ],
)
def test_the_originals_way_of_starting_starts_a_node(arguments: tuple[str, ...]) -> None:
    """`-httpport=8080` alone, with one dash or two, with = or without."""
    result = dayfly(*arguments)
    assert result.code == 0
    assert re.search(r'^http = "127.0.0.1:8080" +# --http$', result.out, re.MULTILINE)


def test_no_multicast_is_multicast_off() -> None:
    """The short way to say so."""
    shown = dayfly("up", "--no-multicast", "--print-config").out
    assert re.search(r'^multicast = "off" +# --multicast$', shown, re.MULTILINE)


# --- up -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "fix"), [("--http", "choose another --http"), ("--peer", "choose another --peer")]
)
def test_a_taken_port_ends_with_1_and_names_the_port_and_the_fix(option: str, fix: str) -> None:
    """The commonest mistake of all gets one clear line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = {"--http": "127.0.0.1:0", "--peer": "127.0.0.1:0"} | {option: address}
        result = dayfly("up", "--no-multicast", *(part for pair in settings.items() for part in pair))
    assert result.code == 1
    last = result.err.splitlines()[-1]
    assert address in last
    assert "in use" in last
    assert fix in last


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_a_node_with_0(number: int, tmp_path: Path) -> None:
    """A node that is told to stop says so in its log and has not failed."""
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [*COMMAND, "up", "--http", "127.0.0.1:0", "--no-multicast"],
            cwd=ROOT,
            env=ENVIRONMENT,
            stderr=stderr,
        )
        try:
            wait_until(lambda: b'"node up"' in log.read_bytes(), "the node is up")
            process.send_signal(number)
            assert process.wait(5) == 0
        finally:
            process.kill()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["node up", "stopping"]
