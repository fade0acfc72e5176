"""Who waits for nodes to hold a record: how many may, for how long, and what is left of it."""

from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trio.testing

from cluster.exports import CONFIRM_DIGESTS_MAX
from node.config import gather, load
from node.exports import Node, ReceiptsFull
from node.histogram import Histogram
from node.receipts import WAITING_RECORDS_MAX


@pytest.fixture
async def node(tmp_path: Path) -> Node:
    """A node that seeks nobody."""
    none = tmp_path / "none.toml"
    none.touch()
    return Node(load(gather({"multicast": ["off"]}, {}, none)))


def store(node: Node, count: int) -> list[bytes]:
    """Post records; return their digests."""
    records = [node.submit(f"{n}", "raw", None).record for n in range(count)]
    return [r.digest for r in records if r is not None]


async def test_clients_wait_for_so_many_records_and_the_next_is_refused(node: Node) -> None:
    """At the bound it works; one more does not; and what has ended makes room."""
    with node.receipts.begin(WAITING_RECORDS_MAX, None, 1):
        with pytest.raises(ReceiptsFull):
            node.receipts.begin(1, None, 1)
        assert node.receipts.waiting_records == WAITING_RECORDS_MAX
    with node.receipts.begin(1, None, 1):
        assert node.receipts.waiting_records == 1
    assert node.receipts.waiting_records == 0


async def test_more_than_one_question_holds_is_asked_in_parts_and_nothing_is_left(node: Node) -> None:
    """Alone all is settled at once; afterwards no table has an entry, however the block ended."""
    digests = store(node, 2 * CONFIRM_DIGESTS_MAX + 1)
    with suppress(RuntimeError), node.receipts.begin(len(digests), None, 60) as receipt:
        receipt.ask(digests)
        assert len(node.cluster.engine.receipts) == 3
        await receipt.wait()
        assert {(r.ok, r.of) for r in receipt.reaches().values()} == {(1, 1)}
        assert len(receipt.reaches()) == len(digests)
        raise RuntimeError
    assert len(node.cluster.engine.receipts) == 0
    assert node.receipts.by_number == {}


async def test_a_record_that_is_not_held_any_more_is_not_waited_for(
    node: Node, autojump_clock: trio.testing.MockClock
) -> None:
    """Nobody can come to hold it through this node; the answer is 0, at once, and it falls short."""
    with node.receipts.begin(1, 5, 60) as receipt:
        receipt.ask([b"never held".ljust(32)])
        await receipt.wait()
        ((_, reach),) = receipt.reaches().items()
    assert trio.current_time() < 1
    assert (reach.ok, receipt.falls_short(reach)) == (0, True)


def test_a_histogram_counts_what_equals_a_bound_below_it() -> None:
    """As Prometheus does: `le` is less or equal."""
    seen = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 7):
        seen.observe(seconds)
    assert seen.counts == [2, 1, 1]
    assert seen.sum == pytest.approx(7.65)
