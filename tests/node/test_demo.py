"""A demo as a user meets it: real processes, killed and brought back, and never one left behind."""

import contextlib
import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from node.demo import NAMES, free_ports
from tests.node.demos import demo_command, demo_environment, is_alive, running_demo
from tests.processes import free_port, wait_until

STOP_TIMEOUT_S = 5.0


def ask(url: str, path: str, body: str | None = None) -> Any:
    """Send one request to a node; return the decoded answer."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    with contextlib.closing(connection):
        connection.request("GET" if body is None else "POST", path, body, {"content-type": "text/plain"})
        return json.loads(connection.getresponse().read())


def raws(url: str) -> list[str]:
    """List what a node holds."""
    return [record["raw"] for record in ask(url, "/v1/records")["records"]]


def wait_gone(pids: list[int], timeout_s: float = STOP_TIMEOUT_S) -> None:
    """Wait until none of the processes runs."""
    wait_until(lambda: not any(map(is_alive, pids)), f"no process of {pids} runs", timeout_s)


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a demo that is to end by itself."""
    command = demo_command(free_port(count=8), *arguments)
    env = demo_environment() | environment
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


def test_three_nodes_find_each_other_and_a_record_reaches_the_last() -> None:
    """What is posted to the first node is listed by the third; the demo says when all see each other."""
    with running_demo() as demo:
        demo.wait_ready()
        urls = [demo.wait_for("up", name)["http"] for name in NAMES[:3]]
        assert all(ask(url, "/v1/node")["peers_up"] == 2 for url in urls)
        ask(urls[0], "/v1/records", "hello")
        wait_until(lambda: raws(urls[2]) == ["hello"], "the third node lists the record")
        assert demo.wait_for("status", "cedar", records=1)["of"] == 2


def test_each_node_of_a_demo_keeps_its_records_in_a_directory_of_its_own(tmp_path: Path) -> None:
    """Nodes that were told of one directory, here by the environment, do not quarrel over it."""
    with running_demo("-n", "2", DAYFLY_DATA_DIR=str(tmp_path)) as demo:
        urls = [demo.wait_for("up", name)["http"] for name in NAMES[:2]]
        paths = [ask(url, "/v1/node")["journal"]["path"] for url in urls]
        assert paths == [f"{tmp_path}/{name}/journal.sqlite" for name in NAMES[:2]]


def test_a_node_killed_and_started_by_hand_comes_back_as_itself() -> None:
    """The death is told with the command that undoes it; run from anywhere, it catches up and is noticed."""
    with running_demo() as demo:
        demo.wait_ready()
        amber, birch = (demo.wait_for("up", name) for name in ("amber", "birch"))
        os.kill(birch["pid"], signal.SIGKILL)
        down = demo.wait_for("down", "birch")
        assert down["reason"] == "SIGKILL"
        ask(amber["http"], "/v1/records", "missed")
        command = shlex.split(down["command"])
        by_hand = subprocess.Popen(command, cwd="/", env=demo_environment(), stderr=subprocess.DEVNULL)
        try:
            demo.wait_for("up", "birch", count=2)
            demo.wait_for("status", "birch", peers=2, records=1)
            assert raws(birch["http"]) == ["missed"]
            demo.process.send_signal(signal.SIGINT)
            assert demo.process.wait(STOP_TIMEOUT_S + 5) == 0
            assert demo.wait_for("stopped")["by_hand"] == ["birch"]
            assert is_alive(by_hand.pid), "it is not the demo's to stop"
        finally:
            by_hand.kill()
            by_hand.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name)
def test_a_signal_to_stop_ends_every_node_and_is_success(number: signal.Signals) -> None:
    """The demo ends with 0 within its time, and no node is left, not even one that was stopped."""
    with running_demo() as demo:
        pids = demo.wait_ready()
        os.kill(pids[1], signal.SIGSTOP)
        demo.process.send_signal(number)
        assert demo.process.wait(STOP_TIMEOUT_S + 5) == 0
        assert not any(map(is_alive, pids))


def test_no_node_outlives_a_demo_that_is_killed() -> None:
    """The nodes end by themselves when their demo has no chance to tell them."""
    with running_demo() as demo:
        pids = demo.wait_ready()
        demo.process.kill()
        wait_gone(pids)


def test_no_stopped_node_outlives_a_demo_that_is_killed() -> None:
    """A node that runs no code any more ends all the same."""
    with running_demo() as demo:
        pids = demo.wait_ready()
        cedar: int = demo.wait_for("up", "cedar")["pid"]  # which of them was up first differs
        os.kill(cedar, signal.SIGSTOP)
        demo.wait_for("silent", "cedar")
        demo.process.kill()
        wait_gone(pids)


