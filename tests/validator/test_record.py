"""What makes a record itself: canonical bytes, digest, key."""

import hashlib
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors import MD5_TWINS, MD5_TWINS_SIGNATURE
from validator import KEY_BYTES, Record, key_bound, sign
from validator.record import TIME_STAMP_MAX, canonical_bytes

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
few = st.text("ab\x00é", max_size=3)
times = st.integers(0, TIME_STAMP_MAX) | st.integers(0, 3)
facts = st.tuples(few | texts, few | texts, few | texts, times)

Facts = tuple[str, str, str, int]


def parse_canonical(data: bytes) -> Facts:
    """Read canonical bytes back, from the layout as documented alone."""
    time_stamp, *sizes = struct.unpack_from(">QIII", data)
    at, found = 20, list[str]()
    for size in sizes:
        found.append(data[at : at + size].decode())
        at += size
    assert at == len(data)
    return found[0], found[1], found[2], time_stamp


@given(facts)
def test_canonical_bytes_can_be_read_back(f: Facts) -> None:
    """What can be read back is injective: no two different records share their canonical bytes."""
    assert parse_canonical(canonical_bytes(*f)) == f


@given(facts, facts)
def test_records_are_equal_exactly_when_their_keys_are(f: Facts, g: Facts) -> None:
    """The key is the record's identity."""
    assert (Record.of(*f).key == Record.of(*g).key) == (f == g)


def test_moving_a_character_between_fields_changes_the_digest() -> None:
    """Texts joined without their lengths would collide."""
    digests = {
        Record.of(*f, 1).digest
        for f in [("ab", "c", "d"), ("a", "bc", "d"), ("a", "b", "cd"), ("", "abc", "d")]
    }
    assert len(digests) == 4


@given(st.lists(facts, max_size=8))
def test_keys_order_records_by_time_and_then_by_digest(many: list[Facts]) -> None:
    """One byte string orders as the pair does, up to the largest time stamp."""
    records = [Record.of(*f) for f in many]
    by_pair = sorted(records, key=lambda r: (r.time_stamp, r.digest))
    assert sorted(records, key=lambda r: r.key) == by_pair


def test_a_key_is_the_time_stamp_and_the_sha256_of_the_canonical_bytes() -> None:
    """The layout is fixed: other implementations and other versions must arrive at the same key."""
    record = Record.of("id", "ráw", "sig", 1_800_000_000_000)
    laid_out = bytes.fromhex("000001a3185c5000 00000002 00000004 00000003") + "idráwsig".encode()
    assert record.key == bytes.fromhex("000001a3185c5000") + hashlib.sha256(laid_out).digest()
    assert len(record.key) == KEY_BYTES
    assert record.digest == record.key[8:]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_lone_surrogates_make_no_record(place: int) -> None:
    """A text without a UTF-8 form could be neither hashed nor sent; it fails at once, as a ValueError."""
    given_texts = ["a", "b", "c"]
    given_texts[place] = "x\ud800"
    with pytest.raises(UnicodeEncodeError):
        Record.of(given_texts[0], given_texts[1], given_texts[2], 1)
    assert issubclass(UnicodeEncodeError, ValueError)


@pytest.mark.parametrize("time_stamp", [-1, 2**63, 2**64])
def test_a_time_stamp_that_no_key_can_hold_makes_no_record(time_stamp: int) -> None:
    """The bounds are those of the wire; the message names the value."""
    with pytest.raises(ValueError, match=str(time_stamp)):
        Record.of("a", "b", "c", time_stamp)


@pytest.mark.parametrize("time_stamp", [0, 2**63 - 1])
def test_the_largest_and_smallest_time_stamps_make_records(time_stamp: int) -> None:
    """The edges themselves are in."""
    assert int.from_bytes(Record.of("a", "b", "c", time_stamp).key[:8], "big") == time_stamp


def test_a_record_cannot_be_changed() -> None:
    """Records are shared between rooms and tasks; nobody can alter one under another."""
    record = Record.of("a", "b", "c", 1)
    with pytest.raises(AttributeError):
        record.raw = "x"  # type: ignore[misc]  # that it cannot be done is the test
    assert msgspec.structs.replace(record, raw="b") == record


def test_texts_that_share_their_md5_are_different_records() -> None:
    """MD5 takes no part in identity."""
    one, other = (Record.of("a", raw, MD5_TWINS_SIGNATURE, 1) for raw in MD5_TWINS)
    assert sign(one.raw) == sign(other.raw) == MD5_TWINS_SIGNATURE
    assert one.digest != other.digest


def test_the_case_of_a_signature_is_part_of_the_record() -> None:
    """A signature is kept as given, so it is part of what must agree."""
    assert Record.of("a", "b", "ABC", 1).digest != Record.of("a", "b", "abc", 1).digest


@given(facts)
def test_a_records_size_is_that_of_its_texts_in_utf8(f: Facts) -> None:
    """What store and frames count is bytes, not characters."""
    assert Record.of(*f).size_bytes == sum(len(t.encode()) for t in f[:3])


@given(facts, st.integers(-5, TIME_STAMP_MAX + 5))
def test_a_bound_parts_records_before_a_time_from_the_rest(f: Facts, time_stamp: int) -> None:
    """Ranges of keys are ranges of time; a bound out of range is clamped."""
    record, bound = Record.of(*f), key_bound(time_stamp)
    assert len(bound) == KEY_BYTES
    assert (record.key < bound) == (record.time_stamp < min(time_stamp, TIME_STAMP_MAX))
