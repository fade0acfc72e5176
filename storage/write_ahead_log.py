"""SQLite's write-ahead log as bytes: its frames, and how far they are intact.

The log is a header and frames, each an image of one page. It is written from its beginning again and
again, each round under new salts, so frames of the round before may follow the current ones. A checksum
runs through all frames of a round: SQLite takes those up to the last transaction before the first wrong
byte, and silently forgets the rest. Here the rest is seen: a transaction that was complete once and is
beyond that point has been damaged, an incomplete one was merely never finished.

Source: SQLite's "Database File Format": 4.1 WAL File Format, 4.2 Checksum Algorithm.
"""

import struct

PAGE_BYTES = 8192
"""Page size of the journal. Our choice, measured: a row up to 2,000 bytes stays in its page, a longer one
takes at least one page of its own. With 4,096 that begins at 1,000 bytes (a row of 1,100 took 4,700), with
16,384 a commit of one record writes twice as much."""

_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24
_FRAME_BYTES = _FRAME_HEADER_BYTES + PAGE_BYTES
_MAGIC = 0x377F0682
"""The first four bytes, but for the lowest bit, which is the byte order of the checksums."""


class WriteAheadLog:
    """The frames of a log.

    Args:
        data: bytes, the file; empty if there is none.

    Attributes:
        data: as given.
        pages: list[int], where each frame's page begins in `data`, of all rounds.
        complete: int, how many frames there are up to the last that ends a transaction of this round.
        intact: int, how many of these SQLite accepts.
        unfinished: list[int], as `pages`, those of this round's frames that SQLite does not accept.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        heads = range(_HEADER_BYTES, len(data) - _FRAME_HEADER_BYTES, _FRAME_BYTES)
        self.pages = [at + _FRAME_HEADER_BYTES for at in heads]
        salts = [data[at + 8 : at + 16] for at in heads]
        # A sound header is right even if no frame agrees: a new round begins with it, and a kill may come
        # before the first frame, while those of the round before, all in the journal by now, still follow.
        self._begin = _checked_header(data)
        current = data[16:24] if self._begin else b"".join(salts[:1])
        self.complete = 0
        self._latest: dict[int, int] = {}
        for i, at in enumerate(heads):
            if salts[i] == current:
                self._latest[_int(data[at : at + 4])] = self.pages[i]
                if _ends_transaction(data, at):
                    self.complete = i + 1
        self.intact = self._count_intact(heads)
        self.unfinished = [
            page for i, page in enumerate(self.pages) if i >= self.intact and salts[i] == current
        ]

    def number(self, at: int) -> int:
        """Return which page of the journal the one that begins at `at` in the log is an image of."""
        return _int(self.data[at - _FRAME_HEADER_BYTES : at - _FRAME_HEADER_BYTES + 4])

    def page(self, number: int) -> bytes:
        """Return this round's latest image of a page; empty if there is none."""
        at = self._latest.get(number)
        return b"" if at is None else self.data[at : at + PAGE_BYTES]

    def _count_intact(self, heads: range) -> int:
        """Follow the checksum as SQLite does. Our Python takes 0.2 s for the 8 MB a log has at most."""
        if self._begin is None:
            return 0
        data, (order, sums) = self.data, self._begin
        intact = 0
        for i, at in enumerate(heads):
            page = data[at + _FRAME_HEADER_BYTES : at + _FRAME_BYTES]
            if data[at + 8 : at + 16] != data[16:24] or len(page) < PAGE_BYTES:
                break
            sums = checksum(order, data[at : at + 8] + page, sums)
            if sums != (_int(data[at + 16 : at + 20]), _int(data[at + 20 : at + 24])):
                break
            if _ends_transaction(data, at):
                intact = i + 1
        return intact


def _checked_header(data: bytes) -> tuple[str, tuple[int, int]] | None:
    """Return the byte order of the checksums and the header's own; None if the header is not sound."""
    if len(data) < _HEADER_BYTES or _int(data[:4]) | 1 != _MAGIC | 1 or _int(data[8:12]) != PAGE_BYTES:
        return None
    order = ">" if _int(data[:4]) & 1 else "<"
    sums = checksum(order, data[:24], (0, 0))
    return (order, sums) if sums == (_int(data[24:28]), _int(data[28:32])) else None


def _int(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _ends_transaction(data: bytes, head: int) -> bool:
    """A frame that ends a transaction tells the size of the file after it; others have 0 there."""
    return data[head + 4 : head + 8] != bytes(4)


def checksum(order: str, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    """Continue the checksum of a log over `data`, whole pairs of words in byte order `order` (`<` or `>`)."""
    s0, s1 = sums
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for x, y in zip(words, words, strict=True):
        s0 = s0 + x + s1 & 0xFFFFFFFF
        s1 = s1 + y + s0 & 0xFFFFFFFF
    return s0, s1
