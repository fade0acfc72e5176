"""The time-ordered set of record keys: one structure for listing, expiry, pages and fingerprints.

A key is 40 bytes, time stamp first, so byte order is age. The keys lie in sorted chunks of at most 256;
a search bisects the chunks' lowest keys, then one chunk. Beside each chunk stands the sum of its digests,
kept up to date on every change; only that of the newest chunk, which changes most, is made when asked for.
Counts and sums of *all chunks before* a chunk are rebuilt when asked for and only from the first changed
chunk on: adding at the newest end costs nothing, and the sum over any range of ranks costs the two chunks
it cuts, not the range.

A chunk at rest is a tuple and only those lately changed are lists: the garbage collector lets go of a tuple
of bytes for good, but would visit every key in every list on each full pass (25 ms at 10^6 keys, measured).

It holds keys, not records, and knows no clock: what an old key means is the store's business.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, islice

from storage.sums import SUM_MASK, digest_int, sum_digests

CHUNK_KEYS_MAX = 256
"""Most keys in a chunk. Our choice, measured at 10^6 keys: with 512, range sums and inserts into old chunks
take half as long again; with fewer, the tables over the chunks, rebuilt after such an insert, grow longer."""

OPEN_CHUNKS_MAX = 256
"""Most chunks kept as lists. Our choice, measured: arrivals out of order by several minutes stay among them,
and a full pass of the garbage collector over a million keys stays at 2 to 4 ms."""


class Index:
    """A sorted set of keys with ranks and range sums.

    Args:
        chunk_keys_max: int >= 2, most keys in a chunk; tests make it small so that chunks split.
        open_chunks_max: int >= 1, most chunks kept as lists; likewise.
    """

    def __init__(self, chunk_keys_max: int = CHUNK_KEYS_MAX, open_chunks_max: int = OPEN_CHUNKS_MAX) -> None:
        self._chunk_keys_max = chunk_keys_max
        self._open_chunks_max = open_chunks_max
        self._chunks: list[list[bytes] | tuple[bytes, ...]] = []
        self._open_count = 0  # how many chunks may be lists
        self._lows: list[bytes] = []  # lowest key of each chunk
        self._sums: list[int] = []  # sum of the digests of each chunk, not reduced: never negative
        self._newest_due = False  # the newest chunk's sum is made when asked for, or when the next begins
        # Before chunk i lie _ranks[i] keys with the sum _totals[i]; right for i <= _settled.
        self._ranks: list[int] = [0]
        self._totals: list[int] = [0]
        self._settled = self._len = self._version = 0

    def __len__(self) -> int:
        return self._len

    def extend(self, keys: Sequence[bytes]) -> None:
        """Insert keys (bytes, 40), none of which may be there. Together: 0.1 for 0.4 µs each (measured)."""
        if (new := sorted(keys)) and not self._chunks:
            self._insert_chunk(0, [], new[0], 0)
        while new:  # from the newest chunk down: a split moves none that is still to come
            i = max(bisect_right(self._lows, new[-1]) - 1, 0)
            begin = bisect_left(new, self._lows[i]) if i else 0
            self._extend_chunk(i, new[begin:])
            del new[begin:]

    def discard(self, key: bytes) -> bool:
        """Remove `key` (bytes, 40); return False if it was not there."""
        i = bisect_right(self._lows, key) - 1
        if i < 0:
            return False
        chunk = self._chunks[i]
        at = bisect_left(chunk, key)
        if at == len(chunk) or chunk[at] != key:
            return False
        chunk = self._open(i)
        del chunk[at]
        self._sums[i] -= digest_int(key)
        self._changed(i, -1)
        if not chunk:
            self._drop_chunk(i)
            return True
        if at == 0:
            self._lows[i] = chunk[0]
        self._merge_around(i)
        return True

    def first(self) -> bytes | None:
        """Return the smallest key, or None if the set is empty."""
        return self._lows[0] if self._lows else None

    def after(self, key: bytes, count_max: int) -> list[bytes]:
        """Return at most `count_max` keys greater than `key` (bytes, any length), in order."""
        found: list[bytes] = []
        i = max(bisect_right(self._lows, key) - 1, 0)
        at = bisect_right(self._chunks[i], key) if self._chunks else 0
        while len(found) < count_max and i < len(self._chunks):
            found += self._chunks[i][at : at + count_max - len(found)]
            i, at = i + 1, 0
        return found

    def rank(self, key: bytes) -> int:
        """Return how many keys are smaller than `key` (bytes, any length)."""
        i = bisect_right(self._lows, key) - 1
        if i < 0:
            return 0
        self._settle()
        return self._ranks[i] + bisect_left(self._chunks[i], key)

    def keys(self, begin: int, end: int) -> list[bytes]:
        """Return the keys of ranks `begin` to `end - 1`, in order.

        Raises:
            ValueError: not 0 <= begin <= end <= len (the caller's fault).
        """
        _check_range(begin, end, self._len)
        i, at = self._locate(begin)
        found: list[bytes] = []
        count = end - begin
        while len(found) < count:
            found += self._chunks[i][at : at + count - len(found)]
            i, at = i + 1, 0
        return found

    def sum_ids(self, begin: int, end: int) -> int:
        """Return the sum of the digests of ranks `begin` to `end - 1`, modulo 2^256.

        Digests count as little-endian integers.

        Raises:
            ValueError: not 0 <= begin <= end <= len (the caller's fault).

        Source: Negentropy Protocol V1, "Fingerprint".
        """
        if end - begin <= self._chunk_keys_max // 2:
            return sum_digests(self.keys(begin, end)) & SUM_MASK
        _check_range(begin, end, self._len)
        return (self._total(end) - self._total(begin)) & SUM_MASK

    def window(self, lower: bytes, upper: bytes) -> "IndexWindow":
        """Return a view of the keys in [lower, upper) (bytes, any length)."""
        begin = self.rank(lower)
        return IndexWindow(self, begin, max(begin, self.rank(upper)))

    @property
    def version(self) -> int:
        """How often the set has changed."""
        return self._version

    def _changed(self, i: int, by: int) -> None:
        self._len += by
        self._version += 1
        if i < self._settled:
            self._settled = i

    def _open(self, i: int) -> list[bytes]:
        """Return chunk `i` as a list that may be changed in place."""
        chunk = self._chunks[i]
        if isinstance(chunk, tuple):
            self._count_open()
            self._chunks[i] = chunk = list(chunk)
        return chunk

    def _count_open(self) -> None:
        """Count one more open chunk; if they are too many, first close all."""
        if self._open_count >= self._open_chunks_max:
            self._chunks = [tuple(chunk) for chunk in self._chunks]  # a tuple is returned as it is
            self._open_count = 0
        self._open_count += 1

    def _extend_chunk(self, i: int, keys: list[bytes]) -> None:
        """Insert sorted keys that belong into chunk `i`."""
        chunk = self._open(i)
        # Sorted anew from where they begin, for a fast batch: 0.5 in place of 0.9 µs a key (measured).
        at = bisect_left(chunk, keys[0])
        chunk[at:] = sorted(chunk[at:] + keys)
        self._lows[i] = chunk[0]
        cut = self._chunk_keys_max // 2
        if i == len(self._chunks) - 1:
            self._newest_due = True  # once for all in place of one by one: 0.1 for 0.4 µs (measured)
            cut = self._chunk_keys_max  # time only grows: the full chunk stays full and a new one begins
        else:
            self._sums[i] += sum_digests(keys)
        self._changed(i, len(keys))
        while len(self._chunks[i]) > self._chunk_keys_max:
            self._split(i, cut)
            i += 1

    def _split(self, i: int, cut: int) -> None:
        """Begin a new chunk behind chunk `i` with its keys from place `cut` on."""
        chunk = self._open(i)
        upper, chunk[cut:] = chunk[cut:], ()
        if self._newest_due and i == len(self._chunks) - 1:
            self._sums[i], upper_sum = sum_digests(chunk), 0  # the new newest chunk's is due now
        else:
            upper_sum = sum_digests(upper)
            self._sums[i] -= upper_sum
        self._insert_chunk(i + 1, upper, upper[0], upper_sum)
        if self._settled == i:  # as with time's growth always: so nothing is left to rebuild after a million
            rank, total = self._ranks[i] + len(chunk), self._totals[i] + self._sums[i]
            self._ranks[i + 1 :], self._totals[i + 1 :] = [rank], [total]
            self._settled = i + 1

    def _merge_around(self, i: int) -> None:
        """Merge chunk `i` with a neighbour if both fill half a chunk: neighbours always fill more."""
        for left in (i, i - 1):
            if left < 0 or left + 1 >= len(self._chunks):
                continue
            if len(self._chunks[left]) + len(self._chunks[left + 1]) <= self._chunk_keys_max // 2:
                self._sum_newest()
                self._open(left).extend(self._chunks[left + 1])
                self._sums[left] += self._sums[left + 1]
                self._settled = min(self._settled, left)
                self._drop_chunk(left + 1)
                return

    def _insert_chunk(self, i: int, keys: list[bytes], low: bytes, total: int) -> None:
        self._count_open()
        self._chunks.insert(i, keys)
        self._lows.insert(i, low)
        self._sums.insert(i, total)

    def _drop_chunk(self, i: int) -> None:
        del self._chunks[i], self._lows[i], self._sums[i]

    def _settle(self) -> None:
        """Rebuild the counts and sums before each chunk, from the first changed chunk on."""
        i = self._settled
        if i == len(self._chunks) and len(self._ranks) == i + 1:
            return
        self._sum_newest()
        self._ranks[i:] = accumulate(map(len, islice(self._chunks, i, None)), initial=self._ranks[i])
        self._totals[i:] = accumulate(islice(self._sums, i, None), initial=self._totals[i])
        self._settled = len(self._chunks)

    def _sum_newest(self) -> None:
        if self._newest_due:
            self._sums[-1:] = [sum_digests(chunk) for chunk in self._chunks[-1:]]
            self._newest_due = False

    def _locate(self, rank: int) -> tuple[int, int]:
        """Return the chunk and the place in it of `rank`; the chunk after the last for rank = len."""
        self._settle()
        i = bisect_right(self._ranks, rank) - 1
        return i, rank - self._ranks[i]

    def _total(self, rank: int) -> int:
        """Return the sum of all digests before `rank`, taking the shorter way through its chunk."""
        i, at = self._locate(rank)
        if at == 0:
            return self._totals[i]
        chunk = self._chunks[i]
        if at <= len(chunk) // 2:
            return self._totals[i] + sum_digests(chunk[:at])
        return self._totals[i + 1] - sum_digests(chunk[at:])


class IndexWindow:
    """A read-only view of the keys between two bounds; ranks count from the window's start.

    It is cheap (two integers) and good until the index next changes. Using it later raises RuntimeError:
    ranks would silently mean other keys.
    """

    __slots__ = ("_begin", "_end", "_index", "_version")

    def __init__(self, index: Index, begin: int, end: int) -> None:
        self._index = index
        self._begin = begin
        self._end = end
        self._version = index.version

    def __len__(self) -> int:
        return self._end - self._begin

    def rank(self, key: bytes) -> int:
        """Return how many of the window's keys are smaller than `key` (bytes, any length)."""
        self._check_fresh()
        return min(max(self._index.rank(key), self._begin), self._end) - self._begin

    def keys(self, begin: int, end: int) -> list[bytes]:
        """Return the keys of ranks `begin` to `end - 1`; see `Index.keys`."""
        self._check(begin, end)
        return self._index.keys(self._begin + begin, self._begin + end)

    def sum_ids(self, begin: int, end: int) -> int:
        """Return the sum of the digests of ranks `begin` to `end - 1`; see `Index.sum_ids`."""
        self._check(begin, end)
        return self._index.sum_ids(self._begin + begin, self._begin + end)

    def _check(self, begin: int, end: int) -> None:
        self._check_fresh()
        _check_range(begin, end, len(self))

    def _check_fresh(self) -> None:
        if self._index.version != self._version:
            raise RuntimeError("the index has changed since this window was opened")


def _check_range(begin: int, end: int, length: int) -> None:
    if not 0 <= begin <= end <= length:
        raise ValueError(f"ranks {begin} to {end} are not within 0 to {length}")
