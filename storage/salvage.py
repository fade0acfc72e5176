"""Read records out of the raw bytes of a damaged journal, without SQLite.

SQLite finds a row by way of the file's header, its schema and every page on the path from the root. One
wrong byte on that path hides thousands of rows that are whole. So this file asks none of them: every row
begins with a few bytes that say how long its four columns are, and carries its own SHA-256 as part of its
key. Whatever has that form and that digest is a record; all else is passed over. A row is lost only if
its own bytes are.

The pages in the write-ahead log are read in the same way.

Source: SQLite's "Database File Format": 1.5 B-tree Pages, 1.6 Cell Payload Overflow Pages, 2.1 Record
Format.
"""

import os
import re
from collections.abc import Iterator
from typing import NamedTuple, Self

from storage.write_ahead_log import PAGE_BYTES, WriteAheadLog
from validator import KEY_BYTES, Record

_LOCAL_BYTES_MAX = (PAGE_BYTES - 12) * 64 // 255 - 23
_LOCAL_BYTES_MIN = (PAGE_BYTES - 12) * 32 // 255 - 23
_OVERFLOW_BYTES = PAGE_BYTES - 4
_PAYLOAD_BYTES_MAX = 64 * 1024 * 1024
"""Far above any record; keeps a damaged length from leading us through the whole file."""

_ROW = re.compile(rb"[\x05-\x10]" + re.escape(bytes([KEY_BYTES * 2 + 12])))
"""How a row begins: the length of its header, then "a blob of as many bytes as a key has"."""


class Found(NamedTuple):
    """A place that looks like a row: its key, and the record if all of it is whole."""

    key: bytes
    record: Record | None


class RawJournal:
    """A journal's bytes. Use it as a context manager.

    Args:
        path: the journal; it need not exist.
        log: its write-ahead log.
    """

    def __init__(self, path: str | os.PathLike[str], log: WriteAheadLog) -> None:
        self._log = log
        try:
            self._fd = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    @property
    def page_count(self) -> int:
        """How many pages there are outside the log, the last one perhaps cut short."""
        return 0 if self._fd < 0 else -(-os.fstat(self._fd).st_size // PAGE_BYTES)

    def rows(self) -> Iterator[Found]:
        """Yield every row in the journal, whole or not, also such as were removed but not yet wiped."""
        for number in range(1, self.page_count + 1):
            yield from self._rows_in(self._read(number))

    def logged_rows(self, after_frame: int = 0) -> Iterator[Found]:
        """Yield every row in the frames of the log after the first `after_frame`, often more than once."""
        for at in self._log.pages[after_frame:]:
            yield from self._rows_in(self._log.data[at : at + PAGE_BYTES])

    def _read(self, number: int) -> bytes:
        """Read a page; what lies outside the file or cannot be read is empty."""
        if self._fd < 0 or number < 1:
            return b""
        try:
            return os.pread(self._fd, PAGE_BYTES, (number - 1) * PAGE_BYTES)
        except (OSError, OverflowError):
            return b""

    def _rows_in(self, page: bytes) -> Iterator[Found]:
        for match in _ROW.finditer(page):
            lengths = _column_lengths(page, match.start())
            if lengths is not None:
                found = self._row(page, match.start(), lengths)
                # What is not whole in the page's free gap is a remnant of a row that has been moved.
                if found.record is not None or match.start() >= _content_begin(page):
                    yield found

    def _row(self, page: bytes, begin: int, lengths: list[int]) -> Found:
        header_bytes = page[begin]
        payload = self._payload(page, begin, header_bytes + sum(lengths))
        columns: list[bytes] = []
        at = header_bytes
        for length in lengths:
            columns.append(payload[at : at + length])
            at += length
        return Found(columns[0], parse_row(*columns))

    def _payload(self, page: bytes, begin: int, length: int) -> bytes:
        """Gather a row that may go on in overflow pages, each of which begins with the next one's number."""
        local = _local_bytes(length)
        parts = [page[begin : begin + local]]
        left, following = length - local, page[begin + local : begin + local + 4]
        while left > 0:
            number = int.from_bytes(following, "big")
            overflow = self._log.page(number) or self._read(number)
            if not overflow:
                break
            parts.append(overflow[4 : 4 + min(left, _OVERFLOW_BYTES)])
            left, following = left - _OVERFLOW_BYTES, overflow[:4]
        return b"".join(parts)


def parse_row(key: object, id: object, raw: object, signature: object) -> Record | None:
    """Make a record of the four columns of a row, or None if they are not what was written.

    The key holds the SHA-256 of the rest: a row that passes is byte for byte the record that was stored.
    """
    if not (isinstance(key, bytes) and isinstance(id, bytes) and isinstance(raw, bytes)):
        return None
    if not isinstance(signature, bytes) or len(key) != KEY_BYTES:
        return None
    try:
        record = Record.of(id.decode(), raw.decode(), signature.decode(), int.from_bytes(key[:8], "big"))
    except ValueError:  # no UTF-8, or no time stamp
        return None
    return record if record.key == key else None


def _column_lengths(page: bytes, begin: int) -> list[int] | None:
    """Read a row's header: the lengths of its four columns, or None if it is no such header."""
    at, end = begin + 1, begin + page[begin]
    lengths: list[int] = []
    while at < end <= len(page):
        number = 0
        while True:  # a varint: seven bits a byte, the top bit says "goes on"
            byte = page[at]
            number, at = number << 7 | byte & 0x7F, at + 1
            if byte < 0x80 or at == end:
                break
        if number < 12 or number % 2:  # even from 12 on is a blob of (number - 12) / 2 bytes
            return None
        lengths.append((number - 12) // 2)
    if at != end or len(lengths) != 4 or sum(lengths) > _PAYLOAD_BYTES_MAX:
        return None
    return lengths


def _content_begin(page: bytes) -> int:
    """Return where a tree page's rows begin, behind its gap; 0 if it does not look like one."""
    return int.from_bytes(page[5:7], "big") if page[:1] in (b"\x02", b"\x0a") else 0


def _local_bytes(length: int) -> int:
    """Return how many bytes of a payload of `length` stay in the page; the rest overflows."""
    if length <= _LOCAL_BYTES_MAX:
        return length
    local = _LOCAL_BYTES_MIN + (length - _LOCAL_BYTES_MIN) % _OVERFLOW_BYTES
    return local if local <= _LOCAL_BYTES_MAX else _LOCAL_BYTES_MIN
