"""Standard error as the log sees it: whoever has a line hands it over and goes on; a thread writes it.

A terminal that is held, a pipe that nobody reads and a slow disk take their time from that thread alone. A
line that finds no room in the queue, or that the system refuses to take, is dropped and counted, and the next
one that can be written comes after a word on how many were.
"""

import os
import select
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager

WAITING_BYTES_MAX = 1024 * 1024
"""Of the lines that wait: some 5,000. Our choice: hours of an ordinary log, minutes of what one under attack
writes at most."""

LAST_LINES_S = 1.0
"""How long the end waits for lines that nobody takes. Our choice: with the stop before it, half of the 10 s
that an orchestrator waits."""


class LogOutput:
    """A queue of lines and, while `written_to`, the thread that empties it.

    Attributes:
        dropped_total: int, lines that were not written.
        waiting_bytes: int, of lines that are still to be written; at most `WAITING_BYTES_MAX`.
    """

    def __init__(self) -> None:
        self.dropped_total = self.waiting_bytes = 0
        self._turn = threading.Condition()  # its lock is one that a thread may take twice
        self._waiting = deque[tuple[bytes, int]]()  # each with the number of lines dropped just before it
        self._dropped = 0  # since the last that found room

    def write(self, text: str) -> None:
        """Hand over a line with its end, or a piece of one; never waits, never fails."""
        line = text.encode(errors="backslashreplace")
        with self._turn:
            if self.waiting_bytes + len(line) > WAITING_BYTES_MAX:
                self._dropped += 1
                self.dropped_total += 1
                return
            self._waiting.append((line, self._dropped))
            self.waiting_bytes += len(line)
            self._dropped = 0
            self._turn.notify()

    def flush(self) -> None:
        """Do nothing: every line is written as soon as can be."""

    @contextmanager
    def written_to(self, descriptor: int, notice: Callable[[int], str]) -> Generator[None]:
        """Write what is handed over in the block; its end waits, for `LAST_LINES_S`, until all is out.

        What is not out by then is dropped and counted: the next block's output is not the place for it.

        Args:
            notice: returns the line that says how many were dropped.
        """
        block = _Block(descriptor)
        # A daemon: if it hangs in a write, the process ends all the same.
        thread = threading.Thread(target=self._run, args=(block, notice), daemon=True, name="log")
        thread.start()
        try:
            yield
        finally:
            with self._turn:
                block.ending.set()
                self._turn.notify()
            thread.join(LAST_LINES_S)
            with self._turn:
                block.over.set()
                if thread.is_alive():
                    self._drop_waiting()

    def _drop_waiting(self) -> None:
        self._dropped += sum(dropped + 1 for _, dropped in self._waiting)
        self.dropped_total += len(self._waiting)
        self._waiting.clear()
        self.waiting_bytes = 0

    def _run(self, block: "_Block", notice: Callable[[int], str]) -> None:
        refused = 0  # in a row, by the system
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._waiting or block.ending.is_set())
                if block.over.is_set() or not self._waiting:
                    return
                line, dropped = self._waiting[0]
            dropped += refused
            try:
                if dropped:
                    block.put(notice(dropped).encode())
                    dropped = 0
                block.put(line)
                refused = 0
            except OSError:  # a full disk, a reader that is gone: nobody is left to be told
                refused = dropped + 1
            with self._turn:
                if block.over.is_set():  # while we hung: the queue is another's
                    return
                self._waiting.popleft()
                self.waiting_bytes -= len(line)
                self.dropped_total += refused > 0


class _Block:
    """One `written_to`: where its thread writes, and whether it still may take from the queue."""

    def __init__(self, descriptor: int) -> None:
        self.ending = threading.Event()  # the thread writes what waits, and goes
        self.over = threading.Event()  # it touches the queue no more
        self._descriptor = descriptor
        self._torn = False  # whether the last line was not written to its end

    def put(self, line: bytes) -> None:
        """Write one line, after the end of one that broke off. Raises OSError."""
        rest = b"\n" + line if self._torn else line
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # somebody who shares it has made it so
                select.select([], [self._descriptor], [])
            else:
                self._torn = bool(rest)


log_output = LogOutput()
"""A process has one standard error, and so one of these."""
