"""A `dayfly watch` at work: from the client's watch to the terminal or the hooks, and into the state file."""

import json
import signal
import sys
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import cast

import click
import msgspec
import trio

from node.client import Watch
from node.commands import EXIT_REFUSED, plain
from node.following import Delivery, Progress, Record
from node.hooks import Hook, Hooks
from node.trio_client import TrioWatch
from storage.data_dir import replace_file

STATE_S = 0.25
"""Between two writes of the state: a write with its fsync takes a disk some 10 ms."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(
    watch: Watch, progress: Progress, path: Path | None, hook: Hook | None, *, as_json: bool
) -> int | None:
    """Follow until told to stop by a signal, or until it cannot go on.

    Args:
        path: of the state; None to keep none.
        hook: what to run for each record; None to show them.

    Returns:
        the signal; None when something else ended it.

    Raises:
        NodeRefused, NodeUnreachable.
    """
    this = _Run(TrioWatch(watch), progress, path, as_json)
    try:
        trio.run(this.follow, hook)
    except BaseExceptionGroup as group:
        raise _first(group) from None
    return this.stopped_by


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


def _report(record: Record, trouble: str, passed_over: bool) -> None:
    """Say that a command failed."""
    what = "passed over" if passed_over else "it is run again"
    click.echo(f"dayfly: {plain(record.id)}: the command failed ({plain(trouble)}); {what}", err=True)


def _first(error: BaseException) -> BaseException:
    """Return the first exception in a group of groups."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error
