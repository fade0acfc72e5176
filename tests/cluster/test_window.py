"""How far a peer is behind: counted in acknowledged records, bounded both ways."""

import tracemalloc

import pytest

from cluster.messages import WireRecord
from cluster.window import (
    ACK_BYTES,
    ACK_RECORDS,
    BEHIND_BYTES,
    BEHIND_RECORDS,
    ReceiveWindow,
    SendWindow,
    crowded,
)


def records(count: int, raw_bytes: int = 1) -> list[WireRecord]:
    """Records as they travel."""
    return [WireRecord(str(n), "x" * raw_bytes, "", n) for n in range(count)]


def behind() -> SendWindow:
    """The window of a peer that is one record behind its bound."""
    window = SendWindow()
    window.pushed(BEHIND_RECORDS + 1, 0)
    return window


def test_a_peer_is_behind_above_its_bound_of_records_until_it_acknowledges_some() -> None:
    """At the bound it is not yet."""
    window = SendWindow()
    window.pushed(BEHIND_RECORDS, 0)
    at_the_bound = window.behind
    window.pushed(1, 0)
    above = window.behind
    window.acked(1)

    assert (at_the_bound, above, window.behind) == (False, True, False)


def test_a_peer_is_behind_above_its_bound_of_bytes_until_it_acknowledges_a_frame() -> None:
    """A few large records are as much to wait for as many small ones; half a frame frees nothing."""
    window = SendWindow()
    window.pushed(2, BEHIND_BYTES)
    at_the_bound = window.behind
    window.pushed(2, 1)
    above = window.behind
    window.acked(1)
    half_a_frame = window.behind
    window.acked(2)

    assert (at_the_bound, above, half_a_frame, window.behind) == (False, True, True, False)


def test_who_is_given_up_is_not_waited_for_until_it_acknowledges_something() -> None:
    """A deaf peer delays nobody twice; one that wakes is waited for again."""
    window = behind()
    window.pushed(BEHIND_RECORDS, 0)
    window.give_up()
    given_up = window.behind
    window.acked(1)

    assert (given_up, window.behind) == (False, True)


def test_what_a_peer_that_never_acknowledges_costs_is_bounded() -> None:
    """A post a second for days leaves no trace of each; the counts stay right, coarse where it is behind."""
    window = SendWindow()
    tracemalloc.start()
    for _ in range(100_000):
        window.pushed(1, 100)
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    before = window.behind
    acked = window.acked(100_000)

    assert held_bytes < 1_000_000
    assert (before, acked, window.behind) == (True, True, False)


@pytest.mark.parametrize("absurd", [-1, 4, 11])
def test_what_cannot_have_been_admitted_is_not_noted(absurd: int) -> None:
    """Less than before, or more than was ever pushed: the peer made it up."""
    window = SendWindow()
    window.pushed(10, 100)

    assert window.acked(5)
    assert not window.acked(absurd)
    assert window.acked(10)


def test_a_receiver_acknowledges_after_so_many_records_and_all_of_them() -> None:
    """Counts are cumulative; a single post costs no acknowledgement."""
    window = ReceiveWindow()

    assert window.take(records(ACK_RECORDS - 1)) == 0
    assert window.take(records(1)) == ACK_RECORDS
    assert window.take(records(1)) == 0
    assert window.take(records(ACK_RECORDS)) == 2 * ACK_RECORDS + 1


def test_a_receiver_acknowledges_after_so_many_bytes() -> None:
    """A sender that waits for room of bytes is told of it."""
    window = ReceiveWindow()

    assert window.take(records(1, ACK_BYTES - 1)) == 0
    assert window.take(records(1)) == 2


def test_a_receiver_acknowledges_long_before_its_sender_waits() -> None:
    """Else both would wait for each other: what is never acknowledged must fit into the window."""
    assert 2 * ACK_RECORDS <= BEHIND_RECORDS
    assert 2 * ACK_BYTES <= BEHIND_BYTES


def test_no_sender_of_texts_of_four_bytes_a_character_waits_for_nothing() -> None:
    """Both sides count bytes: whoever is taken to be behind has an acknowledgement coming."""
    sender, receiver = SendWindow(), ReceiveWindow()
    largest_pushed = [WireRecord("id", "\N{FIRE}" * (16 * 1024 - 1), "", 1)]
    while not (pushed := receiver.take(largest_pushed)):
        sender.pushed(1, 4 * len(largest_pushed[0].raw) + 100)
        assert not sender.behind

    assert pushed == 2


@pytest.mark.parametrize(
    ("slow", "peers", "wait"),
    [(0, 0, False), (0, 1, False), (1, 1, True), (1, 2, True), (1, 4, False), (2, 9, False), (3, 9, True)],
)
def test_a_batch_waits_when_more_than_a_quarter_of_the_peers_are_behind(
    slow: int, peers: int, *, wait: bool
) -> None:
    """One slow peer among four slows nobody; alone there is nobody to wait for."""
    windows = [behind() for _ in range(slow)] + [SendWindow() for _ in range(peers - slow)]

    assert crowded(windows) is wait
