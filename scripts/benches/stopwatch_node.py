"""A node with a stopwatch: `dayfly` itself, which also notes when it stored each record.

    python stopwatch_node.py FILE up [OPTION]...

The instant is the one at which the desk publishes "stored": `store.add` has returned, nothing was
awaited since, and every HTTP request the node looks at from then on finds the record. A note is an
append to a list; they are written to FILE when the node is told to stop: 40 bytes each, the record's
digest (32) and the monotonic clock in nanoseconds (8, big-endian), which on one machine is the same
clock for all processes. Asking the node over HTTP in a loop would cost it most of a core instead.
"""

import atexit
import struct
import sys
import time
from pathlib import Path

# Run from a checkout, installed or not: the rooms lie two folders up.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eventbus import EventBus, RecordStored
from eventbus.events import Event
from node.cli import main

STAMP = struct.Struct(">32sQ")


def read_stamps(file: Path) -> dict[bytes, int]:
    """Read what a node wrote: digest to monotonic nanoseconds."""
    return dict(STAMP.iter_unpack(file.read_bytes()))


def keep_time(file: Path) -> None:
    """From now on, note every stored record of this process; `file` gets the notes at its end."""
    stamps: list[tuple[bytes, int]] = []
    publish = EventBus.publish

    def timed_publish(self: EventBus, *events: Event) -> None:
        stored_ns = time.monotonic_ns()
        publish(self, *events)
        stamps.extend((e.record.digest, stored_ns) for e in events if isinstance(e, RecordStored))

    # Every stored record passes here, at whatever door it came in.
    setattr(EventBus, "publish", timed_publish)  # noqa: B010 - type checkers let no method be replaced
    atexit.register(lambda: file.write_bytes(b"".join(STAMP.pack(*stamp) for stamp in stamps)))


if __name__ == "__main__":
    keep_time(Path(sys.argv[1]))
    main(sys.argv[2:])
