"""The signature is an HMAC-SHA256 (RFC 2104) over id and raw: whoever made it had the cluster's secret.

Every node has the secret and so can sign what a client posts without a signature. It proves that a holder
of the secret wrote the record, not which one. Several secrets may be given: the first signs, all verify.
"""

import hashlib
import hmac
from collections.abc import Sequence

from validator.base import ACCEPT, Outcome, Verdict
from validator.keys import signed_bytes
from validator.record import Record

_BAD = Verdict(
    Outcome.REJECT,
    "bad-signature",
    "signature is not the HMAC-SHA256 of id and raw in lower-case hex under this cluster's secret",
)


def hmac_hex(secret: bytes, message: bytes) -> str:
    """Return the HMAC-SHA256 of `message` as 64 lower-case hex digits (vectors: RFC 4231)."""
    return hmac.digest(secret, message, "sha256").hex()


class HmacSignature:
    """Reject a record whose signature was not made with one of `secrets` (bytes each)."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._secrets = tuple(secrets)
        # A secret has 256 random bits: that its hash is known to peers helps nobody to guess it.
        marks = sorted(hmac_hex(secret, b"dayfly-fingerprint-1") for secret in secrets)
        self.name = f"hmac-sha256:{hashlib.sha256(''.join(marks).encode()).hexdigest()[:16]}"

    def sign(self, id: str, raw: str) -> str:
        """Sign with the first secret. Raises ValueError for a text without UTF-8 form."""
        return hmac_hex(self._secrets[0], signed_bytes(id, raw))

    def check(self, record: Record, wall_ms: int) -> Verdict:
        """Compare in constant time; the time stamp plays no part."""
        if "\n" in record.id or not record.signature.isascii():
            return _BAD
        message = signed_bytes(record.id, record.raw)
        for secret in self._secrets:
            if hmac.compare_digest(hmac_hex(secret, message), record.signature):
                return ACCEPT
        return _BAD
