"""What waits for a peer: bounded, in the right order, nothing lost silently."""

from collections.abc import Sequence

import pytest

from cluster.codec import FrameReader, encode, encode_push
from cluster.exports import Admitted, Items, WireRecord
from cluster.messages import IHave, Message, Page, Ping, Push
from cluster.negentropy import SortedItems
from cluster.outbox import BULK_MAX, CONTROL_BYTES_MAX, EAGER_BYTES_MAX, SLICE_RECORDS, Outbox
from validator import Record, sign


class Shelf:
    """A desk with some records on it."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = list(records)
        self.slices: list[int] = []  # how many were looked up at a time

    def admit(self, records: Sequence[WireRecord], peer: str) -> Admitted:
        """Admit nothing."""
        return Admitted()

    def lookup(self, digests: Sequence[bytes]) -> list[Record]:
        """As `cluster.Desk.lookup`."""
        self.slices.append(len(digests))
        by_digest = {r.digest: r for r in self.records}
        return [by_digest[d] for d in digests if d in by_digest]

    def listing(self, after: bytes, count_max: int) -> list[Record]:
        """As `cluster.Desk.listing`."""
        self.slices.append(count_max)
        rest = [r for r in sorted(self.records, key=lambda r: r.key) if r.key > after]
        return rest[:count_max]

    def has(self, digest: bytes) -> bool:
        """As `cluster.vocabulary.Holdings.has`."""
        return any(r.digest == digest for r in self.records)

    def window(self, lower_ms: int, upper_ms: int) -> Items:
        """As `cluster.vocabulary.Holdings.window`."""
        return SortedItems([])

    def __len__(self) -> int:
        return len(self.records)


def record(number: int, size: int = 100) -> Record:
    """A record of about this size."""
    raw = "x" * size
    return Record.of(f"{number:06}", raw, sign(raw), number)


def drain(outbox: Outbox) -> list[Message]:
    """Everything that would be written, in order."""
    reader, messages = FrameReader(), list[Message]()
    while data := outbox.next_write():
        messages += reader.feed(data)
    return messages


PING = Ping(1, 2, 3, 4, 5, 6, bytes(16))


def test_messages_go_before_records_and_records_before_what_was_asked_for() -> None:
    """Liveness is not delayed by payloads, nor fresh records by a catch-up."""
    shelf = Shelf([record(1), record(2), record(3), record(4)])
    outbox = Outbox(shelf)
    outbox.serve([shelf.records[0].digest])
    outbox.serve_page(b"")
    outbox.push(encode_push([record(9)]))
    outbox.send(PING)
    kinds = [type(m) for m in drain(outbox)]

    assert kinds == [Ping, Push, Push, Page]


def test_an_empty_outbox_has_nothing_to_write() -> None:
    """The writer sleeps then."""
    assert Outbox(Shelf([])).next_write() == b""


def test_what_was_asked_for_comes_whole_and_in_order_in_batches() -> None:
    """However large the records are."""
    shelf = Shelf([record(n, 7_000) for n in range(100)] + [record(n, 300_000) for n in range(100, 105)])
    outbox = Outbox(shelf)
    outbox.serve([r.digest for r in shelf.records])
    got = [r.id for m in drain(outbox) if isinstance(m, Push) for r in m.records]

    assert got == [r.id for r in shelf.records]


def test_what_is_not_held_any_more_is_left_out() -> None:
    """Expired meanwhile: no frame at all."""
    outbox = Outbox(Shelf([]))
    outbox.serve([bytes(32)] * 1000)

    assert drain(outbox) == []


def test_the_eager_lane_refuses_at_its_bound_and_takes_again_when_drained() -> None:
    """The caller is told, so that it can announce instead."""
    outbox = Outbox(Shelf([]))
    frame = encode_push([record(1, 60_000)])
    pushed = 0
    while outbox.push(frame):
        pushed += 1
    assert pushed == EAGER_BYTES_MAX // len(frame)
    outbox.next_write()

    assert outbox.push(frame)


def test_the_control_lane_refuses_at_its_bound() -> None:
    """A peer that reads nothing does not fill the memory."""
    outbox = Outbox(Shelf([]))
    while outbox.send(IHave(b"", bytes(32 * 1000))):
        pass

    assert CONTROL_BYTES_MAX - 33_000 < outbox.queued_bytes <= CONTROL_BYTES_MAX


def test_the_bulk_lane_is_bounded() -> None:
    """A peer cannot ask for more than so many at a time: what it asked for last is left out."""
    shelf = Shelf([record(1, 10)])
    outbox = Outbox(shelf)
    outbox.serve([n.to_bytes(32, "big") for n in range(BULK_MAX)])
    outbox.serve([shelf.records[0].digest])
    assert drain(outbox) == []
    outbox.serve([n.to_bytes(32, "big") for n in range(BULK_MAX - 1)])
    outbox.serve([shelf.records[0].digest])

    assert len(drain(outbox)) == 1


def test_what_is_asked_for_twice_is_sent_once() -> None:
    """A peer that lost patience does not get everything again."""
    shelf = Shelf([record(1), record(2)])
    outbox = Outbox(shelf)
    outbox.serve([r.digest for r in shelf.records])
    outbox.serve([r.digest for r in shelf.records])
    got = [r.id for m in drain(outbox) if isinstance(m, Push) for r in m.records]

    assert got == ["000001", "000002"]


def pages(outbox: Outbox) -> list[Page]:
    """Read all pages one after the other."""
    read, after = list[Page](), b""
    while not read or read[-1].more:
        outbox.serve_page(after)
        (page,) = drain(outbox)
        assert isinstance(page, Page)
        read.append(page)
        after = page.last
    return read


@pytest.mark.parametrize("bytes_max", [0, 200, 1000, 65_536])
@pytest.mark.parametrize("count", [0, 1, 4, SLICE_RECORDS, SLICE_RECORDS + 1, 3 * SLICE_RECORDS])
def test_pages_are_bounded_and_together_all_in_order(count: int, bytes_max: int) -> None:
    """At least one record a page even if it is larger than the page; each says where to go on."""
    shelf = Shelf([record(n) for n in range(count)])
    read = pages(Outbox(shelf, bytes_max))

    assert [r.id for page in read for r in page.records] == [r.id for r in shelf.records]
    assert all(len(p.records) <= 1 or len(encode(p)) <= bytes_max + 100 for p in read)
    assert read[-1] == Page(read[-1].records, read[-1].last, False)


def test_an_empty_page_ends_where_it_began() -> None:
    """What came after was over when it was asked for."""
    outbox = Outbox(Shelf([]))
    outbox.serve_page(b"after")

    assert drain(outbox) == [Page([], b"after", False)]


def test_what_was_asked_for_is_looked_up_in_slices_and_written_whole() -> None:
    """Between two slices others have their turn; whoever writes meanwhile is not held up by it."""
    shelf = Shelf([record(n, 10) for n in range(500)])
    outbox = Outbox(shelf)
    outbox.serve([r.digest for r in shelf.records])
    outbox.serve_page(b"")
    assert outbox.gather()
    outbox.send(PING)
    (ping,) = FrameReader().feed(outbox.next_write())
    while outbox.gather():
        pass
    wanted, shelf.slices = shelf.slices, []
    (push,) = FrameReader().feed(outbox.next_write())
    (page,) = drain(outbox)

    assert isinstance(ping, Ping)
    assert isinstance(push, Push)
    assert isinstance(page, Page)
    assert len(push.records) == len(page.records) == 500
    assert wanted == [SLICE_RECORDS] * (500 // SLICE_RECORDS) + [500 % SLICE_RECORDS]  # none twice
    assert shelf.slices == [SLICE_RECORDS] * len(wanted)


def test_what_was_asked_for_comes_however_much_else_there_is_to_write() -> None:
    """A slice is gathered with each write: something is always queued, and yet the peer is served."""
    shelf = Shelf([record(n, 10) for n in range(500)])
    outbox = Outbox(shelf)
    outbox.serve([r.digest for r in shelf.records])
    outbox.serve_page(b"")
    heard: list[Message] = []
    for _ in range(30):
        outbox.send(PING)
        heard += FrameReader().feed(outbox.next_write())

    assert [len(m.records) for m in heard if isinstance(m, Push | Page)] == [500, 500]


def test_what_is_not_held_any_more_does_not_keep_a_page_waiting() -> None:
    """All of what was wanted is gone: the page goes."""
    outbox = Outbox(Shelf([record(1)]))
    outbox.serve([bytes(32)])
    outbox.serve_page(b"")

    assert [type(message) for message in drain(outbox)] == [Page]
