"""Missing records are asked for once at a time, not too early, and from whoever has them."""

from collections.abc import Callable

import pytest

from cluster.pull import (
    ASK_TIMEOUT_S,
    ASKED_MAX,
    BEHIND_S_MAX,
    FULL_PAUSE_S,
    GRAFT_S_MAX,
    GRAFT_S_MIN,
    GRAFT_S_START,
    STREAM_S,
    STREAMS_MAX,
    TRIES_MAX,
    Ask,
    Pull,
)
from cluster.shares import FOUND_MAX, MISSING_MAX, SHARE_MAX

A, B, C = (bytes([i]) * 16 for i in (1, 2, 3))


def digest(number: int) -> bytes:
    """A digest to speak of."""
    return number.to_bytes(32, "big")


def wants(asks: list[Ask]) -> dict[bytes, list[bytes]]:
    """Who is asked for what."""
    return {ask.peer: ask.digests for ask in asks}


def test_what_nobody_will_push_is_asked_for_at_once() -> None:
    """A reconciled or orphaned record does not wait."""
    pull = Pull()
    pull.announced(A, b"", [digest(1), digest(2)], 10.0, at_once=True)

    assert {A: [digest(1), digest(2)]} == wants(pull.tick(10.0))


def test_what_is_on_its_way_is_given_time_and_then_asked_for() -> None:
    """The graft timer: not before, at the latest then."""
    pull = Pull()
    pull.announced(A, C, [digest(1)], 10.0, at_once=False)

    assert pull.tick(10.0 + GRAFT_S_START - 0.001) == []
    assert pull.deadline_s == 10.0 + GRAFT_S_START
    assert {A: [digest(1)]} == wants(pull.tick(10.0 + GRAFT_S_START))


def test_a_record_announced_by_many_is_asked_of_one() -> None:
    """One request in flight, whoever else announces it."""
    pull = Pull()
    pull.announced(A, b"", [digest(1)], 0.0, at_once=True)
    assert {A: [digest(1)]} == wants(pull.tick(0.0))
    pull.announced(B, b"", [digest(1)], 0.1, at_once=True)

    assert pull.tick(0.2) == []


def test_an_unanswered_request_goes_to_the_next_announcer() -> None:
    """A peer that does not answer costs its timeout, not the record."""
    pull = Pull()
    pull.announced(A, b"", [digest(1)], 0.0, at_once=True)
    pull.announced(B, b"", [digest(1)], 0.0, at_once=True)
    pull.tick(0.0)

    assert {B: [digest(1)]} == wants(pull.tick(ASK_TIMEOUT_S))


def test_when_the_origin_dies_what_it_would_have_pushed_is_asked_for_at_once() -> None:
    """No graft timer for a push that will not come."""
    pull = Pull()
    pull.announced(A, C, [digest(1)], 0.0, at_once=False, pusher=C)
    pull.link_down(C, 0.001)

    assert {A: [digest(1)]} == wants(pull.tick(0.001))


def test_an_origin_that_delivers_other_records_is_behind_and_gets_time() -> None:
    """Its link keeps the order: nothing is asked for until it has been quiet for a while."""
    pull = Pull()
    pull.announced(A, C, [digest(1)], 10.0, at_once=False, pusher=C)
    pull.pushed(C, C, 10.1)

    assert pull.tick(10.0 + GRAFT_S_START) == []
    assert pull.deadline_s == 10.1 + STREAM_S
    assert {A: [digest(1)]} == wants(pull.tick(10.1 + STREAM_S))


def test_an_origin_that_was_delivering_a_moment_ago_gets_time_too() -> None:
    """A busy node hears the announcement and the timer before it reads the origin's socket."""
    pull = Pull()
    pull.pushed(C, C, 10.0)
    pull.announced(A, C, [digest(1)], 10.1, at_once=False, pusher=C)

    assert pull.tick(10.1 + GRAFT_S_START) == []
    assert {A: [digest(1)]} == wants(pull.tick(10.0 + STREAM_S))


def test_an_origin_that_only_delivers_others_is_not_waited_for_without_end() -> None:
    """After a sync interval the graft timer rings whatever else arrives."""
    pull = Pull()
    pull.announced(A, C, [digest(1)], 10.0, at_once=False, pusher=C)
    asked_s = 10.0
    while not wants(pull.tick(asked_s)):
        pull.pushed(C, C, asked_s)
        asked_s += 0.01

    assert asked_s <= 10.02 + BEHIND_S_MAX + STREAM_S


