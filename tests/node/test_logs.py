"""Log lines: what comes from peers gives no orders to whoever reads them."""

import subprocess
import sys

import pytest

LOG = """
import sys, structlog
from node.logs import configure
configure(sys.argv[1], "info")
structlog.get_logger().info("peer\\x1b[2J up", name="\\x1b]0;owned\\x07", reasons=["\\x9b2J\\r"], ms=1.5)
"""


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_peers_words_cannot_give_orders_to_a_terminal(log_format: str) -> None:
    """A name that is an escape sequence is shown, in letters, and not obeyed."""
    command = [sys.executable, "-c", LOG, log_format]
    line = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True).stderr

    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert "]0;owned" in line
    assert "1.5" in line
