"""A terminal to run a program in: what it shows is collected, keys can be pressed, its state compared."""

import contextlib
import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Generator
from typing import Any

_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios\n"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "os.execv(sys.argv[1], sys.argv[1:])"
)
ROWS, COLUMNS = 40, 160


class Terminal:
    """A program that runs with a terminal of its own as its controlling one."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._ours, self._theirs = os.openpty()
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._shown = bytearray()
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *command],
            env=environment | {"TERM": "xterm-256color"},
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self._ours, 65536):
                self._shown += data

    @property
    def shown(self) -> str:
        """Everything written so far, with its control sequences."""
        return bytes(self._shown).decode(errors="replace")

    @property
    def last_picture(self) -> str:
        """What was drawn last, from the headline on, without control sequences."""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.shown).rpartition("loopback only")[2]

    @property
    def state(self) -> list[Any]:
        """The terminal's settings."""
        return termios.tcgetattr(self._theirs)

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def close(self) -> None:
        """End the program and give the terminal back."""
        self.process.kill()
        self.process.wait()
        os.close(self._theirs)
        self._reader.join(10)
        os.close(self._ours)


@contextlib.contextmanager
def in_terminal(command: list[str], environment: dict[str, str]) -> Generator[Terminal]:
    """Run a program in a terminal for as long as the block lasts."""
    terminal = Terminal(command, environment)
    try:
        yield terminal
    finally:
        terminal.close()
