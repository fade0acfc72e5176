"""Log lines: what comes from peers gives no orders to whoever reads them, and none ends or stalls a node."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mounts import mounted
from tests.node.commands import COMMAND, ENVIRONMENT
from tests.processes import ROOT, NodeProcess, free_port, wait_until

LOG = """
import sys, structlog
from node.logs import logging_to_stderr
with logging_to_stderr(sys.argv[1], "info"):
    structlog.get_logger().info("peer\\x1b[2J up", name="\\x1b]0;owned\\x07", reasons=["\\x9b2J\\r"], ms=1.5)
"""

LOG_MANY = """
import sys, structlog
from node.logs import logging_to_stderr
with logging_to_stderr("json", "info"):
    for number in range(int(sys.argv[1])):
        structlog.get_logger().info("line", number=number, text="x" * 1000)
sys.stderr.write("the end")
"""

PIPE_BYTES = 4096
"""The least that Linux makes of a pipe."""


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_peers_words_cannot_give_orders_to_a_terminal(log_format: str) -> None:
    """A name that is an escape sequence is shown, in letters, and not obeyed."""
    command = [sys.executable, "-c", LOG, log_format]
    line = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True).stderr

    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert "]0;owned" in line
    assert "1.5" in line


def full_pipe(path: Path) -> int:
    """Make a named pipe with no room left; return a descriptor that holds it open and reads nothing."""
    os.mkfifo(path)
    pipe = os.open(path, os.O_RDWR)
    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    os.write(pipe, b"x" * PIPE_BYTES)
    return pipe


@pytest.mark.parametrize("trouble", ["the reader is gone", "the disk is full", "nobody reads"])
def test_a_node_serves_on_and_stops_as_told_when_its_log_cannot_be_written(
    trouble: str, tmp_path: Path
) -> None:
    """A request with a wrong token is logged; what becomes of that line is no matter of the node's life."""
    log = Path("/dev/full") if trouble == "the disk is full" else tmp_path / "log"
    pipe = None if trouble == "the disk is full" else full_pipe(log)
    arguments = ["--http", f"127.0.0.1:{(port := free_port())}", "--no-multicast", "--write-token", "w"]
    node = NodeProcess(arguments, port, log=log).start()
    if pipe is not None and trouble == "the reader is gone":
        os.close(pipe)
    process = node.process
    assert process is not None
    try:
        wait_until(lambda: node.answers or process.poll() is not None, "the node is ready")
        assert node.ask("POST", "/v1/records", "x", authorization="Bearer wrong").status == 401
        assert node.ask("GET", "/healthz").status == 200
        dropped = f"dayfly_log_lines_dropped_total {0 if trouble == 'nobody reads' else 2}.0"
        assert dropped in node.ask("GET", "/metrics").body.decode()
        node.signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        node.kill()


def test_what_was_logged_is_out_in_order_before_anything_said_after_it() -> None:
    """The end waits for the lines, however many there were at once."""
    command = [sys.executable, "-c", LOG_MANY, "500"]
    *lines, end = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True).stderr.splitlines()

    assert [json.loads(line)["number"] for line in lines] == list(range(500))
    assert end == "the end"


def test_an_end_waits_no_longer_than_a_moment_for_a_log_that_nobody_reads(tmp_path: Path) -> None:
    """Else a node could not be stopped."""
    pipe = full_pipe(tmp_path / "pipe")
    with (tmp_path / "pipe").open("ab") as stderr:
        subprocess.run([sys.executable, "-c", LOG, "json"], stderr=stderr, timeout=30, check=True)
    os.close(pipe)


def test_a_start_that_is_refused_on_a_full_disk_still_ends_with_1(tmp_path: Path) -> None:
    """The exit code is all that is left to tell."""
    with mounted(tmp_path, "size=16k") as directory, Path("/dev/full").open("wb") as stderr:
        command = [*COMMAND, "up", "--http", "127.0.0.1:0", "--no-multicast", "--key-file", str(directory)]
        assert subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, stderr=stderr).returncode == 1
