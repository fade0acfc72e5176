"""A demo on a terminal: a table of its nodes, keys, and a terminal given back as it was found."""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.node.demos import demo_command, demo_environment, is_alive
from tests.node.terminals import Terminal, in_terminal
from tests.processes import free_port, wait_until

START_TIMEOUT_S = 40.0
SHOW_CURSOR = "\x1b[?25h"


def wait_shown(terminal: Terminal, pattern: str) -> None:
    """Wait until the last picture shows this."""
    wait_until(
        lambda: re.search(pattern, terminal.last_picture) is not None,
        f"{pattern!r} is on the screen; it shows {terminal.last_picture!r}",
        START_TIMEOUT_S,
    )


def pids(terminal: Terminal) -> list[int]:
    """Read the process ids off the table."""
    return [int(pid) for pid in re.findall(r":\d+ +(\d+) +up ", terminal.last_picture)]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment whose temporary folder goes with the test."""
    found = demo_environment(TMPDIR=str(tmp_path))
    found.pop("NO_COLOR", None)
    return found


def press_q(terminal: Terminal) -> None:
    """Leave by the key for it."""
    terminal.press("q")


def press_ctrl_c(terminal: Terminal) -> None:
    """Leave as one leaves anything."""
    terminal.press("\x03")


def send_sigterm(terminal: Terminal) -> None:
    """Be told to leave by another process."""
    os.kill(terminal.process.pid, signal.SIGTERM)


@pytest.mark.parametrize("leave", [press_q, press_ctrl_c, send_sigterm])
def test_the_table_shows_three_nodes_and_the_terminal_is_given_back(
    leave: Callable[[Terminal], None], environment: dict[str, str]
) -> None:
    """Every way out restores the terminal's settings and its cursor, ends all nodes, and is success."""
    with in_terminal(demo_command(free_port(count=8)), environment) as terminal:
        found = terminal.state
        for name in ("amber", "birch", "cedar"):
            wait_shown(terminal, rf"{name} +:\d+ +\d+ +up +2/2 +0 +yes")
        assert terminal.state != found, "keys are read one by one"
        running = pids(terminal)
        assert len(running) == 3
        leave(terminal)
        assert terminal.process.wait(10) == 0
        assert terminal.state == found
        wait_until(lambda: terminal.shown.rstrip().endswith(SHOW_CURSOR), "the cursor is shown")
        assert not any(map(is_alive, running))


def test_keys_mark_a_node_kill_it_and_start_it_again(environment: dict[str, str]) -> None:
    """`3` marks the third, `k` kills it, `r` brings it back and it is linked again."""
    with in_terminal(demo_command(free_port(count=8)), environment) as terminal:
        wait_shown(terminal, r"> birch +:\d+ +\d+ +up +2/2")
        wait_shown(terminal, r"cedar +:\d+ +\d+ +up +2/2")
        before = pids(terminal)
        terminal.press("3")
        wait_shown(terminal, r"> cedar")
        terminal.press("k")
        wait_shown(terminal, r"> amber +:\d+ +\d+ +up +1/2")
        wait_shown(terminal, r"cedar +:\d+ +- +dead")
        terminal.press("r")
        wait_shown(terminal, r"cedar +:\d+ +\d+ +up +2/2")
        assert len(set(before) | set(pids(terminal))) == 4


def test_no_color_means_no_colour(environment: dict[str, str]) -> None:
    """With NO_COLOR set the table is drawn without a single colour, and with colours otherwise."""
    colour = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7]|38;)")
    for no_colour, expected in (("", True), ("1", False)):
        command = demo_command(free_port(count=8), "-n", "1")
        with in_terminal(command, environment | {"NO_COLOR": no_colour}) as t:
            wait_shown(t, r"amber +:\d+ +\d+")
            assert (colour.search(t.shown) is not None) == expected
