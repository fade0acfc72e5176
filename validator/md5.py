"""The original's signature: the MD5 of raw in hex. An integrity check, not authentication.

Anyone can compute it and anyone can make two texts that share it; it finds damage and typing errors,
nothing else. It is kept as the default because the original contract asks for it.
"""

import hashlib
from dataclasses import dataclass

from validator.base import ACCEPT, Outcome, Verdict
from validator.record import Record


def sign(raw: str) -> str:
    """Return what the default chain asks for: the MD5 of `raw` in UTF-8 as 32 lower-case hex digits."""
    return hashlib.md5(raw.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Md5Signature:
    """Reject a record whose signature is not the MD5 of its raw, in hex of any case."""

    name: str = "md5"

    def check(self, record: Record, wall_ms: int) -> Verdict:
        """Compare the signature; the time plays no part."""
        if record.signature.lower() == sign(record.raw):
            return ACCEPT
        return Verdict(Outcome.REJECT, "bad-signature", "signature is not the MD5 of raw in hex")
