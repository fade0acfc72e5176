"""The gauge sees every stall of the loop, remembers the longest, and forgets what is no longer recent."""

import time

import trio
import trio.lowlevel
from structlog.testing import capture_logs

from node.lag import LAG_MS_MAX, LOG_AGAIN_S, RECENT_S, LoopLag


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def run_pass(lag: LoopLag, clock: Hand, length_s: float) -> None:
    lag.after_io_wait(0)
    clock.now_s += length_s
    lag.before_io_wait(0)


def test_the_longest_pass_is_kept_and_a_recent_one_fades() -> None:
    """Recent means the last 10 to 20 s; the longest ever stays; both count what passed the limit."""
    clock = Hand()
    lag = LoopLag(clock, clock)
    lag.before_io_wait(0)  # the instrument may come between the two
    run_pass(lag, clock, 0.040)
    run_pass(lag, clock, 0.090)
    assert (lag.view().max_ms, lag.view().recent_ms, lag.view().over_50_ms_total) == (90.0, 90.0, 1)
    clock.now_s += RECENT_S
    run_pass(lag, clock, 0.010)
    assert (lag.view().max_ms, lag.view().recent_ms) == (90.0, 90.0)
    clock.now_s += RECENT_S + 1
    assert (lag.view().max_ms, lag.view().recent_ms) == (90.0, 10.0)
    clock.now_s += 2 * RECENT_S + 1
    assert (lag.view().max_ms, lag.view().recent_ms, lag.view().over_50_ms_total) == (90.0, 0.0, 1)


def test_a_pass_counts_as_too_long_beyond_the_limit_only() -> None:
    """Exactly at the limit is within it."""
    clock = Hand()
    clock.now_s = 0.0
    lag = LoopLag(clock, clock)
    run_pass(lag, clock, LAG_MS_MAX / 1000)
    assert lag.view().over_50_ms_total == 0
    run_pass(lag, clock, LAG_MS_MAX / 1000 + 0.001)
    assert lag.view().over_50_ms_total == 1


async def test_a_task_that_holds_the_loop_shows() -> None:
    """On a real loop: 60 ms without a checkpoint are seen, though nobody was due to wake, and who it was."""
    lag = LoopLag(time.perf_counter, time.thread_time)

    async def hold() -> None:
        end_s = time.thread_time() + 0.060
        while time.thread_time() < end_s:
            pass

    with capture_logs() as logs:
        trio.lowlevel.add_instrument(lag)
        await trio.lowlevel.checkpoint()
        before = lag.view()
        async with trio.open_nursery() as nursery:
            for task in (trio.lowlevel.checkpoint, hold, trio.lowlevel.checkpoint):
                nursery.start_soon(task)
        await trio.sleep(0.001)
        trio.lowlevel.remove_instrument(lag)
    assert lag.view().max_ms >= 60
    assert 60 <= lag.view().cpu_max_ms <= lag.view().max_ms + 1
    assert lag.view().over_50_ms_total > before.over_50_ms_total
    (told,) = logs
    assert told["event"] == "a task held the event loop"
    assert told["task"].endswith(".hold")
    assert min(told["step_ms"], told["cpu_ms"]) >= 60


async def test_who_held_the_loop_is_told_once_a_minute_and_only_of_one_that_did() -> None:
    """Not of many that did a little each, not of one whom the machine made wait; and the longest is named."""
    clock, cpu = Hand(), Hand()
    lag = LoopLag(clock, cpu)
    task, other = trio.lowlevel.current_task(), trio.lowlevel.current_root_task()
    assert other is not None

    def told_of(*steps: tuple[trio.lowlevel.Task, float, float]) -> list[str]:
        with capture_logs() as logs:
            lag.after_io_wait(0)
            for who, step_s, cpu_s in steps:
                lag.before_task_step(who)
                clock.now_s += step_s
                cpu.now_s += cpu_s
            lag.before_io_wait(0)
        return [log["task"] for log in logs]

    limit_s = LAG_MS_MAX / 1000
    assert told_of(*[(task, limit_s * 0.9, limit_s * 0.9)] * 3) == []
    assert told_of((task, limit_s * 9, limit_s * 0.9)) == []
    assert told_of((task, limit_s * 1.1, limit_s * 1.1), (other, limit_s * 2, limit_s * 2)) == [other.name]
    assert told_of((task, limit_s * 2, limit_s * 2)) == []
    clock.now_s += LOG_AGAIN_S
    assert told_of((task, limit_s * 2, limit_s * 2), (other, limit_s * 1.1, limit_s * 1.1)) == [task.name]
