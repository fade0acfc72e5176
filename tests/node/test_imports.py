"""What a command loads before it does anything: a user waits for every module."""

import re
import subprocess

import pytest

from tests.node.commands import COMMAND, ENVIRONMENT
from tests.processes import ROOT

NOBODY = ("--node", "http://127.0.0.1:1")
ANYWHERE = ("--http", "127.0.0.1:0", "--peer", "127.0.0.1:0", "--no-multicast")


def loaded(*arguments: str, code: int = 0) -> set[str]:
    """Run a command, which is to end with `code`, and name the packages that it imports."""
    python, *module = COMMAND
    done = subprocess.run(
        [python, "-X", "importtime", *module, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=ENVIRONMENT,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return set(re.findall(r"^import time: .*\| +([a-z]\w*)$", done.stderr, re.MULTILINE))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--help",), 0),
        (("watch", "--help"), 0),
        (("keygen", "--help"), 0),
        (("post", "hello", *NOBODY), 3),
        (("list", *NOBODY), 3),
        (("peers", *NOBODY), 3),
    ],
)
def test_a_command_that_needs_no_node_does_not_load_one(arguments: tuple[str, ...], code: int) -> None:
    """No loop, no server, no cryptography: importing them takes twice as long as all the rest."""
    packages = loaded(*arguments, code=code)
    assert {"click", "cluster", "node"} <= packages
    assert not packages & {"api", "cryptography", "quart", "rich", "storage", "structlog", "trio"}


def test_a_node_without_a_key_loads_no_cryptography_and_no_tables() -> None:
    """What makes certificates is for those who show some, what draws tables for commands."""
    packages = loaded("up", *ANYWHERE, "--parent-pipe", "0")  # which is at its end: it stops once started
    assert {"quart", "structlog", "trio"} <= packages
    assert not packages & {"cryptography", "pygments"}  # which rich brings
