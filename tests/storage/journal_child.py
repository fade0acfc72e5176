"""A node's store in a process of its own, to be killed: `python -m tests.storage.journal_child DIR FIRST`.

It adds records numbered from FIRST on without end and appends to the file DIR/acknowledged, after each
commit, the number up to which records are durable now. Some records take an overflow page.
"""

import os
import sys
from pathlib import Path

from storage import Stored
from tests.storage.journals import T0, make_record, open_journal, wait_durable
from validator import Record


def numbered(n: int) -> Record:
    return make_record(n, f"{n} " * (4_000 if n % 97 == 0 else 30))


def main() -> None:
    """Add records until killed."""
    directory, first = Path(sys.argv[1]), int(sys.argv[2])
    store = open_journal(directory)
    before = store.statistics().seq
    fd = os.open(directory / "acknowledged", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def acknowledge() -> None:
        if store.writer.durable_seq > before:
            os.write(fd, b"%d\n" % (first + store.writer.durable_seq - before - 1))

    store.writer.on_change = acknowledge
    n = first
    while True:
        stored = store.add(numbered(n), T0)
        assert isinstance(stored, Stored)
        if n % 500 == 0:  # as many wait at a time as a node's clients keep waiting
            wait_durable(store.writer, stored.seq - 250)
        n += 1


if __name__ == "__main__":
    main()
