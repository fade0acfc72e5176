"""A node that tells where its CPU time went: `dayfly` itself, interrupted every few milliseconds of CPU time.

    python profiled_node.py FILE up [OPTION]...

A timer of the kernel counts the process's CPU time and sends a signal each 4 ms of it; the handler notes
which functions are on the stack. That costs a node about 1 %, and unlike a tracing profiler it does not make
small functions look dear. When the node is told to stop, FILE gets two tables: functions by the samples taken
in themselves, and by those taken in them or in what they called.
"""

import atexit
import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

# Run from a checkout, installed or not: the rooms lie two folders up.
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from node.cli import main  # noqa: E402 - the path comes first

PERIOD_S = 0.004
ROWS = 60
EVENT_LOOP = "unrolled_run"
"""Trio's function under which everything runs but the start."""


def profile(file: Path) -> None:
    """Sample this process from now on; `file` gets the tables at its end."""
    own: Counter[CodeType] = Counter()
    within: Counter[CodeType] = Counter()

    def sample(_: int, frame: FrameType | None) -> None:
        stack: list[CodeType] = []
        while frame is not None:
            stack.append(frame.f_code)
            frame = frame.f_back
        if any(code.co_name == EVENT_LOOP for code in stack):  # not what imports and starting cost
            own[stack[0]] += 1
            within.update(set(stack))

    def write() -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        file.write_text(_table("in itself", own, own.total()) + _table("within", within, own.total()))

    signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, PERIOD_S, PERIOD_S)
    atexit.register(write)


def _table(name: str, counts: "Counter[CodeType]", total: int) -> str:
    lines = [f"{name}: {total} samples\n"]
    for code, count in counts.most_common(ROWS):
        where = code.co_filename.removeprefix(f"{ROOT}/").rpartition("/site-packages/")[2]
        share = count * 100 / max(total, 1)
        lines.append(f"{share:6.1f} %  {code.co_qualname}  {where}:{code.co_firstlineno}\n")
    return "".join([*lines, "\n"])


if __name__ == "__main__":
    profile(Path(sys.argv[1]))
    main(sys.argv[2:])
