"""The loop of a demo: look at the nodes, show them, do what keys and signals say, end tidily.

Everything here runs in the main thread: nodes may be started from nowhere else (node/demo_nodes.py).
"""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial

import trio
from rich.console import Console

from node.demo_display import Display, Lines, Screen, has_keys, live_screen, on_terminal
from node.demo_node import DemoNode
from node.demo_nodes import Fleet, follow
from node.demo_story import DEMO, Event, Plan, State, Story

REFRESH_S = 0.5


def run(nodes: Sequence[DemoNode], plan: Plan, *, plain: bool, as_json: bool) -> DemoNode | None:
    """Run a demo until it is told to stop.

    Args:
        plain, as_json: whether to print lines, and of which kind, even on a terminal.

    Returns:
        The node that did not start, if that is why it ended. No node that was started here is left.
    """
    with ExitStack() as stack:
        display: Display
        screen: Screen | None = None
        if plain or as_json or not on_terminal():
            display = Lines(as_json=as_json, width=max(len(DEMO), *(len(n.name) for n in nodes)))
        else:
            display = screen = stack.enter_context(live_screen(plan, Console(), keys=has_keys()))
        demo = _Demo(Fleet(nodes), plan, display)
        return trio.run(partial(demo.run, screen))


class _Demo:
    """One run: the nodes, how they are shown, and whether to stop."""

    def __init__(self, fleet: Fleet, plan: Plan, display: Display) -> None:
        self._fleet = fleet
        self._plan = plan
        self._story = Story(plan)
        self._display = display
        self._stopping = trio.Event()
        self._hurry = trio.Event()
        self._wake = trio.Event()

    async def run(self, screen: Screen | None) -> DemoNode | None:
        """Run until told to stop. `screen`: where keys choose, if there are keys."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._follow_signals)
            try:
                self._show(self._plan.opening())
                self._fleet.start_gone()
                for node in self._fleet.nodes:
                    nursery.start_soon(follow, node)
                if screen is not None and screen.keys:
                    nursery.start_soon(self._follow_keys, screen)
                failed = await self._watch()
                self._show([Event(DEMO, "stopping", "stopping all nodes")])
            finally:
                with trio.CancelScope(shield=True):
                    await self._fleet.stop(self._hurry)
            self._show([self._farewell()])
            nursery.cancel_scope.cancel()
        return failed

    async def _watch(self) -> DemoNode | None:
        """Show what happens until told to stop, or until a node turns out not to start."""
        while not self._stopping.is_set():
            self._wake = trio.Event()
            self._fleet.reap()
            for node in self._fleet.nodes:
                if not node.ever_up and not node.alive:
                    return node
            self._show(self._story.tell(self._fleet.views(trio.current_time())))
            with trio.move_on_after(REFRESH_S):
                await self._wake.wait()
        return None

    def _show(self, events: Sequence[Event]) -> None:
        """Show the nodes as they are and what has happened. Nobody watching any more ends the demo."""
        try:
            self._display.show(self._fleet.views(trio.current_time()), events)
        except OSError:
            # Python writes at its exit what could not be written now; that must not fail again.
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self._stop()

    def _farewell(self) -> Event:
        by_hand = [n.name for n in self._fleet.nodes if n.state is State.BY_HAND]
        left = f"; {', '.join(by_hand)} started by hand, still there" if by_hand else ""
        return Event(DEMO, "stopped", f"stopped{left}; logs in {self._plan.logs}", {"by_hand": by_hand})

    def _stop(self) -> None:
        self._stopping.set()
        self._wake.set()

    async def _follow_signals(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Stop at the first signal to stop, hurry at the second; look again when a process has ended."""
        numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup leaves it
            numbers.append(signal.SIGHUP)
        with trio.open_signal_receiver(*numbers) as signals:
            task_status.started()
            async for number in signals:
                if number == signal.SIGCHLD:
                    self._wake.set()
                elif self._stopping.is_set():
                    self._hurry.set()
                else:
                    self._stop()

    async def _follow_keys(self, screen: Screen) -> None:
        """Do what keys say until there are no more."""
        fd = sys.stdin.fileno()
        with suppress(OSError):  # the terminal is gone; a signal says so too
            while True:
                await trio.lowlevel.wait_readable(fd)
                keys = os.read(fd, 64)
                if not keys:
                    return
                for key in keys.decode("ascii", "replace"):
                    self._press(key, screen)
                self._wake.set()

    def _press(self, key: str, screen: Screen) -> None:
        """Do what one key says; others say nothing."""
        nodes = self._fleet.nodes
        if key == "q":
            self._stop()
        elif key == "r":
            self._fleet.start_gone()
        elif key in "123456789" and int(key) <= len(nodes):
            screen.selected = int(key) - 1
        elif key == "k":
            order = [(screen.selected + i) % len(nodes) for i in range(len(nodes))]
            victim = next((i for i in order if nodes[i].alive and nodes[i].ever_up), None)
            if victim is not None:
                self._fleet.kill(nodes[victim])
                screen.selected = (victim + 1) % len(nodes)
