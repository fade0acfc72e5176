"""Threads that work beside a test."""

import threading
from typing import Self


class Background(threading.Thread):
    """A thread for the length of a `with` block: its `run` returns soon after `over` is set."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.over = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.over.set()
        self.join()
