"""Floor 0: what a record is, and whether it may pass.

Three nouns live here. A `Record` is the one thing Dayfly carries. A `Validator` looks at a record and
the wall time and returns a `Verdict`: ACCEPT, IGNORE (not the sender's fault) or REJECT (the sender's
fault). A `ValidatorChain` asks several validators, cheapest first, and stops at the first that objects.

Who may write is the last validator's matter: `Md5Signature` (anyone), `validator.hmac_sha256` (who has the
secret) or `validator.ed25519` (the publishers listed); docs/validators.md says what each proves.

Everything here is plain synchronous code: no clock, no randomness, no I/O. It imports no other room.
It does not decide which of two records for one id stays; it only defines the order (`Record.key`) by
which every node decides the same.
"""

from validator.base import (
    ACCEPT,
    Outcome,
    SignatureValidator,
    Validator,
    ValidatorChain,
    Verdict,
)
from validator.limits import (
    FUTURE_MS_MAX,
    ID_BYTES_MAX,
    RAW_BYTES_MAX,
    SIGNATURE_BYTES_MAX,
    SizeLimits,
    TimeWindow,
    too_large,
)
from validator.md5 import Md5Signature, sign
from validator.record import KEY_BYTES, Record, key_bound

__all__ = [
    "ACCEPT",
    "FUTURE_MS_MAX",
    "ID_BYTES_MAX",
    "KEY_BYTES",
    "RAW_BYTES_MAX",
    "SIGNATURE_BYTES_MAX",
    "Md5Signature",
    "Outcome",
    "Record",
    "SignatureValidator",
    "SizeLimits",
    "TimeWindow",
    "Validator",
    "ValidatorChain",
    "Verdict",
    "default_chain",
    "key_bound",
    "sign",
    "too_large",
]


def default_chain(ttl_ms: int, signature: SignatureValidator | None = None) -> ValidatorChain:
    """Build the chain every node runs: sizes, then time, then the signature.

    Args:
        ttl_ms: int, how long a record lives, in milliseconds.
        signature: what judges signatures; None for MD5.
    """
    signature = signature or Md5Signature()
    return ValidatorChain((SizeLimits(), TimeWindow(ttl_ms=ttl_ms), signature), signature.sign)
