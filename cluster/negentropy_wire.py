"""The bytes of a Negentropy Protocol V1 message: a version byte, then ranges in ascending order.

A *bound* cuts the line of all keys in two. Here it is a byte string: 8 bytes of time stamp, big-endian,
and 0 to 32 bytes of id; what is left out counts as zeros, so bounds and keys compare as plain bytes.
A *range* runs from the bound before it to its own upper bound and says one of three things about the
sender's keys there: nothing (skip), their fingerprint, or their ids.

On the wire a bound's time is the difference to the bound before it, plus one; 0 stands for infinity.

Source of every number here: hoytech/negentropy, docs/negentropy-protocol-v1.md.
"""

from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

VERSION = 0x61
"""First byte of every message: protocol version 1."""

VERSIONS = range(0x60, 0x70)
"""What a version byte may be; any other first byte is not Negentropy at all."""

ID_BYTES = 32
FINGERPRINT_BYTES = 16

START = bytes(8)
"""The bound below every key."""

INFINITY = b"\xff" * 8
"""The bound above every key; no item may carry this time stamp."""

_KEY_BYTES = 40
_TIME_INFINITY = 2**64 - 1
_VARINT_BYTES_MAX = 10
_DIGIT = 0x7F
_MORE = 0x80


class NegentropyError(ValueError):
    """The peer's message is not valid Negentropy V1. The peer's fault; nothing was changed."""


class Mode(IntEnum):
    """What a range says."""

    SKIP = 0
    FINGERPRINT = 1
    ID_LIST = 2


class Range(NamedTuple):
    """One range of a message; its lower bound is the upper bound of the range before it.

    Attributes:
        upper: bytes, 8 to 40: the bound that the range stops short of.
        mode: what is said about the range.
        payload: bytes: empty for SKIP, 16 for FINGERPRINT, 32 for each id of an ID_LIST.
    """

    upper: bytes
    mode: Mode
    payload: bytes

    @property
    def ids(self) -> list[bytes]:
        """The payload of an ID_LIST cut into ids of 32 bytes."""
        return [self.payload[at : at + ID_BYTES] for at in range(0, len(self.payload), ID_BYTES)]


def encode_varint(number: int) -> bytes:
    """Write `number` (0 or more) in base 128, most significant digit first, high bit on all but the last."""
    digits = [number & _DIGIT]
    while number := number >> 7:
        digits.append(number & _DIGIT | _MORE)
    return bytes(reversed(digits))


def separating_bound(before: bytes, after: bytes) -> bytes:
    """Return the shortest bound above key `before` and not above key `after` (40 bytes each, ascending)."""
    if before[:8] != after[:8]:
        return after[:8]
    length = 8
    while length < len(after) and before[length] == after[length]:
        length += 1
    return after[: length + 1]


def read_version(message: bytes) -> int:
    """Return the version byte of a message.

    Raises:
        NegentropyError: there is none, or it is no version of Negentropy.
    """
    if not message:
        raise NegentropyError("message is empty: a version byte is missing")
    if message[0] not in VERSIONS:
        raise NegentropyError(f"first byte 0x{message[0]:02x} is not a Negentropy version (0x60 to 0x6f)")
    return message[0]


def read_ranges(message: bytes) -> Iterator[Range]:
    """Yield the ranges of a version 1 message one by one, so that a reader may stop early.

    Never takes memory by a claimed length: a payload is a slice of bytes that are there. An empty range
    (equal bounds) is allowed, since the reference ends some messages with one at infinity.

    Raises:
        NegentropyError: what follows is truncated, out of order or not V1; ranges already yielded hold.
    """
    cursor = _Cursor(message, at=1)
    below = START
    while cursor.at < len(message):
        upper = cursor.bound()
        filled = upper.ljust(_KEY_BYTES, b"\0")
        if filled < below:
            raise NegentropyError(f"the bound that ends at byte {cursor.at} lies below the one before it")
        below = filled
        mode = cursor.varint()
        if mode == Mode.SKIP:
            yield Range(upper, Mode.SKIP, b"")
        elif mode == Mode.FINGERPRINT:
            yield Range(upper, Mode.FINGERPRINT, cursor.take(FINGERPRINT_BYTES))
        elif mode == Mode.ID_LIST:
            yield Range(upper, Mode.ID_LIST, cursor.take(cursor.varint() * ID_BYTES))
        else:
            raise NegentropyError(f"unknown mode {mode} before byte {cursor.at}")


