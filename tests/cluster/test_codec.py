"""Messages survive the wire; bytes that are no messages cost nothing."""

import contextlib
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster import messages as m
from cluster.codec import (
    BATCH_BYTES,
    FRAME_BYTES_MAX,
    RECORD_OVERHEAD_BYTES,
    FrameError,
    FrameReader,
    batches,
    encode,
    encode_push,
    split_digests,
)
from validator import RAW_BYTES_MAX, Record, sign

texts = st.text(max_size=40)
counts = st.integers(0, 2**63 - 1)
ids = st.binary(min_size=16, max_size=16)
wire_records = st.lists(st.builds(m.WireRecord, texts, texts, texts, counts), max_size=5)
origins = st.just(b"") | ids
members = st.lists(st.builds(m.Member, ids, texts), max_size=4)
paths = st.lists(ids, max_size=17).map(b"".join)
hops = st.integers(0, 16)
digests = st.lists(st.binary(min_size=32, max_size=32), max_size=5).map(b"".join)
messages = st.one_of(
    st.builds(
        m.Hello, counts, counts, st.lists(texts, max_size=3), ids, counts, texts, texts,
        st.integers(0, 65535), texts, texts, counts, counts, texts, counts, counts,
    ),
    st.builds(m.Ready),
    st.builds(m.Bye, texts, texts),
    st.builds(m.Ping, counts, counts, counts, counts, counts, counts, ids),
    st.builds(m.Pong, counts, counts, counts, counts, ids),
    st.builds(m.Push, wire_records, origins),
    st.builds(m.IHave, origins, digests),
    st.builds(m.Want, digests),
    st.builds(m.Reconcile, counts, counts, st.binary(max_size=60)),
    st.builds(m.Reconciled, counts, counts, st.binary(max_size=60)),
    st.builds(m.Fetch, st.binary(max_size=40)),
    st.builds(m.Page, wire_records, st.binary(max_size=40), st.booleans()),
    st.builds(m.Peers, members),
    st.builds(m.Prune, ids),
    st.builds(m.Graft, paths),
    st.builds(m.ForwardJoin, st.builds(m.Member, ids, texts), hops),
    st.builds(m.Shuffle, members, paths, hops),
    st.builds(m.Shuffled, members, paths),
    st.builds(m.Confirm, ids, counts, digests.filter(bool), counts, st.booleans()),
    st.builds(m.Held, ids, counts, st.lists(st.integers(0, 65_535), max_size=5)),
)  # fmt: skip


def frame(number: int, body: bytes, flags: int = 1) -> bytes:
    """Lay out a frame by hand."""
    return struct.pack(">IBB", len(body) + 2, number, flags) + body


