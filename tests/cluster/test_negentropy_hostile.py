"""A peer may send any bytes: they are refused or answered, within limits, and never otherwise."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.negentropy import (
    FRAME_BYTES_MIN,
    RANGES_MAX,
    Negentropy,
    NegentropyError,
    SortedItems,
    fingerprint,
)
from cluster.negentropy_items import FINGERPRINT_OF_NOTHING
from cluster.negentropy_wire import (
    INFINITY,
    Mode,
    RangeWriter,
    encode_varint,
    read_ranges,
    separating_bound,
)

VECTORS = Path(__file__).parent.parent / "exchanges" / "negentropy-v1.json"
CASES: list[dict[str, Any]] = json.loads(VECTORS.read_text())["cases"]

limits = st.sampled_from([0, FRAME_BYTES_MIN, FRAME_BYTES_MIN + 1, 5000, 64 * 1024])


def key(time_stamp: int, id: bytes) -> bytes:
    """Join a time stamp and an id of 32 bytes."""
    return time_stamp.to_bytes(8, "big") + id


def some_keys(rng: Random, count: int, times: int) -> set[bytes]:
    """Make random keys with time stamps below `times`."""
    return {key(rng.randrange(times), rng.randbytes(32)) for _ in range(count)}


HELD = SortedItems(
    key(time_stamp, bytes.fromhex(id))
    for side in ("client_items", "server_items")
    for time_stamp, id in CASES[9][side]
)
"""The items of both sides of the largest recorded exchange."""


# --- bounds and numbers ----------------------------------------------------------------------------------


@given(st.binary(min_size=40, max_size=40), st.integers(0, 40), st.binary(min_size=40, max_size=40))
def test_a_separating_bound_lies_between_two_keys_and_is_shortest(a: bytes, shared: int, b: bytes) -> None:
    """Above the first, not above the second, and one byte less would not do."""
    before, after = sorted([a, a[:shared] + b[shared:]])
    if before == after:
        return
    bound = separating_bound(before, after)
    assert before < bound.ljust(40, b"\0") <= after
    assert len(bound) == 8 or bound[:-1].ljust(40, b"\0") <= before


@pytest.mark.parametrize(
    ("number", "encoded"),
    [(0, "00"), (127, "7f"), (128, "8100"), (16_384, "818000"), (2**64 - 1, "81" + "ff" * 8 + "7f")],
)
def test_varints_are_base_128_with_the_most_significant_digit_first(number: int, encoded: str) -> None:
    """As published, at the edges of a digit and at the largest number."""
    assert encode_varint(number).hex() == encoded


# --- versions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [b for b in range(0x60, 0x70) if b != 0x61])
def test_another_version_is_answered_with_ours_and_refused_as_an_answer(version: int) -> None:
    """A responder offers its version so that the peer may downgrade; an initiator has nothing to offer."""
    side = Negentropy(SortedItems(()))
    message = bytes([version]) + b"whatever that version says"
    assert side.respond(message) == b"\x61"
    with pytest.raises(NegentropyError, match=f"0x{version:02x}"):
        side.reconcile(message)


@pytest.mark.parametrize("message", [b"", b"\x5f", b"\x70", b"\x00\x00", b"GET / HTTP/1.1"])
def test_what_is_no_negentropy_at_all_is_refused(message: bytes) -> None:
    """A first byte outside 0x60 to 0x6f is not answered."""
    side = Negentropy(SortedItems(()))
    for receive in (side.respond, side.reconcile):
        with pytest.raises(NegentropyError, match=r"version"):
            receive(message)


# --- limits and malformed messages -----------------------------------------------------------------------


@pytest.mark.parametrize("limit", [-1, 1, FRAME_BYTES_MIN - 1])
def test_a_frame_limit_too_small_to_advance_is_refused(limit: int) -> None:
    """Below 4096 one split might not fit; 4096 itself is fine."""
    with pytest.raises(ValueError, match=str(limit)):
        Negentropy(SortedItems(()), limit)
    Negentropy(SortedItems(()), FRAME_BYTES_MIN)


MALFORMED = {
    "truncated time": ("61 81", "ends inside the varint"),
    "no prefix length": ("61 00", "ends inside the varint"),
    "no mode": ("61 00 00", "ends inside the varint"),
    "unknown mode": ("61 00 00 03", "unknown mode 3"),
    "short fingerprint": ("61 00 00 01" + "aa" * 15, "16 bytes were promised"),
    "short id list": ("61 00 00 02 02" + "aa" * 63, "64 bytes were promised"),
    "absurd id list": ("61 00 00 02 81" + "ff" * 8 + "7f", "were promised"),
    "short id prefix": ("61 05 03 aabb", "3 bytes were promised"),
    "long id prefix": ("61 05 21" + "aa" * 33 + "00", "33 bytes, more than 32"),
    "prefix on infinity": ("61 00 01 aa 00", "infinite bound"),
    "padded varint": ("61 80 05 00 00", "zero digit"),
    "varint of eleven bytes": ("61 81" + "80" * 9 + "00 00 00", "2^64 or more"),
    "varint of 2^64": ("61 82" + "80" * 8 + "00 00 00", "2^64 or more"),
    "time of infinity": ("61 81" + "ff" * 8 + "7f 00 00 02 00 00", "last time stamp"),
    "id falls": ("61 05 01 bb 00 01 01 aa 00", "below the one before"),
    "after infinity": ("61 00 00 00 01 00 00", "last time stamp"),
}


@pytest.mark.parametrize(("message", "said"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_message_is_refused_by_both_sides(message: str, said: str) -> None:
    """Each rule of the format has its own refusal, which says where the message broke it."""
    side = Negentropy(SortedItems(some_keys(Random(1), 10, 5)))
    for receive in (side.respond, side.reconcile):
        with pytest.raises(NegentropyError) as refusal:
            receive(bytes.fromhex(message))
        assert said in str(refusal.value)


def test_an_empty_range_at_infinity_is_accepted() -> None:
    """The reference closes a full frame with one even when its ids already reached infinity."""
    message = bytes.fromhex("61 00 00 02 00 00 00 01") + FINGERPRINT_OF_NOTHING
    assert Negentropy(SortedItems(())).respond(message) == bytes.fromhex("61 00 00 02 00")


def test_an_id_prefix_of_32_bytes_is_accepted() -> None:
    """The longest prefix is a whole id."""
    id = b"\xaa" * 32
    message = b"\x61\x06\x20" + id + b"\x02\x00\x00\x00\x02\x00"
    side = Negentropy(SortedItems([key(5, b"\xa9" * 32), key(5, id)]))
    assert [len(r.ids) for r in read_ranges(side.respond(message))] == [1, 1]


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x61"]))
def test_random_bytes_are_refused_or_answered(tail: bytes, head: bytes) -> None:
    """No bytes make either side fail in any other way."""
    _receive_anything(head + tail, 0)


@given(
    case=st.sampled_from(CASES),
    which=st.integers(0, 7),
    changes=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 60),
    limit=limits,
)
def test_damaged_messages_are_refused_or_answered(
    case: dict[str, Any], which: int, changes: list[tuple[int, int]], cut: int, limit: int
) -> None:
    """Recorded messages with bytes changed and the end cut off: refused, or answered with a valid message."""
    recorded = [bytes.fromhex(m["hex"]) for m in case["messages"]]
    message = bytearray(recorded[which % len(recorded)])
    for at, byte in changes:
        message[at % len(message)] = byte
    _receive_anything(bytes(message[: max(1, len(message) - cut)]), limit)


def _receive_anything(message: bytes, limit: int) -> None:
    side = Negentropy(HELD, limit)
    try:
        answers: list[bytes | None] = [side.respond(message), side.reconcile(message).message]
    except NegentropyError:
        return
    for answer in answers:
        if answer is not None:
            list(read_ranges(answer))
            assert not limit or len(answer) <= limit


def _of_equal_and_one_different(equal: int) -> bytes:
    """Make a message of `equal` ranges that hold nothing on either side, then one that differs."""
    out = RangeWriter()
    for time_stamp in range(1, equal + 1):
        out.fingerprint(key(time_stamp, b""), FINGERPRINT_OF_NOTHING)
    out.fingerprint(INFINITY, b"\xaa" * 16)
    return out.message()


def test_ranges_beyond_the_most_are_answered_by_one_fingerprint() -> None:
    """The last range that is worked on is answered in ids; one more, and it is put off, not lost."""
    items = SortedItems(some_keys(Random(2), 20, 1000) and {key(10**6, bytes([n]) * 32) for n in range(20)})
    side = Negentropy(items)
    *_, worked_on = read_ranges(side.respond(_of_equal_and_one_different(RANGES_MAX - 1)))
    assert (worked_on.mode, len(worked_on.ids)) == (Mode.ID_LIST, 20)
    *_, put_off = read_ranges(side.respond(_of_equal_and_one_different(RANGES_MAX)))
    assert (put_off.mode, put_off.payload) == (Mode.FINGERPRINT, fingerprint(items, 0, 20))


def test_a_hostile_message_costs_a_bounded_number_of_look_ups() -> None:
    """A mebibyte of the smallest ranges causes no more ranks than RANGES_MAX."""

    class Counting(SortedItems):
        ranks = 0

        def rank(self, key: bytes) -> int:
            self.ranks += 1
            return super().rank(key)

    items = Counting(some_keys(Random(3), 1000, 10**6))
    side = Negentropy(items, 64 * 1024)
    for flood in (b"\x02\x00\x00", b"\x02\x00\x02\x00", b"\x02\x00\x01" + FINGERPRINT_OF_NOTHING):
        items.ranks = 0
        side.respond(b"\x61" + flood * (2**20 // len(flood)))
        assert 1000 < items.ranks <= RANGES_MAX


@pytest.mark.parametrize("have_max", [0, 7, 100])
def test_a_peer_that_lists_nothing_has_no_more_named_or_looked_at_than_was_asked(have_max: int) -> None:
    """32 bytes that say "I hold nothing" must not make a node list a million keys."""

    class Counting(SortedItems):
        seen = 0

        def keys(self, begin: int, end: int) -> list[bytes]:
            self.seen += end - begin
            return super().keys(begin, end)

    keys = sorted(some_keys(Random(5), 1000, 10**6))
    items = Counting(keys)
    ours, theirs = RangeWriter(), b"\xbb" * 32
    ours.id_list(INFINITY, [keys[3], bytes(8) + theirs])
    step = Negentropy(items).reconcile(ours.message(), have_max)

    assert step.have == [k for k in keys if k != keys[3]][:have_max]
    assert theirs in step.need
    assert {theirs, keys[3][8:]} >= set(step.need)
    assert items.seen <= have_max + 2


def test_a_full_frame_never_hides_that_the_peer_has_nothing_in_the_rest() -> None:
    """An initiator whose frame is full puts off a range the peer holds nothing in, and says so truly.

    The rest is stated in one fingerprint. Were it the fingerprint of what lies beyond that range, here of
    nothing, the peer would take the rest for equal and the initiator's keys there would never be told.
    """
    keys = sorted(some_keys(Random(4), 5 * 23 + 100, 10**9))
    items = SortedItems(keys)
    message = RangeWriter()
    for cut in range(23, 5 * 23 + 1, 23):  # five lists of 23 ids leave no room for sixteen fingerprints
        message.fingerprint(separating_bound(keys[cut - 1], keys[cut]), b"\xaa" * 16)
    message.fingerprint(INFINITY, FINGERPRINT_OF_NOTHING)
    answer = Negentropy(items, FRAME_BYTES_MIN).reconcile(message.message()).message
    assert answer is not None
    *lists, rest = read_ranges(answer)
    assert [len(r.ids) for r in lists] == [23] * 5
    assert (rest.upper, rest.payload) == (INFINITY, fingerprint(items, 5 * 23, len(items)))


def test_a_list_that_fills_the_frame_is_cut_only_if_something_is_left() -> None:
    """4096 bytes list 122 ids: of exactly as many nothing is left to state, of one more a rest of one."""
    everything = bytes.fromhex("61 00 00 02 00")
    keys = sorted(some_keys(Random(7), 123, 10**9))
    (whole,) = read_ranges(Negentropy(SortedItems(keys[:122]), FRAME_BYTES_MIN).respond(everything))
    assert (whole.upper, len(whole.ids)) == (INFINITY, 122)
    items = SortedItems(keys)
    cut, rest = read_ranges(Negentropy(items, FRAME_BYTES_MIN).respond(everything))
    assert (cut.upper, len(cut.ids)) == (keys[122], 122)
    assert (rest.upper, rest.payload) == (INFINITY, fingerprint(items, 122, 123))