class _Cursor:
    """A place in a message, and the time that the next bound counts from."""

    def __init__(self, message: bytes, at: int) -> None:
        self._message = message
        self._time = 0
        self.at = at

    def take(self, length: int) -> bytes:
        """Return the next `length` bytes."""
        end = self.at + length
        if end > len(self._message):
            raise NegentropyError(
                f"message ends at byte {len(self._message)}; {length} bytes were promised at byte {self.at}"
            )
        start, self.at = self.at, end
        return self._message[start:end]

    def varint(self) -> int:
        """Return the next varint, below 2^64 and in its shortest form."""
        start, number = self.at, 0
        for byte in self._message[start : start + _VARINT_BYTES_MAX]:
            self.at += 1
            number = number << 7 | byte & _DIGIT
            if number == 0 and byte & _MORE:
                raise NegentropyError(f"varint at byte {start} begins with a zero digit")
            if not byte & _MORE:
                if number > _TIME_INFINITY:
                    break
                return number
        if self.at - start < _VARINT_BYTES_MAX:
            raise NegentropyError(f"message ends inside the varint at byte {start}")
        raise NegentropyError(f"varint at byte {start} is 2^64 or more")

    def bound(self) -> bytes:
        """Return the next bound, as bytes that compare with keys."""
        start, encoded_time = self.at, self.varint()
        time = self._time + encoded_time - 1 if encoded_time else _TIME_INFINITY
        if encoded_time and time >= _TIME_INFINITY:
            raise NegentropyError(f"bound at byte {start} lies beyond the last time stamp")
        self._time = time
        length = self.varint()
        if length > ID_BYTES:
            raise NegentropyError(f"id prefix of the bound at byte {start} has {length} bytes, more than 32")
        if length and not encoded_time:
            raise NegentropyError(f"infinite bound at byte {start} carries an id prefix")
        return time.to_bytes(8, "big") + self.take(length)


Mark = tuple[int, int, bytes | None, bytes]
"""A state of a `RangeWriter` to go back to."""


class RangeWriter:
    """Append ranges to one message, in ascending order.

    A skip is held back until something follows it, because what a message leaves out at its end counts
    as skipped; so neighbouring skips become one and trailing ones none.
    """

    def __init__(self) -> None:
        self._message = bytearray((VERSION,))
        self._time = 0
        self._skip: bytes | None = None
        self._end = START

    def __len__(self) -> int:
        """Size in bytes of what is written, a held back skip not counted."""
        return len(self._message)

    @property
    def end(self) -> bytes:
        """The bound up to which something was said, be it skip."""
        return self._end if self._skip is None else self._skip

    @property
    def says_something(self) -> bool:
        """Whether the message holds a range that is not a skip."""
        return len(self._message) > 1

    def message(self) -> bytes:
        """Return the message written so far."""
        return bytes(self._message)

    def skip(self, upper: bytes) -> None:
        """Say nothing about the keys below `upper`."""
        self._skip = upper

    def fingerprint(self, upper: bytes, fingerprint: bytes) -> None:
        """State the fingerprint (16 bytes) of the keys below `upper`."""
        self._open(upper, Mode.FINGERPRINT)
        self._message += fingerprint

    def id_list(self, upper: bytes, keys: Sequence[bytes]) -> None:
        """State the ids of all `keys` (40 bytes each) below `upper`."""
        self._open(upper, Mode.ID_LIST)
        self._message += encode_varint(len(keys))
        for key in keys:
            self._message += key[8:]

    def mark(self) -> Mark:
        """Return the present state, for `rewind`."""
        return len(self._message), self._time, self._skip, self._end

    def rewind(self, mark: Mark) -> None:
        """Take back all that was appended since `mark`."""
        length, self._time, self._skip, self._end = mark
        del self._message[length:]

    def _open(self, upper: bytes, mode: Mode) -> None:
        if self._skip is not None:
            skipped, self._skip = self._skip, None
            self._bound(skipped)
            self._message.append(Mode.SKIP)
        self._bound(upper)
        self._message.append(mode)

    def _bound(self, bound: bytes) -> None:
        time = int.from_bytes(bound[:8], "big")
        self._message += encode_varint(0 if bound == INFINITY else time - self._time + 1)
        self._message.append(len(bound) - 8)
        self._message += bound[8:]
        self._time, self._end = time, bound
