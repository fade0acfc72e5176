"""Where a reader is in this node's arrivals, as an opaque text. Pure.

A cursor belongs to one start of one node. Presented elsewhere it is no error: the reader is told `reset`
and begins again, and recognises by id what it has seen.
"""

import re
from dataclasses import dataclass

from api.errors import Problem
from api.operation import Parameter

_CURSOR = re.compile(r"([0-9a-f]{12})\.([0-9]{1,18})\.([0-9]{1,15})")
_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

SINCE = Parameter(
    "since",
    "query",
    "Where to begin: a cursor, `now`, `all`, a duration back from now (`10m`), Unix time in (milli)seconds.",
    {"type": "string", "pattern": f"^(|all|now|{_CURSOR.pattern}|{_DURATION.pattern}|[0-9]{{1,15}})$"},
)
PAGE_WAIT = {
    "type": "string",
    "pattern": "^(|0{0,4}([0-5]?[0-9]|60)s|0{0,3}([0-5]?[0-9]{1,4}|60000)ms|0{0,4}[01]m|0{1,9}[hd])$",
}
"""The durations that `parse_wait_s` takes up to 60 s, as JSON Schema."""

PREFIX = Parameter("prefix", "query", "Only records whose ids begin with it.", {"type": "string"})


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


def parse_since(text: str | None, boot: str, wall_ms: int, newest_seq: int) -> Position:
    """Read `?since=`: a cursor, `now`, `all`, a duration back from now (`10m`), Unix time in (milli)seconds.

    Args:
        text: what the client gave; empty or None is `all`.
        boot: names this start of this node. wall_ms: now. newest_seq: the latest arrival's number.

    Raises:
        Problem: it is none of these.
    """
    if not text or text == "all":
        return Position()
    if text == "now":
        return Position(newest_seq)
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
        f"since={text[:40]!r} is no cursor, no duration such as 10m, no Unix time in (milli)seconds",
    )


def parse_wait_s(text: str | None, wait_s_max: float) -> float:
    """Read `?wait=`: a duration such as `30s`; 0 if there is none.

    Raises:
        Problem: it is no duration, or longer than `wait_s_max` (seconds).
    """
    if not text:
        return 0.0
    match = _DURATION.fullmatch(text)
    wait_s = int(match[1]) * _UNIT_MS[match[2]] / 1000 if match else -1
    if not 0 <= wait_s <= wait_s_max:
        raise Problem("bad-request", f"wait={text[:40]!r} is no duration such as 30s up to {wait_s_max:g}s")
    return wait_s