def test_a_reader_that_leaves_ends_the_demo() -> None:
    """`dayfly demo | head` ends quietly with 0 and leaves no node behind."""
    command = demo_command(free_port(count=8), "--json")
    with subprocess.Popen(
        command, env=demo_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        pids: list[int] = []
        for line in demo.stdout:
            event = json.loads(line)
            if event["event"] == "up":
                pids.append(event["pid"])
            if event["event"] == "ready":
                break
        demo.stdout.close()
        os.kill(pids[0], signal.SIGKILL)  # something to tell
        assert demo.wait(30) == 0
        assert demo.stderr.read() == ""
        assert len(pids) == 3
        assert not any(map(is_alive, pids))


def test_a_port_that_is_taken_is_skipped() -> None:
    """Somebody else on the first port costs nothing: the demo says so and takes the next ones."""
    first = free_port(count=8)
    with socket.create_server(("127.0.0.1", first)), running_demo("-n", "2", first_port=first) as demo:
        demo.wait_ready()
        assert demo.wait_for("skipped")["port"] == first
        used = {e["http"] for e in demo.events("up")}
        assert used == {f"http://127.0.0.1:{first + 1}", f"http://127.0.0.1:{first + 2}"}


def test_lines_for_people_tell_what_to_try_and_how_to_bring_a_node_back() -> None:
    """Without a terminal each line names its node; the commands to copy are among them."""
    command = demo_command(first := free_port(count=8), "-n", "1", "--ttl", "60s")
    with subprocess.Popen(command, env=demo_environment(), stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        lines: list[str] = []
        for line in demo.stdout:
            lines.append(line)
            if "bring it back" in line:
                demo.send_signal(signal.SIGINT)
        text = "".join(lines)
        assert demo.wait(STOP_TIMEOUT_S + 5) == 0
    assert "1 node \N{MIDDLE DOT} loopback only \N{MIDDLE DOT} records live 60s" in text
    assert f"demo  |   curl -d hello http://127.0.0.1:{first}/v1/records\n" in text
    assert "amber | lose it: kill -9 " in text
    assert all(line[:8] in ("demo  | ", "amber | ") for line in lines)


def test_a_node_that_does_not_start_ends_the_demo_with_its_last_words(tmp_path: Path) -> None:
    """The end of its log is shown, the exit code is 1, and the other nodes are stopped."""
    broken = (
        "import os, sys\nif 'cedar' in sys.orig_argv:\n    os.write(2, b'no luck today')\n    os._exit(7)\n"
    )
    (tmp_path / "sitecustomize.py").write_text(broken)
    # The demo puts its own folder first and keeps what was there.
    with running_demo(PYTHONPATH=f"{demo_environment()['PYTHONPATH']}{os.pathsep}{tmp_path}") as demo:
        assert demo.process.wait(30) == 1
        assert "cedar did not start" in demo.errors
        assert "no luck today" in demo.errors
        assert not any(map(is_alive, demo.pids))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["-n", "0"], "0"),
        (["-n", "33"], "33"),
        (["-n", "100"], "100"),
        (["--http-port", "99999"], "99999"),
        (["--http-port", "65534"], "65534"),
        (["--ttl", "soon"], "'soon'"),
        (["--ttl", "8d"], "'8d'"),
        (["--sync-interval", "0s"], "'0s'"),
        (["--multicast", "10.0.0.1:1"], "'10.0.0.1:1'"),
        (["--cluster", ""], "name"),
    ],
    ids=" ".join,
)
def test_a_bad_value_is_refused_by_name(arguments: list[str], named: str) -> None:
    """Nothing is started; the exit code is that of wrong usage and the message names the value."""
    ended = run(*arguments)
    assert ended.returncode == 2
    assert named in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize("name", ["DAYFLY_READ_TOKEN", "DAYFLY_HTTP_CERT"])
def test_a_demo_whose_nodes_could_not_be_asked_is_refused(name: str) -> None:
    """It shows what its nodes say to all, in clear; with these it would say that they are silent."""
    ended = run(**{name: "x"})
    assert ended.returncode == 2
    assert f"unset {name.removeprefix('DAYFLY_').lower().replace('_', '-')}" in ended.stderr


def test_as_many_nodes_as_there_are_names() -> None:
    """The most a demo takes is the number of names, and no name comes twice."""
    assert len(NAMES) == len(set(NAMES)) == 32


def test_ports_are_found_upward_to_the_very_last() -> None:
    """The last port there is can be used; one more than there are cannot."""
    free, taken = free_ports(65_535, 1)
    assert (free, taken) == ([65_535], [])
    with pytest.raises(ValueError, match="only 1 free ports from 65535 upward, not 2"):
        free_ports(65_535, 2)
