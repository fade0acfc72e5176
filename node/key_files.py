"""Key files: read with care for all, and the keys of the records' signatures that stand in them.

A file with a secret must be its owner's alone, one with public keys must not be writable by others: who
could add a line could publish. No error and no log ever holds a line of such a file.
"""

import os
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from validator import Md5Signature, SignatureValidator
from validator.keys import (
    FILE_BYTES_MAX,
    HMAC,
    PUBLIC,
    PUBLISHER,
    VALUE_BYTES,
    Key,
    parse_keys,
    signed_bytes,
)

SECRET_FORBIDS = 0o077
PUBLIC_FORBIDS = 0o022


class KeyFileError(ValueError):
    """A key file cannot be used. Says which, why, and what to do; never what stands in it."""


def read_signature(name: str, path: Path | None) -> SignatureValidator:
    """Make the validator of signatures that the settings `validator` and `validator-key-file` ask for.

    Raises:
        KeyFileError: the file cannot be used.
    """
    if name == "md5" or path is None:
        return Md5Signature()
    if name == "hmac-sha256":
        from validator.hmac_sha256 import HmacSignature

        return HmacSignature([key.value for key in read_keys(path, SECRET_FORBIDS, HMAC)])
    from validator.ed25519 import Ed25519Signature

    return Ed25519Signature(read_keys(path, PUBLIC_FORBIDS, PUBLIC))


@dataclass(frozen=True, slots=True)
class ClientSigner:
    """Signs a client's records. `prefix`: what their ids begin with; empty for any."""

    prefix: str
    sign: Callable[[str, str], str]


def read_signer(path: Path) -> ClientSigner:
    """Make a signer of the first secret in a file, whichever kind it is. Raises KeyFileError."""
    key = read_keys(path, SECRET_FORBIDS, HMAC, PUBLISHER)[0]
    if key.kind == HMAC:
        from validator.hmac_sha256 import hmac_hex

        return ClientSigner("", lambda id, raw: hmac_hex(key.value, signed_bytes(id, raw)))
    from validator.ed25519 import ed25519_hex

    return ClientSigner(f"{key.name}/", lambda id, raw: ed25519_hex(key.value, signed_bytes(id, raw)))


def read_keys(path: Path, forbids: int, *kinds: str) -> list[Key]:
    """Read a file of record keys.

    Args:
        forbids: mode bits that it must not have.
        kinds: as in `parse_keys`.

    Raises:
        KeyFileError: it cannot be read, others may read or write it, or it holds something else.
    """
    made_by = f"dayfly keygen --hmac -o {path}" if HMAC in kinds else "dayfly keygen --publisher NAME"
    try:
        return parse_keys(read_key_text(path, forbids, FILE_BYTES_MAX, made_by), *kinds)
    except ValueError as error:
        raise error if isinstance(error, KeyFileError) else KeyFileError(f"{path}: {error}") from None


def read_key_text(path: Path, forbids: int, bytes_max: int, made_by: str) -> str:
    """Read the text of a key file.

    Args:
        forbids: mode bits that it must not have. bytes_max: its largest size.
        made_by: the command that makes one, for who has none.

    Raises:
        KeyFileError: it cannot be read, is no text, or others may read or write it.
    """
    try:
        # Not blocking: a named pipe that nobody writes to would hold the start for ever.
        with _descriptor(path) as descriptor:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise KeyFileError(f"{path} is not a file")
            if status.st_mode & forbids:
                mode, allowed = stat.S_IMODE(status.st_mode), "600" if forbids & 0o044 else "644"
                raise KeyFileError(
                    f"{path} is open to other users (mode {mode:04o}); type: chmod {allowed} {path}"
                )
            data = os.read(descriptor, bytes_max + 1)  # a file gives all it has at once
    except FileNotFoundError:
        raise KeyFileError(f"{path}: there is no such file; {made_by} makes one") from None
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
    if len(data) > bytes_max:
        raise KeyFileError(f"{path} is no key file: it has more than {bytes_max} bytes")
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:  # its words would quote the bytes
        raise KeyFileError(f"{path} is no key file: it is not ASCII text") from None


@contextmanager
def _descriptor(path: Path) -> Generator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def new_keys(publisher: str | None) -> list[Key]:
    """Draw a publisher's pair, private key first, or without a publisher a secret for HMAC."""
    import secrets

    if publisher is None:
        return [Key(HMAC, "", secrets.token_bytes(VALUE_BYTES))]
    from validator.ed25519 import public_of

    private = Key(PUBLISHER, publisher, secrets.token_bytes(VALUE_BYTES))
    return [private, public_of(private)]
