"""Do two nodes belong together? The rules both sides apply to each other's hello.

Every refusal has a code and a sentence that both sides can show.
"""

from cluster.messages import PROTOCOL_MAX, PROTOCOL_MIN, Hello
from validator import FUTURE_MS_MAX


def incompatible(ours: Hello, theirs: Hello, wall_ms: int) -> tuple[str, str] | None:
    """Say why the sender of `theirs` is not one of us, as (code, reason), or None if it is.

    Args:
        ours: what we sent or would send.
        wall_ms: our wall clock on receipt of `theirs`.
    """
    if min(ours.protocol_max, theirs.protocol_max) < max(ours.protocol_min, theirs.protocol_min):
        return "version", (
            f"protocol {theirs.protocol_min} to {theirs.protocol_max} is spoken there, "
            f"{PROTOCOL_MIN} to {PROTOCOL_MAX} here"
        )
    if theirs.cluster != ours.cluster:
        return "cluster", f"cluster {theirs.cluster!r} is not {ours.cluster!r}"
    if theirs.rules != ours.rules:
        return (
            "rules",
            f"its records follow {theirs.rules!r}, ours {ours.rules!r}: set the same on every node",
        )
    return clock_refusal(theirs.wall_ms - wall_ms)


def clock_refusal(offset_ms: int) -> tuple[str, str] | None:
    """Say why a clock that is `offset_ms` ahead of ours (negative: behind) is too far off, or None."""
    if abs(offset_ms) <= FUTURE_MS_MAX:
        return None
    side = "ahead of" if offset_ms > 0 else "behind"
    return "clock", (
        f"the clocks differ by {abs(offset_ms) / 1000:.1f} s (the other one is {side} ours; "
        f"at most {FUTURE_MS_MAX / 1000:.0f} s are allowed): set the clock of the wrong one"
    )