@pytest.mark.parametrize(("origins", "remembered"), [(STREAMS_MAX, True), (STREAMS_MAX + 1, False)])
def test_the_streams_of_a_peer_that_are_remembered_are_bounded(origins: int, remembered: bool) -> None:
    """One that names ever new origins is waited for less, and costs no memory."""
    pull = Pull()
    for number in range(origins):
        pull.pushed(A, number.to_bytes(16, "big"), 10.0)
    pull.announced(B, bytes(16), [digest(1)], 10.0, at_once=False, pusher=A)

    assert (pull.tick(10.0 + GRAFT_S_START) == []) is remembered


def test_an_origin_that_announces_what_it_should_push_is_asked_at_once() -> None:
    """Its outbox was full; it says so by announcing, however much else it delivers."""
    pull = Pull()
    pull.announced(A, C, [digest(1)], 10.0, at_once=False, pusher=C)
    pull.pushed(C, C, 10.01)
    pull.announced(C, C, [digest(1)], 10.02, at_once=True)
    pull.pushed(C, C, 10.03)

    assert {A: [digest(1)]} == wants(pull.tick(10.03))


def test_when_the_asked_peer_dies_another_is_asked_at_once() -> None:
    """No timeout for an answer that will not come."""
    pull = Pull()
    pull.announced(A, b"", [digest(1)], 0.0, at_once=True)
    pull.announced(B, b"", [digest(1)], 0.0, at_once=True)
    pull.tick(0.0)
    pull.link_down(A, 0.5)

    assert {B: [digest(1)]} == wants(pull.tick(0.5))


def test_a_record_nobody_else_has_is_forgotten_with_its_announcer() -> None:
    """Nothing is left to ask; anti-entropy will find it again if it exists."""
    pull = Pull()
    pull.announced(A, b"", [digest(1)], 0.0, at_once=True)
    pull.link_down(A, 0.0)

    assert len(pull) == 0


def test_arrival_gives_back_the_origin_and_ends_the_request() -> None:
    """An expected record tells where it came from; an unexpected one tells nothing."""
    pull = Pull()
    pull.announced(A, C, [digest(1)], 0.0, at_once=True)
    pull.tick(0.0)

    assert pull.arrived([digest(1), digest(2)], 0.1) == {digest(1): C}
    assert pull.arrived([digest(1)], 0.2) == {}
    assert pull.tick(100.0) == []


def test_the_graft_timer_follows_the_gap_between_announcement_and_payload() -> None:
    """Small gaps shorten it to its least, a large gap lengthens it, a payload that came twice doubles it."""
    pull = Pull()
    for number in range(1000):
        pull.announced(A, C, [digest(number)], float(number), at_once=False)
        pull.arrived([digest(number)], number + 0.0001)
    assert pull.graft_s == GRAFT_S_MIN
    pull.announced(A, C, [digest(9999)], 2000.0, at_once=False)
    pull.arrived([digest(9999)], 2000.01)
    assert abs(pull.graft_s - 0.04) < 1e-6
    pull.came_twice()
    assert abs(pull.graft_s - 0.08) < 1e-6
    for _ in range(10):
        pull.came_twice()
    assert pull.graft_s == GRAFT_S_MAX


