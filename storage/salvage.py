"""Read records out of the raw bytes of a damaged journal, without SQLite.

SQLite finds a row by way of the file's header, its schema and every page on the path from the root. One
wrong byte on that path hides thousands of rows that are whole. So this file asks none of them: every row
begins with a few bytes that say how long its four columns are, and carries its own SHA-256 as part of its
key. Whatever has that form and that digest is a record; all else is passed over. A row is lost only if
its own bytes are.

The pages in the write-ahead log are read in the same way.

Texts are their clients' own, and may be full of what looks like rows that go on for a megabyte each. So the
pages of the tree come first, in them the rows that their cell pointers name, and what a whole row goes on in
belongs to it alone: it is neither searched for rows nor taken for a part of another. What then still looks
like a row and is none may only have so many bytes gathered for it a page.

Source: SQLite's "Database File Format": 1.5 B-tree Pages, 1.6 Cell Payload Overflow Pages, 2.1 Record
Format.
"""

import os
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Self

from storage.write_ahead_log import PAGE_BYTES, WriteAheadLog
from validator import ID_BYTES_MAX, KEY_BYTES, RAW_BYTES_MAX, SIGNATURE_BYTES_MAX, Record

_LOCAL_BYTES_MAX = (PAGE_BYTES - 12) * 64 // 255 - 23
_LOCAL_BYTES_MIN = (PAGE_BYTES - 12) * 32 // 255 - 23
_OVERFLOW_BYTES = PAGE_BYTES - 4
_PAYLOAD_BYTES_MAX = KEY_BYTES + ID_BYTES_MAX + RAW_BYTES_MAX + SIGNATURE_BYTES_MAX + 16
"""The longest row: no record is larger, and four lengths take less than 16 bytes."""

WASTED_BYTES_MAX = _PAYLOAD_BYTES_MAX
"""Bytes of overflow pages gathered in vain, after which no more are for what one page holds. Our choice: the
largest row may be damaged without costing its neighbours; a whole row does not count."""

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
        self._claimed: set[int] = set()  # the overflow pages of whole rows
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
        others: list[int] = []
        for number in range(1, self.page_count + 1):
            page = self._read(number)
            if _is_tree(page):
                yield from self._rows_in(page)
            else:
                others.append(number)
        for number in others:
            page = self._read(number)
            if not self._is_claimed(number, page):
                yield from self._rows_in(page)

    def logged_rows(self, pages: Iterable[int]) -> Iterator[Found]:
        """Yield every row in these pages of the log (see `WriteAheadLog.pages`), often more than once."""
        for tree in (True, False):
            for at in pages:
                page = self._log.data[at : at + PAGE_BYTES]
                if _is_tree(page) == tree and not self._is_claimed(self._log.number(at), page):
                    yield from self._rows_in(page)

    def _is_claimed(self, number: int, page: bytes) -> bool:
        """Tell whether this image of a page is what a whole row goes on in."""
        return number in self._claimed and page == self.image(number)

    def image(self, number: int) -> bytes:
        """Return the latest image of a page."""
        return self._log.page(number) or self._read(number)

    def _read(self, number: int) -> bytes:
        """Read a page; what lies outside the file or cannot be read is empty."""
        if self._fd < 0 or number < 1:
            return b""
        try:
            return os.pread(self._fd, PAGE_BYTES, (number - 1) * PAGE_BYTES)
        except (OSError, OverflowError):
            return b""

    def _rows_in(self, page: bytes) -> Iterator[Found]:
        wasted_bytes = 0
        for begin, lengths, named in _row_heads(page):
            payload_bytes = page[begin] + sum(lengths)
            overflows = payload_bytes > _LOCAL_BYTES_MAX
            if overflows and wasted_bytes >= WASTED_BYTES_MAX:
                continue
            payload, numbers = self._payload(page, begin, payload_bytes)
            found = _row(payload, lengths)
            if found.record is not None:
                self._claimed.update(numbers)
            elif overflows:
                wasted_bytes += len(numbers) * PAGE_BYTES
            # What is neither whole nor named is text, or a remnant of a row that has been moved.
            if found.record is not None or named:
                yield found

    def _payload(self, page: bytes, begin: int, length: int) -> tuple[bytes, list[int]]:
        """Gather a row that may go on in overflow pages, each of which begins with the next one's number.

        Returns:
            What there is of it, and the numbers of the overflow pages.
        """
        local = _local_bytes(length)
        parts = [page[begin : begin + local]]
        numbers: list[int] = []
        left, following = length - local, page[begin + local : begin + local + 4]
        while left > 0:
            number = int.from_bytes(following, "big")
            overflow = b"" if number in self._claimed else self.image(number)
            if not overflow:
                break
            numbers.append(number)
            parts.append(overflow[4 : 4 + min(left, _OVERFLOW_BYTES)])
            left, following = left - _OVERFLOW_BYTES, overflow[:4]
        return b"".join(parts), numbers


def _row(payload: bytes, lengths: list[int]) -> Found:
    """Split a row into its columns; the lengths of its header are told by its first byte."""
    columns: list[bytes] = []
    at = payload[0]
    for length in lengths:
        columns.append(payload[at : at + length])
        at += length
    return Found(columns[0], parse_row(*columns))


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


def _is_tree(page: bytes) -> bool:
    """Tell whether a page begins like one of the table; one that others go on in begins with zeros."""
    return page[:1] in (b"\x02", b"\x0a")


def _row_heads(page: bytes) -> list[tuple[int, list[int], bool]]:
    """Return where a page has what looks like the beginning of a row, and the lengths of its columns.

    Those that a tree page's cell pointers name come first; whether it is one of them is told, too.
    """
    named = _cells(page)
    heads: list[tuple[int, list[int], bool]] = []
    for match in _ROW.finditer(page):
        begin = match.start()
        lengths = _column_lengths(page, begin)
        if lengths is None:
            continue
        size = _varint(page[begin] + sum(lengths))  # stands before the row, and before it a child's number
        cell = begin - len(size)
        if page[max(cell, 0) : begin] == size:
            heads.append((begin, lengths, cell in named or cell - 4 in named))
    return sorted(heads, key=lambda head: not head[2])


def _cells(page: bytes) -> set[int]:
    """Return where a tree page's cells begin; none for any other page."""
    if not _is_tree(page):
        return set()
    at = 8 if page[0] == 0x0A else 12  # one with children tells the last of them first
    pointers = page[at : at + 2 * int.from_bytes(page[3:5], "big")]
    return {int.from_bytes(pointers[i : i + 2], "big") for i in range(0, len(pointers), 2)}


def _varint(number: int) -> bytes:
    """Write a number below 2 ** 21 in seven bits a byte, the top bit says "goes on"."""
    low, middle, high = number & 0x7F, number >> 7 & 0x7F, number >> 14
    if high:
        return bytes((0x80 | high, 0x80 | middle, low))
    return bytes((0x80 | middle, low)) if middle else bytes((low,))


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
    if at != end or len(lengths) != 4 or page[begin] + sum(lengths) > _PAYLOAD_BYTES_MAX:
        return None
    return lengths


def _local_bytes(length: int) -> int:
    """Return how many bytes of a payload of `length` stay in the page; the rest overflows."""
    if length <= _LOCAL_BYTES_MAX:
        return length
    local = _LOCAL_BYTES_MIN + (length - _LOCAL_BYTES_MIN) % _OVERFLOW_BYTES
    return local if local <= _LOCAL_BYTES_MAX else _LOCAL_BYTES_MIN
