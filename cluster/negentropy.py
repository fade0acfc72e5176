"""Find out which ids two nodes do not share, by the Negentropy Protocol V1 (range-based reconciliation).

Both sides sort their keys. The initiator cuts its line of keys into ranges and sends a fingerprint of
each; whoever receives a fingerprint that its own keys do not give cuts that range further, until ranges
are small enough to list ids. Equal ranges are never looked at again, so the cost follows the difference,
not the size. Only the initiator learns the result; the responder keeps nothing between messages, and
neither does the initiator beyond what it was told, so both may go on over a store that has changed.

Pure: bytes in, bytes out, over a read-only view of the keys (`negentropy_items`). The layout of the bytes
is in `negentropy_wire`.
"""

from typing import NamedTuple

from cluster.negentropy_items import FINGERPRINT_OF_NOTHING, Items, SortedItems, fingerprint
from cluster.negentropy_wire import (
    INFINITY,
    VERSION,
    Mode,
    NegentropyError,
    Range,
    RangeWriter,
    read_ranges,
    read_version,
    separating_bound,
)

__all__ = [
    "FINE",
    "FRAME_BYTES_MIN",
    "RANGES_MAX",
    "REFERENCE",
    "Cut",
    "Items",
    "Negentropy",
    "NegentropyError",
    "SortedItems",
    "Step",
    "fingerprint",
]


class Cut(NamedTuple):
    """How a differing range is stated; the standard leaves it to each side.

    Attributes:
        buckets: into how many ranges of even size it is cut. More is fewer rounds and more bytes.
        id_list_items_max: a range with fewer keys is not cut but listed.
    """

    buckets: int
    id_list_items_max: int


REFERENCE = Cut(16, 32)
"""As the reference does it."""

FINE = Cut(8, 8)
"""Our choice, measured: 1,000 ids missing anywhere among 10^6 cost 0.7 MB in place of 1.2, because an id
weighs as much as one and a half fingerprints; what is listed for one missing is 4 ids in place of 15."""

NEWEST_ITEMS = 16
"""How many of the newest ids `initiate(newest_first=True)` lists. Our choice: 512 bytes, one round for what
was missed in the last moments."""

NEWEST_GROWTH = 4
"""How much longer each older range is there. Our choice, because a difference at age x is then cut into
pieces in proportion to x, and a million keys make only nine ranges."""

FRAME_BYTES_MIN = 4096
"""Smallest frame limit. Source: the reference; one split (about 1.1 KiB) must fit, or nothing advances."""

FRAME_RESERVE_BYTES = 200
"""What a limited message keeps free for ending it: the id over which the limit was seen, two bounds,
a skip and the fingerprint of the rest, together at most 150. Source: the reference, to the byte."""

RANGES_MAX = 1024
"""How many ranges of one message are worked on; the rest is answered by one fingerprint, as if the frame
were full. Our choice, because each range costs a rank and perhaps a fingerprint, 5 to 20 µs over 10^6 keys,
and 8 KiB can hold 2,700. Honest ones hold 431 fingerprints (19 bytes each) and as many skips."""


class Step(NamedTuple):
    """What an initiator learned from one message.

    Attributes:
        message: bytes to send next, or None: the exchange is done.
        have: list of bytes, 40 each: keys of ours that the responder lacks, ascending.
        need: list of bytes, 32 each: ids that the responder has and we lack, in the message's order; where
            `have` was cut short, perhaps ids that we hold too.
        beyond: bytes or None: a bound from which on to the end of time we hold nothing and the responder
            holds too much to list. Whoever reads its records from there need not have their ids listed.
    """

    message: bytes | None
    have: list[bytes]
    need: list[bytes]
    beyond: bytes | None = None


