"""Where a reader is in this node's arrivals, as an opaque text. Pure.

A cursor belongs to one start of one node. Presented elsewhere it is no error: the reader is told `reset`
and begins again, and recognises by id what it has seen.
"""

import re
from dataclasses import dataclass

from api.errors import Problem

_CURSOR = re.compile(r"([0-9a-f]{12})\.(\d{1,18})\.(\d{1,15})", re.ASCII)
_DURATION = re.compile(r"(\d{1,9})(ms|s|m|h|d)", re.ASCII)
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True, slots=True)
class Position:
    """Where to read on.

    Attributes:
        after_seq: int, arrival number already seen; 0 for none.
        floor_ms: int, time stamps below it are left out (Unix milliseconds; 0 for none).
        reset: bool, the cursor was of another node or another start: this is the beginning.
    """

    after_seq: int = 0
    floor_ms: int = 0
    reset: bool = False


def make_cursor(boot: str, seq: int, floor_ms: int) -> str:
    """Write down a position. `boot`: 12 hex digits that name this start of this node."""
    return f"{boot}.{seq}.{floor_ms}"


def parse_since(text: str | None, boot: str, wall_ms: int) -> Position:
    """Read `?since=`: a cursor, a duration back from now (`10m`), or Unix time in (milli)seconds.

    Raises:
        Problem: it is none of these.
    """
    if not text or text == "all":
        return Position()
    if match := _CURSOR.fullmatch(text):
        seen_boot, seq, floor_ms = match.groups()
        if seen_boot != boot:
            return Position(floor_ms=int(floor_ms), reset=True)
        return Position(int(seq), int(floor_ms))
    if match := _DURATION.fullmatch(text):
        return Position(floor_ms=max(wall_ms - int(match[1]) * _UNIT_MS[match[2]], 0))
    if text.isascii() and text.isdigit() and len(text) <= 15:
        # Eleven digits of seconds reach the year 5138, of milliseconds 1973: no text means both.
        return Position(floor_ms=int(text) * (1000 if len(text) <= 11 else 1))
    raise Problem(
        "bad-request",
        f"since={text[:40]!r} is no cursor, no duration such as 10m, and no Unix time in (milli)seconds",
    )
