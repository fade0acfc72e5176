"""A command run for each record of a watch: no shell, a few at a time, again if it fails."""

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio

from node.following import Delivery, Record

RETRY_S = (1.0, 60.0)
"""Before a failed command is run again the first time, and at most; doubled in between."""

STOP_S = 5.0
"""How long running commands may take to end once the watch is told to stop; then they are sent SIGTERM, and
SIGKILL 5 s later."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A command and how to run it.

    Attributes:
        command: program and arguments.
        parallel: int >= 1, how many run at once; with 1 records are dealt with in order.
        retries: int, how often one that fails is run again before its record is passed over.
    """

    command: Sequence[str]
    parallel: int = 1
    retries: int = 3


def environment(record: Record) -> dict[str, str]:
    """Return what a command is told of a record besides raw. Times: Unix milliseconds; size: bytes."""
    return {
        "DAYFLY_ID": record.id,
        "DAYFLY_TIME": str(record.time_stamp),
        "DAYFLY_EXPIRES": str(record.expires_at),
        "DAYFLY_SIGNATURE": record.signature,
        "DAYFLY_DIGEST": record.digest,
        "DAYFLY_SIZE": str(record.size),
    }


class Hooks:
    """Run a hook for records as they come.

    Args:
        done: called when a record has been dealt with, well or passed over.
        failed: called with the record, what went wrong, and whether it is passed over now.
    """

    def __init__(
        self, hook: Hook, done: Callable[[Delivery], None], failed: Callable[[Record, str, bool], None]
    ) -> None:
        self._hook = hook
        self._done = done
        self._failed = failed
        self._free = trio.Semaphore(hook.parallel)
        self._stopping = trio.Event()

    async def run(self, batches: Callable[[], Awaitable[list[Delivery]]]) -> None:
        """Run the command for each record of each batch, until a batch is empty or `stop`."""
        async with trio.open_nursery() as running:
            async with trio.open_nursery() as reading:
                reading.start_soon(self._cancel_at_stop, reading.cancel_scope)
                while batch := await batches():
                    for delivery in batch:
                        if delivery.record is not None:
                            await self._free.acquire()  # no more is read than can be run
                            running.start_soon(self._deal_with, delivery, delivery.record)
                reading.cancel_scope.cancel()
            if self._stopping.is_set():
                running.cancel_scope.deadline = trio.current_time() + STOP_S

    def stop(self) -> None:
        """Take no more records, and run nothing again. What is unfinished is not done."""
        self._stopping.set()

    async def _cancel_at_stop(self, scope: trio.CancelScope) -> None:
        await self._stopping.wait()
        scope.cancel()

    async def _deal_with(self, delivery: Delivery, record: Record) -> None:
        try:
            for attempt in range(self._hook.retries + 1):
                trouble = await self._try(record)
                if not trouble:
                    self._done(delivery)
                    return
                last = attempt == self._hook.retries
                if self._stopping.is_set():
                    return
                self._failed(record, trouble, last)
                if not last:
                    with trio.move_on_after(min(RETRY_S[0] * 2.0 ** min(attempt, 10), RETRY_S[1])):
                        await self._stopping.wait()
                        return
            self._done(delivery)
        finally:
            self._free.release()

    async def _try(self, record: Record) -> str:
        """Run the command once. Returns why it failed, or nothing."""
        try:
            ended = await trio.run_process(
                self._hook.command,
                stdin=record.raw.encode(),
                env=os.environ | environment(record),
                check=False,
                process_group=0,  # a Ctrl-C typed at our terminal is for us, who give it time to end
            )
        except (OSError, ValueError) as error:
            return str(error)
        if ended.returncode < 0:
            return f"signal {-ended.returncode}"
        return f"exit code {ended.returncode}" if ended.returncode else ""
