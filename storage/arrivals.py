"""The arrival log: what the store holds, in the order in which it came.

A reader that remembers the last number it saw (a stream, a cursor, a reconnecting client) resumes from
here without loss and without doubles. Numbers only grow and are never used twice, so a record that left
and came again stands in the log once, under its new number.

The log is a list of segments, each a plain dict from number to record: removing one entry is one
deletion, and two neighbours that together fit into one segment are merged, so the log is at least half
full whatever is removed. Nothing ever walks the whole log, and a dict of records (which the garbage
collector does not track) costs the collector nothing.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping

from validator import Record

SEGMENT_RECORDS_MAX = 170
"""Most records in a segment: what a dict of 256 slots takes before it doubles, hence the least memory per
record, and little for a reader to skip."""


class ArrivalLog:
    """Records by arrival number.

    Args:
        segment_records_max: int >= 1, most records in a segment; tests make it small.
    """

    def __init__(self, segment_records_max: int = SEGMENT_RECORDS_MAX) -> None:
        self._segment_records_max = segment_records_max
        self._segments: list[dict[int, Record]] = []
        self._firsts: list[int] = []  # no number in segment i is smaller than _firsts[i]

    def extend(self, records: Mapping[int, Record]) -> None:
        """Add records by number: ascending, and greater than every number before."""
        segment = self._segments[-1] if self._segments else None
        for seq, record in records.items():
            if segment is None or len(segment) >= self._segment_records_max:
                segment = dict[int, Record]()
                self._segments.append(segment)
                self._firsts.append(seq)
            segment[seq] = record

    def __getitem__(self, seq: int) -> Record:
        return self._segments[bisect_right(self._firsts, seq) - 1][seq]

    def __delitem__(self, seq: int) -> None:
        i = bisect_right(self._firsts, seq) - 1
        segment = self._segments[i]
        del segment[seq]
        if not segment:
            del self._segments[i], self._firsts[i]
            return
        for left in (i, i - 1):
            if left < 0 or left + 1 >= len(self._segments):
                continue
            if len(self._segments[left]) + len(self._segments[left + 1]) <= self._segment_records_max:
                self._segments[left] = self._segments[left] | self._segments[left + 1]
                del self._segments[left + 1], self._firsts[left + 1]
                return

    def after(self, seq: int) -> Iterator[tuple[int, Record]]:
        """Yield (number, record) in order of arrival for numbers greater than `seq` (int).

        The log must not change while the iterator is in use.
        """
        i = max(bisect_right(self._firsts, seq) - 1, 0)
        while i < len(self._segments):
            for entry in self._segments[i].items():
                if entry[0] > seq:
                    yield entry
            i += 1
