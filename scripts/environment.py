"""Make `.venv` in the repository hold exactly what is locked. Standard library only; see environment.sh.

    environment.py runtime        install requirements.lock
    environment.py dev            install requirements-dev.lock, which holds all of the former
    environment.py check KIND     exit code 0 if that is installed already, else 1

What is installed is stamped with a hash of the lock file, the Python and the place, so that a new lock, a new
Python or a moved folder leads to a new installation and anything else to none. Two at once: the second waits.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCKS = {"runtime": ROOT / "requirements.lock", "dev": ROOT / "requirements-dev.lock"}
EXPECT = {"runtime": "20 s", "dev": "a minute"}
OUTPUT_LINES_MAX = 40


class SetupError(Exception):
    """A step failed; says which, what it wrote, and what may help."""


def main(arguments: list[str]) -> int:
    """Do what the arguments say; returns the exit code."""
    if len(arguments) == 2 and arguments[0] == "check" and arguments[1] in LOCKS:
        return 0 if is_current(arguments[1], _version_here()) else 1
    if len(arguments) != 1 or arguments[0] not in LOCKS:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        with _alone():
            prepare(arguments[0])
    except SetupError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; the next start goes on from here", file=sys.stderr)
        return 130
    return 0


def is_current(kind: str, version: str) -> bool:
    """Whether what is locked for `kind` was installed, for this version of Python, in this place."""
    with suppress(OSError):
        return _stamp_path(kind).read_text() == _stamp(kind, version)
    return False


def prepare(kind: str) -> None:
    """Install what is locked for `kind` unless it is. Raises SetupError."""
    version = _usable_version()
    if version is not None and is_current(kind, version):
        return
    start = time.monotonic()
    _say(f"setting up Dayfly (once, about {EXPECT[kind]}) ")
    for each in LOCKS:  # while it is half done, nothing counts as done
        _stamp_path(each).unlink(missing_ok=True)
    if version is None:
        _step("making .venv", [sys.executable, "-m", "venv", "--clear", str(VENV)])
        version = _version_here()
    pip = [str(PYTHON), "-I", "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    _step("installing what is locked", [*pip, "--require-hashes", "-r", str(LOCKS[kind])])
    for each in {kind, "runtime"}:
        _stamp_path(each).write_text(_stamp(each, version))
    _say(f" done ({time.monotonic() - start:.0f} s)\n")


def _stamp_path(kind: str) -> Path:
    return VENV / f".dayfly-{kind}"


def _stamp(kind: str, version: str) -> str:
    lock = hashlib.sha256(LOCKS[kind].read_bytes()).hexdigest()
    return f"{lock} {version} {VENV}\n"


def _version_here() -> str:
    return ".".join(map(str, sys.version_info[:3]))


def _usable_version() -> str | None:
    """Return the version of the Python in `.venv`; None when there is none that works or suits."""
    code = "import sys, pip; print(*sys.version_info[:3], sep='.')"
    try:
        ran = subprocess.run([PYTHON, "-I", "-c", code], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    version = ran.stdout.strip()
    numbers = tuple(map(int, version.split(".")))
    # With PYTHON set somebody wants that one; otherwise any that is new enough may stay.
    suits = numbers[:2] == sys.version_info[:2] if os.environ.get("PYTHON") else numbers >= (3, 11)
    return version if suits else None


@contextmanager
def _alone() -> Generator[None, None, None]:
    """Wait until no other process prepares; the kernel gives the lock back whatever happens to its holder."""
    with LOCKS["runtime"].open() as file:
        with suppress(OSError):  # a file system without locks: then without
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _step(name: str, command: list[str]) -> None:
    """Run one step with a dot a second; show what it wrote only when it fails."""
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output) as process:
            while True:
                _say(".")
                try:
                    code = process.wait(timeout=1.0)
                    break
                except subprocess.TimeoutExpired:
                    pass
        if code != 0:
            output.seek(0)
            written = "".join(output.readlines()[-OUTPUT_LINES_MAX:])
            raise SetupError(f"{written}\nDayfly could not be set up: {name} failed.\n{_hint(written)}")


def _hint(written: str) -> str:
    if "ensurepip" in written or "No module named venv" in written:
        return "This Python lacks venv. On Debian and Ubuntu: apt install python3-venv"
    if "THESE PACKAGES DO NOT MATCH THE HASHES" in written:
        return "A package is not the one that was locked; do not use this index."
    return "Is the network there? Then try again; what is half done is done anew."


def _say(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
