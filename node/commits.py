"""From the journal's thread to the tasks that wait for it: has this record been committed?

A commit may save a thousand records for hundreds of tasks. The thread rings once for each commit, however
many wait, and not at all while the ring before has not been heard; then all tasks that wait look at one
number. Who is cancelled while waiting just leaves; the record is written all the same.
"""

from contextlib import suppress

import structlog
import trio

from storage import JournalWriter

_log = structlog.get_logger("dayfly.journal")

COMMIT_WAIT_S_MAX = 10.0
"""How long a client waits for its commit. Our choice: a disk in use answers within a second; one that hangs
would otherwise gather waiting clients until there is no connection left for readers. From then on, until it
answers, that is trouble like any other: who posts is refused at once."""


class Commits:
    """The commits of one journal, for tasks of the event loop that makes this object."""

    def __init__(self, writer: JournalWriter) -> None:
        self._writer = writer
        self._token = trio.lowlevel.current_trio_token()
        self._lot = trio.lowlevel.ParkingLot()
        self._trouble = ""
        writer.answer_s_max = COMMIT_WAIT_S_MAX
        writer.on_change = self._ring
        self._ring()  # for trouble that began earlier

    async def saved(self, seq: int) -> str:
        """Wait until all records up to number `seq` are on the disk.

        Returns:
            Why they are not and may never be: at once when nothing can be written, else after
            `COMMIT_WAIT_S_MAX`. Empty when they are.
        """
        with trio.move_on_after(COMMIT_WAIT_S_MAX):
            while self._writer.durable_seq < seq and not self._writer.trouble:
                await self._lot.park()
        if self._writer.durable_seq >= seq:
            return ""
        self._heard()  # a disk that does not answer rings no bell
        return self._writer.trouble or f"the disk has not answered for {COMMIT_WAIT_S_MAX:.0f} s"

    def _ring(self) -> None:
        """Have the event loop look: once for all that has changed until it does. On any thread."""
        with suppress(trio.RunFinishedError):  # the last commits of a node that is stopping
            self._token.run_sync_soon(self._heard, idempotent=True)

    def _heard(self) -> None:
        """Wake who waits, and log what trouble begins and ends."""
        self._lot.unpark_all()
        before, self._trouble = self._trouble, self._writer.trouble
        if self._trouble and not before:
            _log.error("the journal cannot be written; posts are refused", reason=self._trouble)
        elif before and not self._trouble:
            _log.info("the journal is written again")
