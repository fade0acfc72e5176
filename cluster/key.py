"""The cluster key: one line of text that every node is given, and what is derived from it.

A line is `dayfly1:` and 32 random bytes in base64url without padding. A key file holds one line or several:
the first one issues, all are accepted, so that a key can be replaced without a moment in which two nodes do
not understand each other. Empty lines and lines that begin with `#` are for people.

Nothing is used as it stands: HKDF-SHA256 derives a value for each purpose, with a label of its own and, but
for the fingerprint, with the cluster's name. No derived value tells another one or the secret, so the
fingerprint may be shown. No error ever quotes a line.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field

PREFIX = "dayfly1:"
SECRET_BYTES = 32
TEXT_CHARACTERS = 43
"""Characters of base64url that hold 32 bytes."""

KEYS_MAX = 8
"""Lines of a key file: a replacement takes two; each is tried on each beacon that is not ours."""

FINGERPRINT_BYTES = 8
"""Our choice: enough that no two keys anybody has are taken for each other, short enough to be read aloud."""

_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


class KeyTextError(ValueError):
    """A key file's text cannot be used. Names the line and the fix, never the text."""


@dataclass(frozen=True, slots=True)
class ClusterKey:
    """One secret: 32 bytes, never shown."""

    secret: bytes = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """Name the key in public: 16 hexadecimal digits, the same in every cluster."""
        return self.derive("fingerprint", "", FINGERPRINT_BYTES).hex()

    @property
    def line(self) -> str:
        """Return the line that stands in a key file."""
        return PREFIX + urlsafe_b64encode(self.secret).decode().rstrip("=")

    def derive(self, label: str, cluster: str, length: int = SECRET_BYTES) -> bytes:
        """Derive `length` bytes for one purpose in one cluster.

        Source: HKDF, RFC 5869, without a salt, because the secret is uniformly random (section 3.1).
        """
        # Here: who has no key saves the 8 ms that these take to import.
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        info = f"dayfly1 {label}\0{cluster}".encode()
        return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(self.secret)


def parse_keys(text: str) -> tuple[ClusterKey, ...]:
    """Read the text of a key file: at least one key, in order.

    Raises:
        KeyTextError: names the line and the fix (the writer's fault).
    """
    found: dict[ClusterKey, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        try:
            key = parse_key(stripped)
        except ValueError as error:
            raise KeyTextError(f"line {number}: {error}") from None
        if key in found:
            raise KeyTextError(f"line {number}: the same key as in line {found[key]}; remove one of the two")
        found[key] = number
    if not found:
        raise KeyTextError("there is no key in it; make one with: dayfly keygen")
    if len(found) > KEYS_MAX:
        raise KeyTextError(f"{len(found)} keys, at most {KEYS_MAX} are allowed; remove those no node uses")
    return tuple(found)


def parse_key(line: str) -> ClusterKey:
    """Read one key. Raises ValueError with the fix, never with the text."""
    if not line.startswith(PREFIX):
        raise ValueError(f"a key begins with {PREFIX}; make one with: dayfly keygen")
    text = line.removeprefix(PREFIX)
    if not set(text) <= _ALPHABET:
        raise ValueError("there is a character in the key that no key has; copy it again")
    if len(text) != TEXT_CHARACTERS:
        raise ValueError(
            f"{TEXT_CHARACTERS} characters are due after {PREFIX}, not {len(text)}; copy the whole line again"
        )
    key = ClusterKey(urlsafe_b64decode(text + "="))
    if key.line != line:  # the last character has two bits too many, which are zero in a key
        raise ValueError("the last character cannot be right; copy the line again")
    return key
