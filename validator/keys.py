"""Keys as lines of text, and the bytes that keys sign.

Three kinds of line, each named by what it begins with, so that no key can be taken for another:

    dayfly-hmac1:SECRET              shared by all who write (32 random bytes)
    dayfly-publisher1:NAME:SECRET    one publisher's private key (RFC 8032: a 32-byte seed)
    dayfly-public1:NAME:KEY          the same publisher's public key, for the list that nodes have

SECRET and KEY are base64url without padding (RFC 4648, section 5). Empty lines and those that begin with
`#` say nothing. No error quotes a line: it may be a secret in the wrong file.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field

VALUE_BYTES = 32
"""Of an HMAC secret (RFC 2104 advises no less than the hash's 32) and of both Ed25519 keys."""

KEYS_MAX = 1_000
"""Keys in one file: publishers of one cluster, with room for two keys each while one is being replaced."""

FILE_BYTES_MAX = 256 * 1024
"""Largest key file: `KEYS_MAX` of the longest lines and a comment to each."""

HMAC, PUBLISHER, PUBLIC = "dayfly-hmac1", "dayfly-publisher1", "dayfly-public1"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Key:
    """One line of a key file. `name`: the publisher's, empty for HMAC. `value`: secret unless PUBLIC."""

    kind: str
    name: str
    value: bytes = field(repr=False)

    @property
    def line(self) -> str:
        """The key as text."""
        text = urlsafe_b64encode(self.value).rstrip(b"=").decode()
        return ":".join([self.kind, self.name, text] if self.name else [self.kind, text])


def parse_keys(text: str, *kinds: str) -> list[Key]:
    """Read the keys of a file.

    Args:
        text: the file's.
        kinds: which of the three kinds of line may stand there.

    Returns:
        at least one key, each once, in the file's order.

    Raises:
        ValueError: there is none, or a line is something else; says which line and what is due, not what
            stands there.
    """
    keys: dict[Key, None] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if line and not line.startswith("#"):
            keys[_parse_key(line, number, kinds)] = None
        if len(keys) > KEYS_MAX:
            raise ValueError(f"there are more than {KEYS_MAX} keys")
    if not keys:
        raise ValueError(f"there is no key in it; a line begins with {' or '.join(kinds)}")
    return list(keys)


def publisher_name(text: str) -> str:
    """Check the name of a publisher. Raises ValueError, which says how one looks."""
    if not _NAME.fullmatch(text):
        raise ValueError(
            "a publisher's name has 1 to 64 ASCII letters, digits, dots, dashes and underscores, "
            "and begins with a letter or digit"
        )
    return text


def _parse_key(line: str, number: int, kinds: tuple[str, ...]) -> Key:
    kind, _, rest = line.partition(":")
    if kind not in kinds:
        named = f"a {kind} key" if kind in (HMAC, PUBLISHER, PUBLIC) else "no key"
        raise ValueError(f"line {number} is {named}; due is {' or '.join(kinds)}")
    name, _, text = rest.rpartition(":")
    if (name == "") != (kind == HMAC) or (name and not _NAME.fullmatch(name)):
        due = f"{kind}:KEY" if kind == HMAC else f"{kind}:NAME:KEY"
        raise ValueError(f"line {number} has the wrong parts; a key is due as {due}")
    if not _BASE64URL.fullmatch(text):
        raise ValueError(
            f"line {number} does not end with a key: {VALUE_BYTES} bytes in base64url, 43 characters"
        )
    value = urlsafe_b64decode(text + "=")
    key = Key(kind, name, value)
    if key.line != line:  # of 43 characters the last two bits are no part of the key
        raise ValueError(f"line {number} ends with a key that is not written in the one way")
    return key


def signed_bytes(id: str, raw: str) -> bytes:
    """Lay out what a signature covers: a purpose, the id and the raw, a line break between them.

    No id that passes the desk holds a control character, so the first two line breaks are the frame and
    no two records share these bytes. A shell can make them: `printf 'dayfly-record-1\\n%s\\n%s'`.

    Raises:
        ValueError: a text holds lone surrogates and so has no UTF-8 form.
    """
    return b"dayfly-record-1\n" + id.encode() + b"\n" + raw.encode()
