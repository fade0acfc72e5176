"""How long the event loop keeps whoever is ready waiting: the gauge behind `loop_lag` in `/v1/node`.

A pass of trio's scheduler runs every task that is ready, one step each, then looks for new I/O. Whatever
becomes ready during a pass waits for its end, so the length of a pass is how late the loop is, whether a
task did too much at once, many did a little, the garbage collector ran, or the machine was busy elsewhere.
The CPU time of a pass is measured beside it, which leaves the last of these out.

A task that sleeps and looks how late it wakes would see a stall only if it was due to wake during it, and
would wake an idle node ten times a second. Two calls per pass (2 µs) see every one and wake nobody.

Which task held the loop is told in the log. One call per step sees it (0.6 µs; a post takes one or two
steps: 0.4 % of its CPU). It reads the wall clock, because to read CPU time costs four times as much; the
CPU time of the pass then tells whether the task worked so long or only waited for a core.
"""

from collections.abc import Callable

import msgspec
import structlog
import trio

_log = structlog.get_logger("dayfly.node")

RECENT_S = 10.0
"""The span that counts as recent: at least so long, at most twice."""

LAG_MS_MAX = 50.0
"""What no operation of a node may take at once; longer passes are counted. Our choice: a tenth of what
people notice, and little beside the seconds after which peers are suspected."""

LOG_AGAIN_S = 60.0
"""How soon it is logged again who held the loop."""


class LagView(msgspec.Struct, frozen=True):
    """What the gauge shows.

    Attributes:
        max_ms: longest pass since the start, in milliseconds.
        recent_ms: longest pass of the last 10 to 20 s.
        over_50_ms_total: how many passes were longer than `LAG_MS_MAX`.
        cpu_max_ms: most CPU time one pass has used, in milliseconds.
    """

    max_ms: float
    recent_ms: float
    over_50_ms_total: int
    cpu_max_ms: float


class LoopLag(trio.abc.Instrument):
    """Measure every pass of the loop it is added to.

    Args:
        clock: returns monotonic seconds.
        cpu_clock: returns seconds of CPU time this thread has used.
    """

    def __init__(self, clock: Callable[[], float], cpu_clock: Callable[[], float]) -> None:
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._cpu_s = self._cpu_max_s = 0.0  # at the begin of the pass, and most in one
        self._woke_s: float | None = None  # when the pass began
        self._window_s = clock()  # when the present window began
        self._max_s = self._before_s = self._now_s = 0.0  # ever, in the window before, in this one
        self._over_total = 0
        self._task: trio.lowlevel.Task | None = None  # whose step it is, if any is on
        self._step_s = 0.0  # when it began
        self._longest_s, self._longest = 0.0, ""  # of the steps of this pass over the limit, and whose it was
        self._told_s: float | None = None  # when that was logged last

    def after_io_wait(self, timeout: float) -> None:
        """Begin a pass."""
        self._cpu_s = self._cpu_clock()
        self._woke_s = self._step_s = self._clock()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """End a step and begin the next."""
        now_s = self._clock()
        if now_s - self._step_s > LAG_MS_MAX / 1000:
            self._end_long_step(now_s)
        self._step_s, self._task = now_s, task

    def before_io_wait(self, timeout: float) -> None:
        """End a pass."""
        if self._woke_s is None:
            return
        now_s = self._clock()
        pass_s, cpu_s = now_s - self._woke_s, self._cpu_clock() - self._cpu_s
        self._cpu_max_s = max(self._cpu_max_s, cpu_s)
        if now_s - self._window_s > RECENT_S:
            self._turn(now_s)
        if pass_s > self._now_s:
            self._now_s = pass_s
            self._max_s = max(self._max_s, pass_s)
        if pass_s * 1000 > LAG_MS_MAX:
            self._over_total += 1
            self._end_long_step(now_s)
            self._tell(now_s, cpu_s)
        self._task = None

    def view(self) -> LagView:
        """Return what was measured."""
        now_s = self._clock()
        if now_s - self._window_s > RECENT_S:
            self._turn(now_s)
        recent_s = max(self._before_s, self._now_s)
        max_ms, recent_ms, cpu_ms = (round(s * 1000, 3) for s in (self._max_s, recent_s, self._cpu_max_s))
        return LagView(max_ms, recent_ms, self._over_total, cpu_ms)

    def _turn(self, now_s: float) -> None:
        """Begin a new window; the one before counts only if it has just ended."""
        self._before_s = self._now_s if now_s - self._window_s <= 2 * RECENT_S else 0.0
        self._now_s, self._window_s = 0.0, now_s

    def _end_long_step(self, now_s: float) -> None:
        """Remember whose step is over, if none of this pass was longer."""
        if self._task is not None and now_s - self._step_s > self._longest_s:
            self._longest_s, self._longest = now_s - self._step_s, self._task.name

    def _tell(self, now_s: float, cpu_s: float) -> None:
        """Log who held the loop for a pass that is over, if it was one task and its work."""
        step_ms, cpu_ms, self._longest_s = self._longest_s * 1000, cpu_s * 1000, 0.0
        if min(step_ms, cpu_ms) <= LAG_MS_MAX:
            return
        if self._told_s is None or now_s - self._told_s >= LOG_AGAIN_S:
            self._told_s = now_s
            _log.warning(
                "a task held the event loop", task=self._longest, step_ms=round(step_ms), cpu_ms=round(cpu_ms)
            )