@given(st.lists(messages, max_size=6), st.data())
def test_every_message_survives_the_wire_however_it_is_cut(
    sent: list[m.Message], data: st.DataObject
) -> None:
    """What was encoded comes out equal and in order, for any cutting of the byte stream."""
    stream = b"".join(map(encode, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader, received = FrameReader(), list[m.Message]()
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received += reader.feed(stream[start:end])

    assert sent == received


@given(st.binary(max_size=200))
def test_hostile_bytes_are_a_frame_error_or_wait_for_more(junk: bytes) -> None:
    """Random bytes never raise anything but FrameError."""
    with contextlib.suppress(FrameError):
        list(FrameReader().feed(junk))


@given(messages, st.integers(0, 10**6), st.integers(0, 255))
def test_a_damaged_frame_is_a_frame_error_or_a_valid_message(message: m.Message, at: int, value: int) -> None:
    """One wrong byte never raises anything but FrameError."""
    damaged = bytearray(encode(message))
    damaged[at % len(damaged)] = value
    with contextlib.suppress(FrameError):
        list(FrameReader().feed(bytes(damaged)))


@pytest.mark.parametrize("length", [0, 1, FRAME_BYTES_MAX + 1, 2**32 - 1])
def test_a_length_out_of_bounds_is_refused_before_anything_follows(length: int) -> None:
    """The length is judged from the header alone."""
    with pytest.raises(FrameError, match=str(length)):
        list(FrameReader().feed(struct.pack(">IBB", length, 6, 1)))


def test_the_largest_length_is_waited_for() -> None:
    """A frame of exactly the limit is no error."""
    assert list(FrameReader().feed(struct.pack(">IBB", FRAME_BYTES_MAX, 6, 1))) == []


def test_an_unknown_frame_is_skipped_unless_it_is_critical() -> None:
    """A later release may add messages; only those marked critical end the link."""
    ping = m.Ping(1, 2, 3, 4, 5, 6, bytes(16))
    assert [ping] == list(FrameReader().feed(frame(200, b"whatever", flags=0) + encode(ping)))
    with pytest.raises(FrameError, match="200"):
        list(FrameReader().feed(frame(200, b"whatever", flags=1)))


@pytest.mark.parametrize("message", [m.Confirm(bytes(16), 1, b"", 1), m.Held(bytes(16), 1, [])])
def test_a_node_that_knows_no_receipts_keeps_its_link(message: m.Message) -> None:
    """To it the frame is an unknown one that is not critical; of all others it must say so."""
    assert encode(message)[5] == 0
    assert encode(m.Ready())[5] == 1


def test_unknown_fields_at_the_end_are_ignored() -> None:
    """A later release may add fields to a message."""
    body = msgspec.msgpack.encode([7, 8, 9, 10, bytes(16), "new", {"more": 1}])
    assert [m.Pong(7, 8, 9, 10, bytes(16))] == list(FrameReader().feed(frame(5, body)))


@pytest.mark.parametrize(
    "body",
    [
        b"\xc1",
        b"\x91" * 100_000,
        msgspec.msgpack.encode([["a", "b", "c", -1]]),
        msgspec.msgpack.encode([[["id", "raw", "sig", 1.5]]]),
        msgspec.msgpack.encode([[["id", "raw", "sig", "now"]]]),
        msgspec.msgpack.encode([[["id", "raw", "sig"]]]),
        b"\x91\x91\x94\xa2\xff\xfe\xa1a\xa1b\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\xc7\x04\x01abcd",
    ],
    ids=["reserved", "deep", "flat", "float", "text time", "short", "utf-8", "2^32 items", "ext"],
)
def test_a_malformed_push_is_a_frame_error(body: bytes) -> None:
    """Bombs and wrong types end the link and raise nothing else."""
    with pytest.raises(FrameError, match="Push"):
        list(FrameReader().feed(frame(6, body)))


@pytest.mark.parametrize("number", [7, 8])
def test_digests_that_are_not_whole_are_a_frame_error(number: int) -> None:
    """IHAVE and WANT carry whole digests or nothing."""
    body = msgspec.msgpack.encode([b"", bytes(33)] if number == 7 else [bytes(33)])
    with pytest.raises(FrameError, match="33 bytes"):
        list(FrameReader().feed(frame(number, body)))


def test_messages_before_a_bad_frame_are_still_delivered() -> None:
    """What was complete and good counts."""
    ping = m.Ping(1, 2, 3, 4, 5, 6, bytes(16))
    received = list[m.Message]()
    with pytest.raises(FrameError):
        received.extend(FrameReader().feed(encode(ping) + struct.pack(">IBB", 1, 0, 0)))
    reader = FrameReader()
    iterator = reader.feed(encode(ping) + struct.pack(">IBB", 1, 0, 0))

    assert ping == next(iterator)


def test_the_largest_record_fits_a_frame() -> None:
    """A record at every limit can be pushed."""
    raw = "x" * RAW_BYTES_MAX
    record = Record.of("i" * 256, raw, "s" * 256, 2**63 - 1)

    assert len(encode_push([record])) - 4 <= FRAME_BYTES_MAX


def test_batches_are_cut_at_their_size_and_lose_nothing() -> None:
    """Every record comes once, in order; each batch but a lone large record stays within the size."""
    raws = ["a" * 100] * 700 + ["b" * 100_000] + ["c" * 30_000] * 5
    records = [Record.of(f"{i}", raw, sign(raw), i) for i, raw in enumerate(raws)]
    cut = list(batches(records))

    assert records == [r for batch in cut for r in batch]
    assert all(
        len(batch) == 1 or sum(r.size_bytes + RECORD_OVERHEAD_BYTES for r in batch) <= BATCH_BYTES
        for batch in cut
    )
    assert all(len(encode_push(batch)) <= BATCH_BYTES + 64 for batch in cut if len(batch) > 1)


def test_an_announcement_may_be_as_long_as_is_said() -> None:
    """The most that one may name; one more is refused below."""
    longest = m.IHave(b"", b"x" * 32 * m.IHAVE_DIGESTS_MAX)
    assert list(FrameReader().feed(encode(longest))) == [longest]


def test_joined_digests_come_apart() -> None:
    """Splitting is the reverse of joining."""
    parts = [bytes([i]) * 32 for i in range(5)]
    assert parts == split_digests(b"".join(parts))


@pytest.mark.parametrize(
    "bad",
    [
        m.Push([], b"12345"),
        m.IHave(b"x", b""),
        m.IHave(b"", b"x" * 33),
        m.IHave(b"", b"x" * 32 * (m.IHAVE_DIGESTS_MAX + 1)),
        m.Want(b"x"),
        m.Graft(b"x" * 17),
        m.Shuffle([], b"x", 1),
        m.Shuffle([], b"x" * 16 * 18, 1),
        m.Shuffled([], b"x" * 15),
        m.Confirm(bytes(16), 1, b"", 1),
        m.Confirm(bytes(16), 1, b"x" * 33, 1),
        m.Confirm(bytes(16), 1, b"x" * 32 * 257, 1),
        m.Held(bytes(16), 1, [0] * 257),
        m.Held(bytes(16), 1, [65_536]),
    ],
)
def test_ids_and_digests_must_be_whole(bad: m.Message) -> None:
    """Else an honest node would pass on what the next one bans it for."""
    with pytest.raises(FrameError):
        list(FrameReader().feed(encode(bad)))


@pytest.mark.parametrize("number", [6, 12])
def test_a_frame_of_more_records_than_any_node_sends_is_refused_before_they_are_made(number: int) -> None:
    """Empty records by the hundred thousand would take a hundred times their frame's size; the most pass."""

    def body(count: int) -> bytes:
        return msgspec.msgpack.encode([[["", "", "", 0]] * count, b"", False][: 3 if number == 12 else 2])

    [most] = FrameReader().feed(frame(number, body(m.FRAME_RECORDS_MAX)))
    assert isinstance(most, m.Push | m.Page)
    assert len(most.records) == m.FRAME_RECORDS_MAX
    with pytest.raises(FrameError):
        list(FrameReader().feed(frame(number, body(m.FRAME_RECORDS_MAX + 1))))
    smallest = Record.of("i", "r", "s", 0)
    assert max(map(len, batches([smallest] * 10_000))) <= m.FRAME_RECORDS_MAX


@given(st.integers(2, 300))
def test_a_reader_takes_frames_up_to_its_own_bound(frame_bytes_max: int) -> None:
    """The bound counts what follows the length field, and can be raised once the peer is known."""
    largest = frame(200, bytes(frame_bytes_max - 2), flags=0)
    assert list(FrameReader(frame_bytes_max).feed(largest)) == []
    reader = FrameReader(frame_bytes_max - 1)
    with pytest.raises(FrameError, match=f"not in 2 to {frame_bytes_max - 1}"):
        list(reader.feed(largest[:6]))
    raised = FrameReader(frame_bytes_max - 1)
    raised.frame_bytes_max = frame_bytes_max
    assert list(raised.feed(largest)) == []
