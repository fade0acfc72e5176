"""A network namespace: a network stack of its own, entered by the thread that wants to be there.

It has no name and lives as long as this process holds its descriptor, or a process runs in it. So runs
beside each other cannot meet, and a run that was killed leaves nothing behind. A socket stays in the
namespace it was made in, and a child process starts in that of the thread that starts it: to talk to a
host, or to start a program there, is to do it inside `entered()`.
"""

import contextlib
import ctypes
import os
import socket
import subprocess
import sys
from collections.abc import Generator

_CLONE_NEWNET = 0x4000_0000
_COMMAND_TIMEOUT_S = 20.0


class NotPermitted(Exception):
    """This machine does not let us have what the tests need; says what."""


class Namespace:
    """A new, empty network namespace. Raises NotPermitted where there can be none."""

    def __init__(self) -> None:
        if sys.platform != "linux":
            raise NotPermitted("network namespaces are a thing of Linux")
        home = _here()
        try:
            _call("unshare", _CLONE_NEWNET)
            try:
                self._descriptor = _here()
            finally:
                _call("setns", home, _CLONE_NEWNET)
        except OSError as error:
            why = f"no network namespace can be made here ({error.strerror}); it takes root"
            raise NotPermitted(why) from error
        finally:
            os.close(home)

    @property
    def path(self) -> str:
        """Where `ip` finds it: `ip link add … netns PATH`."""
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    @contextlib.contextmanager
    def entered(self) -> Generator[None, None, None]:
        """Put the calling thread into the namespace, and no other thread, until the block ends."""
        home = _here()
        try:
            _call("setns", self._descriptor, _CLONE_NEWNET)
            try:
                yield
            finally:
                _call("setns", home, _CLONE_NEWNET)
        finally:
            os.close(home)

    def run(self, *command: str, script: str = "") -> str:
        """Run a command in here, `script` on its standard input; it must succeed. Returns what it prints."""
        with self.entered():
            done = subprocess.run(
                command, input=script, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False
            )
        if done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.stderr.strip()}\n{script}")
        return done.stdout

    def socket(self, kind: socket.SocketKind, timeout_s: float = 5.0) -> socket.socket:
        """Make an IPv4 socket that belongs in here."""
        with self.entered():
            made = socket.socket(socket.AF_INET, kind)
        made.settimeout(timeout_s)
        return made

    def close(self) -> None:
        """Let go of it; it is gone when its last process is."""
        os.close(self._descriptor)


def _here() -> int:
    """Open the namespace that the calling thread is in."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


def _call(function: str, *arguments: int) -> None:
    """Call the C library: `os.setns` and `os.unshare` came with Python 3.12."""
    if getattr(_LIBC, function)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


_LIBC = ctypes.CDLL(None, use_errno=True)