class Negentropy:
    """One side of an exchange over `items`. Holds no state of the exchange; use one object for many.

    Work per message is bounded whatever the peer sends: at most RANGES_MAX ranks, and fingerprints for
    those ranges and for what fits the answer. With `frame_bytes_max` 0 an answer may list every id once.
    Where either limit ends the work, the message is not read further; the rest comes up again.

    Args:
        items: the keys; read during the calls only, and not meant to change within one.
        frame_bytes_max: int, longest message this side makes, in bytes; 0 means no limit.
        cut: how this side states ranges that differ.

    Raises:
        ValueError: the frame limit is neither 0 nor at least FRAME_BYTES_MIN (the caller's fault).
    """

    def __init__(self, items: Items, frame_bytes_max: int = 0, cut: Cut = REFERENCE) -> None:
        if frame_bytes_max != 0 and frame_bytes_max < FRAME_BYTES_MIN:
            raise ValueError(
                f"frame_bytes_max is {frame_bytes_max}; it must be 0 or at least {FRAME_BYTES_MIN}"
            )
        self._items = items
        self._cut = cut
        self._room = frame_bytes_max - FRAME_RESERVE_BYTES if frame_bytes_max else None

    def initiate(self, newest_first: bool = False) -> bytes:
        """Return the message that opens an exchange.

        Args:
            newest_first: whether to list the newest ids at once, cover the older ones by fingerprints of
                ranges that grow towards the past, and say that nothing is held beyond, instead of cutting
                all evenly. The standard leaves this open; it saves rounds where what differs is recent.
        """
        out = RangeWriter()
        if newest_first:
            self._split_newest(out)
        else:
            self._split(out, 0, len(self._items), INFINITY)
        return out.message()

    def probe(self) -> bytes:
        """Return the shortest opening: one fingerprint of everything, 20 bytes.

        Equal sets are told by 20 bytes and an answer of 1; else the responder cuts, half a round later.
        """
        out = RangeWriter()
        self._state_rest(out, 0)
        return out.message()

    def respond(self, message: bytes) -> bytes:
        """Return the answer to an initiator's message.

        To a version other than 1 the answer is our version byte alone, so that the peer may downgrade.

        Raises:
            NegentropyError: the message is malformed. The peer's fault; nothing was changed.
        """
        if read_version(message) != VERSION:
            return bytes((VERSION,))
        return self._answer(message, None).message()

    def reconcile(self, message: bytes, have_max: int | None = None) -> Step:
        """Take in the responder's answer.

        `have` and `need` hold what this message told; the caller joins them over the exchange as sets:
        a full frame's fingerprint of the rest can bring up ids once more that are not exchanged yet.

        Args:
            have_max: most keys of ours to name; None: all. A responder that lists nothing for a range in
                which we hold a million would have us name them; no more are looked at than are named.

        Raises:
            NegentropyError: the message is malformed or of another version, and nothing in it counts.
                The peer's fault; nothing was changed.
        """
        version = read_version(message)
        if version != VERSION:
            raise NegentropyError(f"peer speaks Negentropy version byte 0x{version:02x}, not 0x{VERSION:02x}")
        difference = _Difference(len(self._items) if have_max is None else have_max)
        out = self._answer(message, difference)
        next_message = out.message() if out.says_something else None
        return Step(next_message, difference.have, list(difference.need), difference.beyond)

    def _answer(self, message: bytes, difference: "_Difference | None") -> RangeWriter:
        """Walk through the message's ranges; `difference` is where the initiator notes id lists."""
        out = RangeWriter()
        lower = 0
        for count, theirs in enumerate(read_ranges(message)):
            if count == RANGES_MAX:
                self._state_rest(out, lower)
                break
            upper = self._items.rank(theirs.upper)
            mark = out.mark()
            if theirs.mode is Mode.FINGERPRINT and theirs.payload != fingerprint(self._items, lower, upper):
                if difference is not None:
                    difference.note_unequal(out.end, theirs, nothing_here=lower == upper)
                self._split(out, lower, upper, theirs.upper)
                if self._is_full(out):
                    out.rewind(mark)
                    # As in the reference, the rest's fingerprint leaves this range out. The peer sees a
                    # difference either way, unless it has nothing here and would take the rest for equal.
                    self._state_rest(out, lower if theirs.payload == FINGERPRINT_OF_NOTHING else upper)
                    break
            elif theirs.mode is Mode.ID_LIST and difference is None:
                upper = self._list(out, lower, upper, theirs.upper)
                if self._is_full(out):
                    self._state_rest(out, upper)
                    break
            else:
                if theirs.mode is Mode.ID_LIST and difference is not None:
                    difference.note(theirs, self._items, lower, upper)
                out.skip(theirs.upper)
            lower = upper
        return out

    def _is_full(self, out: RangeWriter) -> bool:
        return self._room is not None and len(out) > self._room

    def _list(self, out: RangeWriter, lower: int, upper: int, bound: bytes) -> int:
        """List the ids of [lower, upper) as far as there is room; return the rank reached.

        The last id listed is the one that passes the limit: at least one is, so every message advances.
        """
        if self._room is not None:
            fitting = (self._room - len(out)) // 32 + 1
            if fitting < upper - lower:
                *keys, beyond = self._items.keys(lower, lower + fitting + 1)
                out.id_list(beyond, keys)
                return lower + fitting
        out.id_list(bound, self._items.keys(lower, upper))
        return upper

    def _split(self, out: RangeWriter, lower: int, upper: int, bound: bytes) -> None:
        """State [lower, upper): few keys as ids, many as fingerprints of ranges of even size."""
        if upper - lower < self._cut.id_list_items_max:
            out.id_list(bound, self._items.keys(lower, upper))
            return
        size, longer = divmod(upper - lower, self._cut.buckets)  # the first `longer` ones hold one key more
        for bucket in range(self._cut.buckets):
            end = lower + size + (bucket < longer)
            self._state(out, lower, end, bound if end == upper else self._bound_at(end))
            lower = end

    def _split_newest(self, out: RangeWriter) -> None:
        """State everything: fingerprints of ranges that shrink towards the present, the newest ids, and
        that there is nothing after the millisecond of the last one."""
        cuts: list[int] = []
        begin, size = len(self._items), NEWEST_ITEMS
        while begin > size:
            begin -= size
            cuts.append(begin)
            size *= NEWEST_GROWTH
        lower = 0
        for cut in reversed(cuts):
            self._state(out, lower, cut, self._bound_at(cut))
            lower = cut
        newest = self._items.keys(lower, len(self._items))
        if newest:
            out.id_list((int.from_bytes(newest[-1][:8], "big") + 1).to_bytes(8, "big"), newest)
        out.fingerprint(INFINITY, FINGERPRINT_OF_NOTHING)

    def _state_rest(self, out: RangeWriter, lower: int) -> None:
        """State everything from rank `lower`, up to which `out` has come, in one fingerprint."""
        if out.end != INFINITY:
            self._state(out, lower, len(self._items), INFINITY)

    def _state(self, out: RangeWriter, lower: int, upper: int, bound: bytes) -> None:
        out.fingerprint(bound, fingerprint(self._items, lower, upper))

    def _bound_at(self, rank: int) -> bytes:
        """Return the shortest bound between the keys of `rank - 1` and `rank`."""
        before, after = self._items.keys(rank - 1, rank + 1)
        return separating_bound(before, after)


