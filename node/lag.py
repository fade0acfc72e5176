"""How long the event loop keeps whoever is ready waiting: the gauge behind `loop_lag` in `/v1/node`.

A pass of trio's scheduler runs every task that is ready, one step each, then looks for new I/O. Whatever
becomes ready during a pass waits for its end, so the length of a pass is how late the loop is, whether a
task did too much at once, many did a little, the garbage collector ran, or the machine was busy elsewhere.
The CPU time of a pass is measured beside it, which leaves the last of these out.

A task that sleeps and looks how late it wakes would see a stall only if it was due to wake during it, and
would wake an idle node ten times a second. Two calls per pass (2 µs) see every one and wake nobody.
"""

from collections.abc import Callable

import msgspec
import trio

RECENT_S = 10.0
"""The span that counts as recent: at least so long, at most twice."""

LAG_MS_MAX = 50.0
"""What no operation of a node may take at once; longer passes are counted. Our choice: a tenth of what
people notice, and little beside the seconds after which peers are suspected."""


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

    def after_io_wait(self, timeout: float) -> None:
        """Begin a pass."""
        self._cpu_s = self._cpu_clock()
        self._woke_s = self._clock()

    def before_io_wait(self, timeout: float) -> None:
        """End a pass."""
        if self._woke_s is None:
            return
        now_s = self._clock()
        pass_s = now_s - self._woke_s
        self._cpu_max_s = max(self._cpu_max_s, self._cpu_clock() - self._cpu_s)
        if now_s - self._window_s > RECENT_S:
            self._turn(now_s)
        if pass_s > self._now_s:
            self._now_s = pass_s
            self._max_s = max(self._max_s, pass_s)
        if pass_s * 1000 > LAG_MS_MAX:
            self._over_total += 1

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
