"""The two cheap checks: is it of a size and form that may pass, and is its time now?"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from validator.base import ACCEPT, Outcome, Verdict
from validator.record import Record, key_bound

ID_BYTES_MAX = 256
"""Longest id in UTF-8 bytes: long enough for a path-like name, short enough for tables and logs."""

RAW_BYTES_MAX = 1024 * 1024
"""Largest raw in UTF-8 bytes. NATS and gossipsub both draw the line for one message here."""

SIGNATURE_BYTES_MAX = 256
"""Longest signature: four times an Ed25519 signature in hex, and no place to hide a payload."""

FUTURE_MS_MAX = 60_000
"""How far ahead of this node's clock a time stamp may be. Our choice: what an unsynchronised but sane
clock drifts in weeks; Cortex allows 30 minutes, Farcaster 10, at the price of as much extra life."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class SizeLimits:
    """Reject what is empty, too large, or cannot be shown and logged safely."""

    id_bytes_max: int = ID_BYTES_MAX
    raw_bytes_max: int = RAW_BYTES_MAX
    name: str = "size"

    def check(self, record: Record, wall_ms: int) -> Verdict:
        """Judge the three texts; the time plays no part."""
        if self._all_plain((record,)):
            return ACCEPT
        for field, limit in (
            ("id", self.id_bytes_max),
            ("raw", self.raw_bytes_max),
            ("signature", SIGNATURE_BYTES_MAX),
        ):
            text: str = getattr(record, field)
            if not text:
                return _reject("empty-field", f"{field} is empty")
            # Characters first: a UTF-8 text is never shorter in bytes, and len() costs nothing.
            size = len(text) if text.isascii() or len(text) > limit else len(text.encode())
            if size > limit:
                return too_large(field, limit)
        if _CONTROL.search(record.id):
            return _reject("bad-id", "id holds a control character")
        return ACCEPT

    def all_pass(self, records: Sequence[Record], wall_ms: int) -> bool:
        """Say whether `check` accepts all of `records`."""
        return self._all_plain(records) or all(self.check(record, wall_ms) is ACCEPT for record in records)

    def _all_plain(self, records: Sequence[Record]) -> bool:
        """Whether all is printable ASCII within the limits, as almost always: told in half the time."""
        id_bytes_max, raw_bytes_max = self.id_bytes_max, self.raw_bytes_max
        for record in records:
            id, raw, signature = record.id, record.raw, record.signature
            if not (
                0 < len(id) <= id_bytes_max
                and 0 < len(raw) <= raw_bytes_max
                and 0 < len(signature) <= SIGNATURE_BYTES_MAX
                and id.isascii()
                and id.isprintable()
                and raw.isascii()
                and signature.isascii()
            ):
                return False
        return True


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """Ignore what is over or not yet: a record lives in [time_stamp, time_stamp + ttl_ms).

    Both are IGNORE: the relaying peer may simply have a clock of its own (links are refused beyond
    the same bound, but three clocks in a row can add up).
    """

    ttl_ms: int
    future_ms_max: int = FUTURE_MS_MAX
    name: str = "time"

    def check(self, record: Record, wall_ms: int) -> Verdict:
        """Judge the record's time stamp against `wall_ms`."""
        age_ms = wall_ms - record.time_stamp
        if age_ms >= self.ttl_ms:
            over_s = (age_ms - self.ttl_ms) / 1000
            return Verdict(Outcome.IGNORE, "expired", f"the record's life ended {over_s:.1f} s ago")
        if -age_ms > self.future_ms_max:
            return Verdict(
                Outcome.IGNORE,
                "bad-time",
                f"time_stamp is {-age_ms / 1000:.1f} s ahead of this node's clock; "
                f"at most {self.future_ms_max / 1000:.0f} s are allowed",
            )
        return ACCEPT

    def all_pass(self, records: Sequence[Record], wall_ms: int) -> bool:
        """Say whether the oldest and the newest of `records` pass: keys begin with the time stamp."""
        keys = [record.key for record in records]
        begin = key_bound(wall_ms - self.ttl_ms + 1)
        end = key_bound(wall_ms + self.future_ms_max + 1)
        return not keys or (begin <= min(keys) and max(keys) < end)


def too_large(field: str, bytes_max: int) -> Verdict:
    """Refuse a record for a text of more than `bytes_max` in UTF-8."""
    return _reject("too-large", f"{field} is longer than {bytes_max} bytes")


def _reject(code: str, reason: str) -> Verdict:
    return Verdict(Outcome.REJECT, code, reason)
