"""A process that asked to die with its parent does, even when it runs no code any more."""

import signal
import subprocess
import sys

import pytest

from tests.node.demos import demo_environment, is_alive
from tests.processes import wait_until

# A session of its own: else the kernel wakes stopped children of the dead anyway, by POSIX's orphan rule.
CHILD = """
import os, signal
from node.lifeline import die_with_parent
assert die_with_parent()
print(os.getpid(), flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
signal.pause()
"""
PARENT = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True).wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can be asked")
def test_a_stopped_child_dies_with_its_parent() -> None:
    """The kernel kills the child, although it is stopped, as soon as its parent is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD], env=demo_environment(), stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.send_signal(signal.SIGKILL)
        wait_until(lambda: not is_alive(child), "the child is gone", 5.0)
