"""The data directory: who may use it, and what lies in it under which name.

One process at a time: it holds a lock on a file that also carries its number, so that a second one can
say whom it met. The lock is the kernel's and ends with the process, however that ends.

    dayfly.lock                              the lock
    journal.sqlite, journal.sqlite-wal       the journal and its write-ahead log
    journal-damaged-20261121T120000.sqlite   a journal set aside at that time (UTC), never touched again
    journal-restored.sqlite                  what was whole in it, on the way to becoming the journal
    peers.json                               where peers were last seen
    signature.txt                            the validator of signatures that the records have passed

A damaged journal is replaced in steps that may be cut off between any two: first the restored one is
complete under its own name, then the damaged one moves aside, then the restored one moves in. Whoever
finds a restored journal finishes the move.
"""

import contextlib
import errno
import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path

LOCK_NAME = "dayfly.lock"
JOURNAL_NAME = "journal.sqlite"
RESTORED_NAME = "journal-restored.sqlite"
PEERS_NAME = "peers.json"
SIGNATURE_NAME = "signature.txt"
PARTIAL_SUFFIX = ".partial"
"""Ends the name of a file that is not complete: it is renamed when it is, or removed at the next start."""

LOG_SUFFIX = "-wal"
"""What SQLite appends to a file's name for its write-ahead log."""


class StoreUnusable(OSError):
    """The data directory cannot be used now. The text names the path and says why; nothing was changed."""


class DataDir:
    """A data directory that belongs to this process until `release`.

    Args:
        path: the directory; it is made if need be, for this user alone.

    Raises:
        StoreUnusable: another process has it, or it cannot be made or written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as exc:
            raise _unusable(self.path, exc) from exc
        try:
            self._claim()
        except BaseException:  # interrupted or not, nobody is left to close it
            os.close(self._lock)
            raise

    def _claim(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(self._lock, 20, 0).decode("ascii", "replace").strip()
            owner = f"process {pid}" if pid.isdigit() else "another process"
            raise StoreUnusable(
                f"the data directory {self.path} is in use by {owner}; each node needs one of its own"
            ) from None
        except OSError as exc:
            raise _unusable(self.path, exc) from exc
        # On a full disk the number cannot be written; the lock holds all the same.
        with contextlib.suppress(OSError):
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
        try:
            self._check_writable()
        except OSError as exc:
            raise _unusable(self.path, exc) from exc

    def _check_writable(self) -> None:
        """Remove what was left incomplete, and see that what is there may be changed, by nobody else."""
        for name in (JOURNAL_NAME, RESTORED_NAME, PEERS_NAME, SIGNATURE_NAME):
            remove_partial(partial_of(self.path / name))
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.path))
        for suffix in ("", LOG_SUFFIX):
            with contextlib.suppress(FileNotFoundError):
                _make_private(f"{self.journal}{suffix}")

    @property
    def journal(self) -> Path:
        """Where the journal is, or will be."""
        return self.path / JOURNAL_NAME

    @property
    def restored(self) -> Path:
        """Where a restored journal is made, complete or not there at all."""
        return self.path / RESTORED_NAME

    def log_bytes(self) -> bytes:
        """Read the journal's write-ahead log; empty if there is none.

        It is a few megabytes: the writer thread sees to it that it is copied into the journal and reused.
        """
        try:
            return Path(f"{self.journal}{LOG_SUFFIX}").read_bytes()
        except FileNotFoundError:
            return b""

    def swap(self, wall_ms: int) -> Path | None:
        """Put a restored journal, if there is one, in the place of the present one and keep that aside.

        Args:
            wall_ms: int, Unix milliseconds, for the name of what is set aside.

        Returns:
            The new name of the journal that was there; None if nothing was set aside.
        """
        if not self.restored.exists():
            return None
        aside = self._aside(wall_ms)
        moved = None
        for suffix in (LOG_SUFFIX, ""):  # the log first: without its journal it would belong to the next one
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{self.journal}{suffix}", f"{aside}{suffix}")
                moved = aside
        os.rename(self.restored, self.journal)
        sync_directory(self.path)
        return moved

    def release(self) -> None:
        """Let the next process have the directory."""
        os.close(self._lock)

    def _aside(self, wall_ms: int) -> Path:
        time = datetime.fromtimestamp(wall_ms / 1000, UTC).strftime("%Y%m%dT%H%M%S")
        number = 1
        while True:
            mark = time if number == 1 else f"{time}-{number}"
            aside = self.path / f"journal-damaged-{mark}.sqlite"
            if not aside.exists() and not Path(f"{aside}{LOG_SUFFIX}").exists():
                return aside
            number += 1


def partial_of(path: Path) -> Path:
    """Return where a file is made before it takes its name."""
    return path.with_name(path.name + PARTIAL_SUFFIX)


def remove_partial(partial: Path) -> None:
    """Remove a file that is not complete, and what SQLite may have put beside it."""
    for suffix in ("", LOG_SUFFIX, "-journal"):
        partial.with_name(partial.name + suffix).unlink(missing_ok=True)


def create_private(path: Path) -> int:
    """Make an empty file that this user alone may read, and return it open. Raises OSError if it exists."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)


def _make_private(path: str) -> None:
    """See that a file may be written, and that others may not read it."""
    fd = os.open(path, os.O_RDWR)
    try:
        with contextlib.suppress(PermissionError):  # not ours, or a file system without modes
            os.fchmod(fd, 0o600)
    finally:
        os.close(fd)


def sync_directory(path: Path) -> None:
    """Make the names in a directory last, as fsync makes a file's bytes last."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _unusable(path: Path, exc: OSError) -> StoreUnusable:
    """Word an error of the operating system for people."""
    reason = {
        errno.EACCES: f"user {os.geteuid()} may not write there",
        errno.EPERM: f"user {os.geteuid()} may not write there",
        errno.EROFS: "it is on a read-only file system",
        errno.ENOTDIR: "it is not a directory",
        errno.EEXIST: "it is not a directory",
        errno.ELOOP: "a symbolic link stands in its place",
        errno.ENOSPC: "no space is left on its device",
    }.get(exc.errno or 0, exc.strerror or str(exc))
    at = f" ({exc.filename})" if exc.filename and str(exc.filename) != str(path) else ""
    return StoreUnusable(f"the data directory {path} cannot be used: {reason}{at}")


def replace_file(path: Path, data: bytes) -> None:
    """Replace what a file holds, all or nothing, also over a power cut. Only its user can read it.

    Raises:
        OSError: it could not be written (disk full, no permission). The file is as before.
    """
    partial = partial_of(path)
    try:
        partial.unlink(missing_ok=True)
        with open(create_private(partial), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
    sync_directory(path.parent)
