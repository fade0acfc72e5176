"""Speak Negentropy Protocol V1 line by line, so that other implementations can be driven against ours.

Input, one command per line:
  item,<timestamp>,<id>   add an item: a decimal number and 64 hex digits
  seal                    no more items
  initiate                be the initiator; answers with the first message
  msg,<hex>               take in a message from the other side

Output, one answer per line, flushed at once:
  have,<id>               (initiator) the other side lacks this one of ours; each is told once
  need,<id>               (initiator) the other side has this one and we lack it
  msg,<hex>               pass this message to the other side
  done                    (initiator) nothing is left to ask

Whoever is not told to initiate is the responder. Environment: FRAMESIZELIMIT is the longest message to
make, in bytes (0, the default: no limit; else 4096 or more). Exit codes: 0 end of input, 1 a bad line
(named on standard error), 2 usage.

Try it:
  printf 'item,1,%064d\\nseal\\ninitiate\\n' 7 | python scripts/negentropy_harness.py
"""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

# Run from a checkout, installed or not: the rooms lie next to this folder.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cluster.negentropy import Negentropy, SortedItems

ITEM_TIME_MAX = 2**64 - 2
"""The largest 64-bit number is the protocol's infinity."""


class Harness:
    """Turn commands into answers; holds the items and which side it plays."""

    def __init__(self, frame_bytes_max: int) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._keys: set[bytes] = set()
        self._side: Negentropy | None = None
        self._initiates = False
        self._told: set[str] = set()

    def answer(self, line: str) -> Iterator[str]:
        """Yield the answers to one line.

        Raises:
            ValueError: the line is no command, or not one for now (the driver's fault).
        """
        command, *fields = line.split(",")
        match command, fields:
            case "item", [timestamp, id] if self._side is None:
                self._add(int(timestamp), bytes.fromhex(id))
            case "seal", [] if self._side is None:
                self._side = Negentropy(SortedItems(self._keys), self._frame_bytes_max)
            case "initiate", [] if self._side is not None:
                if self._initiates:
                    raise ValueError("the exchange has begun")
                self._initiates = True
                yield f"msg,{self._side.initiate().hex()}"
            case "msg", [message] if self._side is not None:
                yield from self._exchange(self._side, bytes.fromhex(message))
            case (("item" | "seal"), _) if self._side is not None:
                raise ValueError("the items are sealed")
            case (("initiate" | "msg"), _) if self._side is None:
                raise ValueError("seal the items first")
            case _:
                raise ValueError("not a command (see --help)")

    def _add(self, timestamp: int, id: bytes) -> None:
        if not 0 <= timestamp <= ITEM_TIME_MAX:
            raise ValueError(f"timestamp {timestamp} is not in 0 to 2^64 - 2")
        if len(id) != 32:
            raise ValueError(f"id has {len(id)} bytes, not 32")
        key = timestamp.to_bytes(8, "big") + id
        if key in self._keys:
            raise ValueError("this item was added before")
        self._keys.add(key)

    def _exchange(self, side: Negentropy, message: bytes) -> Iterator[str]:
        if not self._initiates:
            yield f"msg,{side.respond(message).hex()}"
            return
        step = side.reconcile(message)
        told = [f"have,{key[8:].hex()}" for key in step.have] + [f"need,{id.hex()}" for id in step.need]
        yield from (line for line in told if line not in self._told)
        self._told.update(told)
        yield "done" if step.message is None else f"msg,{step.message.hex()}"


def run(lines: Iterable[str], frame_bytes_max: int) -> int:
    """Answer every line on standard output; return the exit code."""
    harness = Harness(frame_bytes_max)
    for number, line in enumerate(lines, start=1):
        try:
            for answer in harness.answer(line.strip()):
                print(answer, flush=True)
        except ValueError as error:
            shown = line.strip()
            shown = shown if len(shown) <= 80 else f"{shown[:80]}..."
            print(f"line {number}: {error}: {shown!r}", file=sys.stderr)
            return 1
    return 0


def main() -> int:
    """Read the command line and the environment, then serve standard input to its end."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    limit = os.environ.get("FRAMESIZELIMIT", "0")
    try:
        frame_bytes_max = int(limit)
        Negentropy(SortedItems(()), frame_bytes_max)
    except ValueError as error:
        parser.error(f"FRAMESIZELIMIT is {limit!r}: {error}")
    return run((line.decode(errors="replace") for line in sys.stdin.buffer), frame_bytes_max)


if __name__ == "__main__":
    sys.exit(main())
