"""Die with the parent: what a node started by a demo asks of the kernel.

A pipe that ends with the parent (`dayfly up --parent-pipe`) is enough for a process that runs; a stopped
one (SIGSTOP) reads no pipe. Linux can be asked to kill it all the same.
"""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> bool:
    """Ask the kernel to kill this process when the thread that started it ends.

    Whoever starts this process must therefore do so from a thread that lives as long as it does: the main
    one. A parent that died before the call goes unnoticed; the pipe covers that.

    Returns:
        Whether it will: False where there is no such call (anywhere but on Linux).

    Source: Linux, prctl(2), PR_SET_PDEATHSIG.
    """
    if sys.platform != "linux":
        return False
    failure: int = ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    return failure == 0