def test_one_peer_is_asked_for_a_bounded_number_at_a_time() -> None:
    """The rest follows as answers come in."""
    pull = Pull()
    many = [digest(i) for i in range(ASKED_MAX + 10)]
    pull.announced(A, b"", many, 0.0, at_once=True)
    first = wants(pull.tick(0.0))[A]
    assert len(first) == ASKED_MAX
    assert pull.tick(0.0) == []
    for each in first[: ASKED_MAX // 2]:
        pull.arrived([each], 0.1)

    assert wants(pull.tick(0.1))[A] == many[ASKED_MAX:]


def fill(pull: Pull, peers: int) -> None:
    """Announce more than a share from so many peers, each what nobody has."""
    for number in range(peers):
        digests = (digest(1_000_000 * (number + 1) + n) for n in range(SHARE_MAX + 5))
        pull.announced(number.to_bytes(16, "big"), b"", digests, 0.0, at_once=True)


def test_the_table_is_bounded() -> None:
    """What does not fit is counted and left to the next reconciliation; so is what that finds too much."""
    pull = Pull()
    fill(pull, 8)
    assert (len(pull), pull.overflow_total) == (MISSING_MAX - FOUND_MAX, 8 * 5 + 2 * SHARE_MAX)
    pull.announced(A, b"", (digest(n) for n in range(FOUND_MAX + 3)), 0.0, at_once=True, found=True)

    assert (len(pull), pull.found) == (MISSING_MAX, FOUND_MAX)


def test_a_peer_that_announces_what_nobody_has_leaves_the_others_their_share() -> None:
    """Its own is full; what others announce, and what our own session finds, is noted all the same."""
    pull = Pull()
    fill(pull, 1)
    assert (len(pull), pull.overflow_total) == (SHARE_MAX, 5)
    pull.announced(B, b"", [digest(1)], 0.0, at_once=True)
    pull.announced(bytes(16), b"", [digest(2)], 0.0, at_once=True, found=True)

    assert (len(pull), pull.found) == (SHARE_MAX + 2, 1)
    assert [digest(1)] == wants(pull.tick(0.0))[B]


def test_what_a_session_finds_counts_as_found_whoever_announced_it_first() -> None:
    """It moves from the announcer's share to the places of findings; until it is here no node is ready."""
    pull = Pull()
    fill(pull, 1)
    known = digest(1_000_000)
    pull.announced(A, b"", [known], 1.0, at_once=True, found=True)
    pull.announced(B, b"", [known], 1.0, at_once=True, found=True)
    assert (len(pull), pull.found) == (SHARE_MAX, 1)
    pull.announced(bytes(16), b"", [digest(1), digest(2)], 1.0, at_once=True)  # of one there is room again
    assert (len(pull), pull.overflow_total) == (SHARE_MAX + 1, 5 + 1)

    assert known in pull.arrived([known], 2.0)
    assert pull.found == 0


def test_what_is_found_and_was_announced_stays_in_its_share_when_there_is_no_room_for_findings() -> None:
    """Findings take no more places than they have; the record is asked for all the same."""
    pull = Pull()
    pull.announced(B, b"", [digest(1)], 0.0, at_once=True)
    pull.announced(A, b"", (digest(10 + n) for n in range(FOUND_MAX)), 0.0, at_once=True, found=True)
    pull.announced(A, b"", [digest(1)], 0.0, at_once=True, found=True)

    assert (len(pull), pull.found, pull.overflow_total) == (FOUND_MAX + 1, FOUND_MAX, 0)
    assert [digest(1)] == wants(pull.tick(0.0))[B]


def test_a_place_in_a_share_is_free_again_whatever_became_of_the_record() -> None:
    """It came, was refused, was given up with its link, or the store was full."""
    pull = Pull()
    ways: tuple[Callable[[list[bytes]], object], ...] = (
        lambda known: pull.arrived(known, 1.0),
        pull.refused,
        lambda known: pull.link_down(bytes(16), 1.0),
        lambda known: pull.pause(1.0),
    )
    for free in ways:
        before = pull.overflow_total
        fill(pull, 1)
        assert (len(pull), pull.overflow_total - before) == (SHARE_MAX, 5)
        free([digest(1_000_000 + n) for n in range(SHARE_MAX)])
        assert len(pull) == 0


def test_a_record_nobody_sends_is_given_up() -> None:
    """Announced but never sent: after so many tries it is dropped."""
    pull = Pull()
    pull.announced(A, b"", [digest(1)], 0.0, at_once=True)
    now_s, asked = 0.0, 0
    while len(pull):
        asked += len(wants(pull.tick(now_s)))
        now_s += ASK_TIMEOUT_S

    assert asked == TRIES_MAX


def test_a_full_store_stops_all_asking_for_a_while() -> None:
    """Nothing is pulled that would be refused."""
    pull = Pull()
    pull.announced(A, b"", [digest(1)], 0.0, at_once=True)
    pull.pause(5.0)

    assert len(pull) == 0
    assert pull.paused(5.0 + FULL_PAUSE_S - 0.1)
    assert not pull.paused(5.0 + FULL_PAUSE_S)
