"""The signature is an Ed25519 one (RFC 8032) over id and raw, by a publisher whose public key is listed.

A record belongs to its publisher by its id: what `alerts` signs is called `alerts/…`, and nobody else's
key signs for that name. A node has no private key, so it cannot write in anybody's name, nor sign for a
client. A publisher may have several keys, so that one can be replaced.

`cryptography` takes 70 ms to import, so this file is imported only where it is used.
"""

import hashlib
import re
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from validator.base import ACCEPT, Outcome, Verdict
from validator.keys import PUBLIC, Key, signed_bytes
from validator.record import Record

_HEX = re.compile("[0-9a-f]{128}")

_BAD = Verdict(
    Outcome.REJECT,
    "bad-signature",
    "signature is not the Ed25519 signature of id and raw, as 128 lower-case hex digits, "
    "by a key of the publisher that the id names",
)
_NO_PUBLISHER = Verdict(
    Outcome.REJECT, "bad-id", "id does not begin with a listed publisher's name and a slash"
)
_UNSIGNED = Verdict(
    Outcome.REJECT,
    "unsigned",
    "signature is missing: publishers sign their records here, and a node has no key to do it for them; "
    "post with: dayfly post --sign KEYFILE",
)


class Ed25519Signature:
    """Reject a record that no listed publisher signed. `publishers`: keys of kind PUBLIC."""

    def __init__(self, publishers: Sequence[Key]) -> None:
        self._keys: dict[str, list[Ed25519PublicKey]] = {}
        for key in publishers:
            self._keys.setdefault(key.name, []).append(Ed25519PublicKey.from_public_bytes(key.value))
        lines = "\n".join(sorted({key.line for key in publishers}))
        self.name = f"ed25519:{hashlib.sha256(lines.encode()).hexdigest()[:16]}"

    def sign(self, id: str, raw: str) -> Verdict:
        """Say that a node cannot sign, and who can."""
        return _UNSIGNED

    def check(self, record: Record, wall_ms: int) -> Verdict:
        """Verify with the keys of the publisher that the id names; the time stamp plays no part."""
        publisher, slash, rest = record.id.partition("/")
        keys = self._keys.get(publisher)
        if keys is None or not slash or not rest or "\n" in record.id:
            return _NO_PUBLISHER
        if not _HEX.fullmatch(record.signature):
            return _BAD
        signature, message = bytes.fromhex(record.signature), signed_bytes(record.id, record.raw)
        return ACCEPT if any(verifies(key, signature, message) for key in keys) else _BAD


def verifies(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    """Whether `signature` (64 bytes) of `message` was made with the private key to `key`."""
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def ed25519_hex(seed: bytes, message: bytes) -> str:
    """Return a private key's signature of `message` as 128 hex digits (vectors: RFC 8032, section 7.1)."""
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message).hex()


def public_of(publisher: Key) -> Key:
    """Return the public key that belongs to a publisher's private one."""
    private = Ed25519PrivateKey.from_private_bytes(publisher.value)
    return Key(PUBLIC, publisher.name, private.public_key().public_bytes_raw())
