"""Where a demo is shown: lines for pipes and programs, a live table with keys for a terminal.

Both are given every observation and every event. Lines print the events; the table shows the observation
with the last few events below it. Whatever happens, the terminal is given back as it was found.
"""

import json
import os
import sys
import termios
import tty
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from node.demo_story import Event, NodeView, Plan, State

NOTES_MAX = 4
"""Events kept below the table: it must fit a terminal of 24 lines with three nodes."""

_COLOURS = ("yellow", "green", "magenta", "cyan", "blue", "red")
_STATE_STYLES = {
    State.UP: "green",
    State.BY_HAND: "green",
    State.DEAD: "red",
    State.STOPPED: "dim",
    State.SILENT: "red",
    State.STARTING: "yellow",
    State.CATCHING_UP: "yellow",
}


class Display(Protocol):
    """Shows a demo. Raises OSError when nobody watches any more."""

    def show(self, views: Sequence[NodeView], events: Sequence[Event]) -> None:
        """Show the nodes as they are, and what has just happened."""
        ...


class Lines:
    """One line per event: `name | text`, or a JSON object."""

    def __init__(self, *, as_json: bool, width: int) -> None:
        self._as_json = as_json
        self._width = width

    def show(self, views: Sequence[NodeView], events: Sequence[Event]) -> None:
        """Print the events; the nodes are in them."""
        for event in events:
            if self._as_json:
                print(json.dumps({"node": event.node, "event": event.event, **event.fields}))
            else:
                for line in event.text.splitlines():
                    print(f"{event.node:{self._width}} | {line}")
        sys.stdout.flush()


class Screen:
    """The live table. Use it as `with live_screen(...)`."""

    def __init__(self, plan: Plan, live: Live, *, keys: bool) -> None:
        self.selected = 1 if plan.count > 1 else 0
        self._plan = plan
        self._live = live
        self.keys = keys
        self._notes: deque[Event] = deque(maxlen=NOTES_MAX)

    def show(self, views: Sequence[NodeView], events: Sequence[Event]) -> None:
        """Draw everything anew."""
        self._notes.extend(e for e in events if e.event not in ("start", "status", "hint", "ready"))
        self._live.update(self._picture(views), refresh=True)

    def _note(self, event: Event) -> str:
        """Word an event briefly: a line that the terminal would wrap cannot be copied and pasted."""
        if event.event != "down":
            return event.text
        script = self._plan.logs / f"{event.node}.sh"
        how = "press r, or: " if self.keys else "start it again: "
        return f"{event.text.partition(';')[0]}; {how}sh {script}"

    def _picture(self, views: Sequence[NodeView]) -> RenderableType:
        headline = Text(f"{self._plan.headline}   Ctrl-C stops all", style="bold")
        parts: list[RenderableType] = [headline, node_table(views, self.selected if self.keys else None)]
        if views:
            parts.append(_line("page ", f"{views[0].url}/"))
            parts += [_line("try  " if i == 0 else "     ", t) for i, t in enumerate(self._plan.tries(views))]
        parts.append(_line("logs ", str(self._plan.logs)))
        parts.append(_line("net  ", f"loopback, links {self._plan.links}"))
        if self.keys:
            digits = "1" if self._plan.count == 1 else f"1-{min(self._plan.count, 9)}"
            words = f"k kill -9 the marked node, {digits} mark, r restart dead ones, q quit"
            parts.append(_line("keys ", words))
        parts += [Text.assemble((f"{e.node} ", "bold"), self._note(e), overflow="fold") for e in self._notes]
        return Group(*parts)


@contextmanager
def live_screen(plan: Plan, console: Console, *, keys: bool) -> Generator[Screen]:
    """Take over the terminal, and give it back whatever happens."""
    live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
    with _single_keys(sys.stdin.fileno() if keys else None):
        live.start()
        try:
            yield Screen(plan, live, keys=keys)
        finally:
            with suppress(OSError):  # the terminal may be gone
                live.stop()


def node_table(views: Sequence[NodeView], selected: int | None) -> Table:
    """Make the table: a row per node. `selected`: the index of the row to mark."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("node", no_wrap=True)
    table.add_column("http://127.0.0.1", no_wrap=True)
    for name in ("pid", "state", "peers", "records", "in sync", "last"):
        table.add_column(name, no_wrap=True, justify="left" if name == "state" else "right")
    for i, view in enumerate(views):
        mark = "" if selected is None else ("> " if i == selected else "  ")
        table.add_row(
            Text(mark + view.name, style=_COLOURS[i % len(_COLOURS)]),
            f":{view.http_port}",
            _or_dash(view.pid),
            Text(view.state.value, style=_STATE_STYLES[view.state]),
            "-" if view.peers is None else f"{view.peers}/{len(views) - 1}",
            _or_dash(view.records),
            {True: "yes", False: "no", None: "-"}[view.in_sync],
            _ago(view.last_s),
        )
    return table


def on_terminal() -> bool:
    """Whether standard output is a terminal that can be redrawn, and is ours to draw on."""
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        return False
    return _foreground(sys.stdout.fileno())


def has_keys() -> bool:
    """Whether keys can be read from standard input."""
    return sys.stdin.isatty() and _foreground(sys.stdin.fileno())


def _foreground(fd: int) -> bool:
    """Whether a terminal listens to us and not to a shell in front of us."""
    with suppress(OSError):
        return os.tcgetpgrp(fd) == os.getpgrp()
    return False


@contextmanager
def _single_keys(fd: int | None) -> Generator[None]:
    """Deliver each key at once and do not echo it. None: no terminal to change."""
    if fd is None:
        yield
        return
    found = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd, termios.TCSANOW)
        changed = termios.tcgetattr(fd)
        # Ctrl-Z would stop the demo but not its nodes, and leave the terminal half changed: not offered.
        changed[6][termios.VSUSP] = os.fpathconf(fd, "PC_VDISABLE").to_bytes(1, "little")
        termios.tcsetattr(fd, termios.TCSANOW, changed)
        yield
    finally:
        with suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(fd, termios.TCSANOW, found)


def _line(label: str, text: str) -> Text:
    return Text.assemble((label, "dim"), text, overflow="fold")


def _ago(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 1.0:
        return "just now"
    if seconds < 60.0:
        return f"{seconds:.0f} s ago"
    return f"{seconds // 60:.0f} min ago" if seconds < 3600.0 else f"{seconds // 3600:.0f} h ago"


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)
