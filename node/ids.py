"""Ids of records whose client gave none."""

import secrets

_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: no i, l, o, u


def new_id(wall_ms: int) -> str:
    """Make an id that sorts by time: 48 bits of milliseconds and 80 random ones as 26 letters (ULID)."""
    number = (wall_ms & (2**48 - 1)) << 80 | secrets.randbits(80)
    return "".join(_BASE32[number >> shift & 31] for shift in range(125, -1, -5))
