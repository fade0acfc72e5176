"""`dayfly watch`: show records as they come, or run a command for each."""

import json
import shutil
import signal
import sys
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import cast

import click
import msgspec
import trio

from node.commands import EXIT_REFUSED, EXIT_USAGE, client_of, end, ending, plain
from node.connect import NodeAddress, node_options
from node.following import Delivery, Progress, Record, WatchState
from node.hooks import Hook, Hooks
from node.trio_client import TrioWatch
from storage.data_dir import replace_file

EXIT_INTERRUPTED = 130

STATE_S = 0.25
"""Between two writes of the state: a write with its fsync takes a disk some 10 ms."""

STATE_BYTES_MAX = 1 << 20
"""Largest state read: twice what `SAVED_MAX` records and a hundred nodes come to."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--prefix", default="", metavar="TEXT", help="Only ids that begin with this.")
@click.option("--since", default="now", metavar="WHEN", help="now, all, a time back (10m), a Unix time.")
@click.option("--state", type=click.Path(dir_okay=False, path_type=Path), help="Go on where this file says.")
@click.option("--parallel", type=click.IntRange(1, 64), default=1, help="Commands at once.  [default: 1]")
@click.option("--retries", type=click.IntRange(0), default=3, help="Of a failed command.  [default: 3]")
@node_options
@click.option("--json", "as_json", is_flag=True, help="NDJSON also on a terminal.")
def watch(
    command: tuple[str, ...],
    prefix: str,
    since: str,
    state: Path | None,
    parallel: int,
    retries: int,
    node: NodeAddress,
    as_json: bool,
) -> None:
    """Show records as they come, or run COMMAND for each.

    \b
    dayfly watch --prefix alerts/
    dayfly watch --node http://a:8080,http://b:8080       # moves to b when a goes away
    dayfly watch --state seen.json -- ./on-record   # raw on standard input, DAYFLY_ID, ...

    No shell is involved. A command that fails is run again after 1, 2, 4, ... seconds; after --retries its
    record is passed over and reported. With --state each record is dealt with at least once over restarts.
    """
    if command and shutil.which(command[0]) is None:
        end(f"there is no command {command[0]!r}", EXIT_USAGE)
    try:
        resume = None if state is None else _read_state(state)
    except (OSError, ValueError) as error:
        end(f"{state} is not the state of a watch ({error}); remove it to begin anew", EXIT_REFUSED)
    hook = Hook(command, parallel, retries) if command else None
    following = client_of(node).watch(since=since, prefix=prefix, resume=resume)
    run = _Run(TrioWatch(following), Progress(resume), state, as_json or not sys.stdout.isatty())
    with ending():
        try:
            trio.run(run.follow, hook)
        except BaseExceptionGroup as group:
            raise _first(group) from None
    if run.stopped_by == signal.SIGINT:
        sys.exit(EXIT_INTERRUPTED)


def register(group: click.Group) -> None:
    """Add the command to `group`."""
    group.add_command(watch)


class _Run:
    """One run of the command."""

    def __init__(self, watch: TrioWatch, progress: Progress, path: Path | None, as_json: bool) -> None:
        self._watch = watch
        self._progress = progress
        self._path = path
        self._as_json = as_json
        self._moved = trio.Event()
        self._trouble = ""
        self.stopped_by: int | None = None

    async def follow(self, hook: Hook | None) -> None:
        """Follow until told to stop by a signal; then write the state down."""
        await self._save()
        if self._trouble:
            sys.exit(EXIT_REFUSED)
        hooks = None if hook is None else Hooks(hook, self._done, _report)
        try:
            with self._watch:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._keep_state)
                    await nursery.start(self._follow_signals, nursery, hooks)
                    await (self._show() if hooks is None else hooks.run(self._batch))
                    nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await self._save()

    async def _batch(self) -> list[Delivery]:
        batch = await self._watch.batch()
        for delivery in batch:
            self._progress.begin(delivery)
        self._moved.set()
        return batch

    async def _show(self) -> None:
        while batch := await self._batch():
            text = "".join(self._line(each.record) for each in batch if each.record is not None)
            if text:
                # In a thread: whoever reads our output may be slow, and we may be told to stop meanwhile.
                await trio.to_thread.run_sync(partial(click.echo, text, nl=False), abandon_on_cancel=True)
            for delivery in batch:
                self._done(delivery)

    def _line(self, record: Record) -> str:
        if self._as_json:
            line = msgspec.json.encode(record).decode()
            return (json.dumps(json.loads(line)) if sys.stdout.isatty() else line) + "\n"
        at = datetime.fromtimestamp(record.time_stamp / 1000).strftime("%H:%M:%S")
        return f"{at}  {plain(record.id)}  {plain(record.raw[:200])}\n"

    def _done(self, delivery: Delivery) -> None:
        if not delivery.done:
            self._progress.done(delivery)
        self._moved.set()

    async def _follow_signals(
        self,
        nursery: trio.Nursery,
        hooks: Hooks | None,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        with trio.open_signal_receiver(*_SIGNALS) as signals:
            task_status.started()
            async for number in signals:
                again, self.stopped_by = self.stopped_by is not None, number
                if hooks is None or again:
                    nursery.cancel_scope.cancel()
                else:
                    hooks.stop()

    async def _keep_state(self) -> None:
        while self._path is not None:
            await self._moved.wait()
            self._moved = trio.Event()
            await self._save()
            await trio.sleep(STATE_S)

    async def _save(self) -> None:
        """Write down where we are. What cannot be written is done again after a restart, and reported."""
        if self._path is None:
            return
        data = msgspec.json.encode(self._progress.state())
        try:
            await trio.to_thread.run_sync(replace_file, self._path, data)
            self._trouble = ""
        except OSError as error:
            before, self._trouble = self._trouble, error.strerror or str(error)
            if self._trouble != before:
                click.echo(f"dayfly: {self._path} cannot be written: {self._trouble}", err=True)


def _read_state(path: Path) -> WatchState | None:
    """Read a state; None if there is no file yet. Raises OSError, ValueError."""
    try:
        with path.open("rb") as file:
            data = file.read(STATE_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    if len(data) > STATE_BYTES_MAX:
        raise ValueError("it is too large")
    state = msgspec.json.decode(data, type=WatchState)
    Progress(state)  # finds damage
    return state


def _report(record: Record, trouble: str, passed_over: bool) -> None:
    """Say that a command failed."""
    what = "passed over" if passed_over else "it is run again"
    click.echo(f"dayfly: {plain(record.id)}: the command failed ({plain(trouble)}); {what}", err=True)


def _first(error: BaseException) -> BaseException:
    """Return the first exception in a group of groups."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error