class _Difference:
    """What an initiator gathers from one message. `have_max`: most keys of ours to name."""

    def __init__(self, have_max: int) -> None:
        self.have: list[bytes] = []
        self.need: dict[bytes, None] = {}
        self.beyond: bytes | None = None
        self._have_max = have_max
        self._nothing: tuple[bytes, bytes] | None = None  # bounds of the stretch without ours, so far

    def note_unequal(self, lower: bytes, theirs: Range, *, nothing_here: bool) -> None:
        """Note a range from `lower` on whose fingerprint differs; `nothing_here`: none of ours are in it."""
        if not nothing_here:
            self._nothing = None
            return
        if self._nothing is not None and self._nothing[1] == lower:
            lower = self._nothing[0]
        self._nothing = lower, theirs.upper
        if theirs.upper == INFINITY:
            self.beyond = lower

    def note(self, theirs: Range, items: Items, lower: int, upper: int) -> None:
        """Compare the ids of one range with our keys in it, those of ranks `lower` to `upper`."""
        their_ids = dict.fromkeys(theirs.ids)
        room = self._have_max - len(self.have)
        ours = items.keys(lower, min(upper, lower + room + len(their_ids)))
        our_ids = {key[8:] for key in ours}
        self.have += [key for key in ours if key[8:] not in their_ids][:room]
        self.need.update((id, None) for id in their_ids if id not in our_ids)
