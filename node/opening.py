"""Open and close a store that has a journal, with a word about it: what is slow or lost is never silent.

Both block for as long as the disk takes, so both run in a thread; the event loop goes on and hears signals.
"""

import contextlib
import os
import sys
import time
from pathlib import Path

import structlog
import trio

from node.config import Config
from node.key_files import read_signature
from node.log_output import log_output
from storage import JournalReport, JournalStore, StoreLimits, StoreUnusable, open_store
from storage.data_dir import SIGNATURE_NAME, replace_file
from validator import Outcome, SignatureValidator

_log = structlog.get_logger("dayfly.journal")

SIGNATURE_BYTES_MAX = 64
"""Read of the file that names the validator: twice the longest name."""

CHECK_RECORDS = 100
"""Records read at a time when that has changed. Between two times a stop is heard: after 8 ms of Ed25519, or
0.3 s of the largest records."""

GIVE_UP_S = 4.5
"""How long a start that comes to nothing waits for its disk: as long as a stop."""

TELL_EVERY_S = 0.2
LOG_EVERY_S = 2.0
"""Between two words on how far the reading is: on a terminal, where one replaces the other, and in a log."""


async def open_journal(config: Config, data_dir: Path, wall_ms: int) -> JournalStore:
    """Read the journal in `data_dir` into a store; ten seconds for a million records.

    Args:
        wall_ms: Unix milliseconds now.

    Raises:
        StoreUnusable: it is in use by another process, or cannot be used; the text says why.
        KeyFileError: the keys of the records' signatures cannot be read.
    """
    signature = read_signature(config.validator, config.validator_key_file)
    limits = StoreLimits(config.records_max, config.bytes_max)
    progress = Progress(data_dir, "reading", "the journal")
    try:
        store = await trio.to_thread.run_sync(
            open_store, config.ttl_ms, limits, data_dir, wall_ms, progress, abandon_on_cancel=True
        )
    finally:
        progress.end()
    assert isinstance(store, JournalStore)  # because there is a directory
    _tell(store.report, progress.taken_s)
    try:
        # Not abandoned when told to stop: the thread looks for that itself, and then the store is closed.
        await trio.to_thread.run_sync(_keep_signature, store, signature, data_dir, wall_ms)
        await trio.lowlevel.checkpoint_if_cancelled()
    except BaseException:  # interrupted or not, nobody is left to close it
        await close_journal(store, trio.current_time() + GIVE_UP_S)
        raise
    return store


def _keep_signature(store: JournalStore, signature: SignatureValidator, data_dir: Path, wall_ms: int) -> None:
    """Make sure that what was read passes the validator of today, and note which that is.

    Records that do not would be refused by every peer they are offered to, and cost this node its links.

    Raises:
        StoreUnusable: some do not.
        trio.Cancelled: told to stop meanwhile; nothing is noted.
    """
    path = data_dir / SIGNATURE_NAME
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            before = file.read(SIGNATURE_BYTES_MAX).decode("ascii", "replace").strip()
    except OSError:
        before = "md5"  # the only one there was before this file
    if before != signature.name and (bad := _count_bad(store, signature, data_dir, wall_ms)):
        raise StoreUnusable(
            f"{bad} records in {data_dir} were accepted by {before!r} and are not good by "
            f"{signature.name!r}: go back to its --validator and keys, or use another --data-dir"
        )
    with contextlib.suppress(OSError):  # a full disk; at the next start they are looked at again
        replace_file(path, f"{signature.name}\n".encode())


def _count_bad(store: JournalStore, signature: SignatureValidator, data_dir: Path, wall_ms: int) -> int:
    bad, done, after = 0, 0, b""
    progress, total = Progress(data_dir, "checking", "the signatures"), store.statistics().records
    try:
        while records := store.page(after, wall_ms, CHECK_RECORDS):
            progress(done, total)
            trio.from_thread.check_cancelled()
            bad += sum(signature.check(r, wall_ms).outcome is not Outcome.ACCEPT for r in records)
            done, after = done + len(records), records[-1].key
    finally:
        progress.end()
    return bad


async def close_journal(store: JournalStore, close_by_s: float) -> None:
    """Write what waits and let go of the directory; log what goes wrong.

    Whatever was acknowledged is on the disk before, so a disk that hangs may be left to itself.

    Args:
        close_by_s: when to give up (trio's clock).
    """
    with trio.CancelScope(deadline=close_by_s, shield=True) as scope:
        try:
            await trio.to_thread.run_sync(store.close, abandon_on_cancel=True)
        except OSError as error:
            _log.error("the journal was closed with records unsaved", reason=str(error))
    if scope.cancelled_caught:
        _log.error("the journal was not closed in time", path=str(store.report.path))


class Progress:
    """Say how far the reading is: in one line on a terminal, in a few lines of the log elsewhere.

    Args:
        verb, what: what is done, as `reading`, and to what of the directory.
    """

    def __init__(self, data_dir: Path, verb: str, what: str) -> None:
        self._data_dir, self._verb, self._what = data_dir, verb, what
        self._terminal = sys.stderr.isatty()
        self._start_s, self._told_s = time.monotonic(), 0.0
        self._shown = False

    @property
    def taken_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start_s

    def __call__(self, done: int, total: int) -> None:
        """Rows done and their total (0: not known); the first call speaks if there are any."""
        now_s = time.monotonic()
        if not total + done or now_s - self._told_s < (TELL_EVERY_S if self._terminal else LOG_EVERY_S):
            return
        self._told_s = now_s
        if self._terminal:
            of = f" of {total:,}" if total else ""
            log_output.write(f"\r\x1b[K{self._verb} {self._data_dir}: {done:,}{of} records")
            self._shown = True
        else:
            event = f"{self._verb} {self._what}"
            _log.info(event, path=str(self._data_dir), done=done, total=total or None)

    def end(self) -> None:
        """Take the line off the terminal."""
        if self._shown:
            log_output.write("\r\x1b[K")


def _tell(report: JournalReport, taken_s: float) -> None:
    """Log what came back, and loudly what did not."""
    _log.info(
        "journal read",
        path=str(report.path),
        restored=report.restored,
        expired=report.expired,
        superseded=report.superseded,
        seconds=round(taken_s, 2),
    )
    if report.damage:
        _log.error(
            "the journal was damaged; what is whole in it is held again, the rest was set aside",
            damage=report.damage,
            set_aside=str(report.damaged_path),
            restored=report.restored,
            unreadable=report.unreadable,
        )
    if report.left_out:
        _log.error(
            "the journal holds more than the limits let in: what is left out stays, its ids are free now,"
            " and with higher limits the older record of an id will win again, even over one saved since;"
            " stop and raise --records-max or --bytes-max",
            left_out=report.left_out,
        )
