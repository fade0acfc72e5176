"""Whom a node links with, dials and tells of others."""

from random import Random

import pytest

from cluster.candidates import (
    BACKOFF_S_MAX,
    BACKOFF_S_MIN,
    BEACON_DIALS_PER_S,
    BEACON_TRIES_MAX,
    CANDIDATES_MAX,
    HELD_WAIT_S,
    HIGHER_ID_WAITS_S,
    MEMBER_FORGET_S,
    OWN_S,
    RESOLVE_S,
    Candidates,
)
from cluster.flights import DIALS_IN_FLIGHT_MAX, SAVED_DIALS_MAX
from cluster.handshake import HANDSHAKE_TIMEOUT_S
from cluster.hints import HINTS_MAX
from cluster.membership import BAN_S, PEERS_MAX, Membership
from cluster.messages import Hello, Member
from cluster.vocabulary import Dial, DialFailed, Effect, LinkUp, Now, Resolve

ME = bytes([5]) * 16


def node(number: int) -> bytes:
    """A node id."""
    return number.to_bytes(16, "big")


def now(seconds: float) -> Now:
    """Both clocks."""
    return Now(seconds, int(seconds * 1000))


def hello(node_id: bytes, incarnation: int = 1) -> Hello:
    """What a node says of itself."""
    return Hello(1, 1, [], node_id, incarnation, "c", "n", 1, "", "r", 0, 0)


def up(membership: Membership, node_id: bytes, address: str, at_s: float = 0.0) -> None:
    """Bring a link up."""
    event = LinkUp(hello(node_id), hello(ME), address, dialled=True)
    membership.link_up(event, now(at_s))


def candidates(*seeds: str, linked: set[bytes] | None = None) -> Candidates:
    """A table of candidates."""
    return Candidates(ME, linked if linked is not None else set(), seeds, Random(1))


def dials(effects: list[Effect]) -> list[str]:
    """Which addresses are dialled."""
    return [e.address for e in effects if isinstance(e, Dial)]


def test_a_seed_is_resolved_at_once_and_again_every_half_minute() -> None:
    """Names may move."""
    table = candidates("seed:1")
    assert table.tick(now(0)) == [Resolve("seed:1")]
    table.resolved("seed:1", ["10.0.0.1:1"], "", now(0))
    assert dials(table.tick(now(0))) == ["10.0.0.1:1"]

    assert Resolve("seed:1") in table.tick(now(RESOLVE_S))


def test_a_seed_that_moved_is_dialled_at_its_new_address_only() -> None:
    """The old address is dropped when nobody is linked there."""
    table = candidates("seed:1")
    table.tick(now(0))
    table.resolved("seed:1", ["10.0.0.1:1"], "", now(0))
    table.tick(now(0))
    table.dial_failed(DialFailed("10.0.0.1:1", "connection refused"), now(1))
    table.resolved("seed:1", ["10.0.0.2:1"], "", now(30))

    assert dials(table.tick(now(100))) == ["10.0.0.2:1"]


def test_a_name_that_does_not_resolve_is_tried_again_and_shown() -> None:
    """With back-off, and the resolver's words for people."""
    table = candidates("seed:1")
    table.tick(now(0))
    table.resolved("seed:1", [], "no such host", now(0))

    assert table.seed_errors == {"seed:1": "no such host"}
    assert table.tick(now(BACKOFF_S_MIN)) == [Resolve("seed:1")]


def test_the_other_addresses_of_a_linked_name_are_dialled_slowly_and_nobody_is_told() -> None:
    """They may be other nodes', or the same one's, out of reach; when its link goes they are in a hurry."""
    linked: set[bytes] = set()
    table = candidates("seed:1", linked=linked)
    addresses = ["10.0.0.1:1", "10.0.0.2:1"]
    table.resolved("seed:1", addresses, "", now(0))
    assert dials(table.tick(now(0))) == addresses
    linked.add(node(9))
    table.link_up(node(9), addresses[0])
    table.dial_failed(DialFailed(addresses[1], "no route"), now(0))
    made = 0
    for second in range(600):
        for address in dials(table.tick(now(second))):
            assert address == addresses[1]
            made += 1
            table.dial_failed(DialFailed(address, "no route"), now(second))
        assert (table.unlinked, table.lost) == (False, [])
    assert 600 / BACKOFF_S_MAX - 1 <= made <= 2 * 600 / BACKOFF_S_MAX

    linked.clear()
    table.link_down(node(9), "gone", now(600))
    assert [c.address for c in table.lost] == addresses
    assert sorted(dials(table.tick(now(600 + BACKOFF_S_MIN)))) == addresses


def test_a_seed_is_dialled_for_ever_with_growing_pauses() -> None:
    """Half a second to half a minute, never more, for a week."""
    table = candidates("seed:1")
    table.tick(now(0))
    at_s, last_s, pauses = 0.0, 0.0, list[float]()
    while at_s < 7 * 86400:
        table.resolved("seed:1", ["10.0.0.1:1"], "", now(at_s))
        if dials(table.tick(now(at_s))):
            pauses.append(at_s - last_s)
            last_s = at_s
            table.dial_failed(DialFailed("10.0.0.1:1", "connection refused"), now(at_s))
        at_s = max(table.deadline_s or 0, at_s + 0.01)

    assert max(pauses) <= BACKOFF_S_MAX + 0.02
    assert BACKOFF_S_MIN / 2 <= pauses[1] <= BACKOFF_S_MIN + 0.02
    assert len(pauses) > 7 * 86400 / BACKOFF_S_MAX


def test_a_thousand_members_that_drop_packets_cost_little_and_keep_no_seed_waiting() -> None:
    """They are looked at together, ten times a second, and leave dials to a seed and a beacon."""
    table = candidates("seed:1")
    table.resolved("seed:1", ["10.0.0.1:1"], "", now(0))
    lost = [Member(node(2**127 + n), f"10.1.{n // 256}.{n % 256}:1") for n in range(1000)]
    for number, member in enumerate(lost):
        table.told([member], now(number / 1000))
    flying, made, ticks, at_s, end_s = list[tuple[float, str]](), list[tuple[float, str]](), 0, 1.0, 61.0
    while at_s < end_s:
        for each in [e for e in flying if e[0] <= at_s]:
            flying.remove(each)
            table.dial_failed(DialFailed(each[1], "no answer"), now(at_s))
        for address in dials(table.tick(now(at_s))):
            flying.append((at_s + HANDSHAKE_TIMEOUT_S, address))
            made.append((at_s, address))
        table.beacon(node(2**126), "10.2.0.1:1", now(at_s))
        due_s = table.beacon(lost[999].node_id, lost[999].address, now(at_s))
        assert due_s is None or due_s > at_s
        ticks += 1
        deadline_s = table.deadline_s
        assert deadline_s is not None
        at_s = min([deadline_s, *(e[0] for e in flying)])

    assert ticks < 60 * (1 / HELD_WAIT_S + 2 * DIALS_IN_FLIGHT_MAX / HANDSHAKE_TIMEOUT_S)
    last_s, first_s = {a: t for t, a in made}, {a: t for t, a in reversed(made)}
    assert last_s["10.0.0.1:1"] > end_s - BACKOFF_S_MAX - HANDSHAKE_TIMEOUT_S - 1
    assert first_s["10.2.0.1:1"] < 1 + HANDSHAKE_TIMEOUT_S


def test_the_lower_id_dials_a_beacon_at_once_and_the_higher_gives_it_a_moment() -> None:
    """So that two that hear each other do not both dial."""
    table = candidates()
    table.beacon(node(2**127), "10.0.0.9:1", now(10))
    table.beacon(node(1), "10.0.0.1:1", now(10))
    assert dials(table.tick(now(10))) == ["10.0.0.9:1"]

    assert dials(table.tick(now(10 + HIGHER_ID_WAITS_S))) == ["10.0.0.1:1"]


@pytest.mark.parametrize("fails_after_s", [0.0, 3.0])
def test_a_flood_of_forged_beacons_is_rationed_and_bounded_and_hides_no_real_node(
    fails_after_s: float,
) -> None:
    """Ten thousand a second of one host's ports, closed or silent: few dials, a bounded table.

    A node that starts meanwhile is dialled within ten seconds, though it is heard every five only.
    """
    table = candidates()
    made, flying = list[tuple[float, str]](), list[tuple[float, str]]()
    for step in range(1600):
        at_s = step / 100
        for number in range(100):
            forged = (step * 100 + number) % 65_535
            table.beacon(node(2**120 + forged), f"10.1.0.1:{forged}", now(at_s))
        if step % 500 == 300:
            table.beacon(node(2**121), "10.2.0.2:7", now(at_s))
        for address in dials(table.tick(now(at_s))):
            made.append((at_s, address))
            flying.append((at_s + fails_after_s, address))
        assert len(flying) <= DIALS_IN_FLIGHT_MAX
        for end_s, address in list(flying):
            if end_s <= at_s:
                table.dial_failed(DialFailed(address, "connection refused"), now(at_s))
                flying.remove((end_s, address))

    assert len(made) <= BEACON_DIALS_PER_S * 17
    assert min(at_s for at_s, address in made if address == "10.2.0.2:7") < 13
    assert len(table._hints) <= HINTS_MAX  # pyright: ignore[reportPrivateUsage] - the bound itself


def test_a_beacon_that_leads_nowhere_is_forgotten() -> None:
    """After a few failures; its node will beacon again if it lives."""
    table = candidates()
    table.beacon(node(2**127), "10.0.0.9:1", now(0))
    for attempt in range(BEACON_TRIES_MAX):
        assert dials(table.tick(now(attempt * 60))) == ["10.0.0.9:1"]
        table.dial_failed(DialFailed("10.0.0.9:1", "connection refused"), now(attempt * 60))

    assert not table.unlinked


def test_somebody_who_does_not_fit_is_dialled_less_and_less_however_often_it_beacons() -> None:
    """Another clock or cluster: the back-off holds until another node beacons from there."""
    table = candidates()
    made = 0
    for second in range(600):
        table.beacon(node(2**127), "10.0.0.9:1", now(second))
        for address in dials(table.tick(now(second))):
            made += 1
            table.dial_failed(DialFailed(address, "the clocks differ", refused=True), now(second))

    assert 20 < made < 60
    table.told([Member(node(2**127), "10.0.0.9:1")], now(600))
    table.tick(now(600))
    table.dial_failed(DialFailed("10.0.0.9:1", "the clocks differ", refused=True), now(600))
    table.beacon(node(2**126), "10.0.0.9:1", now(600.1))
    assert dials(table.tick(now(600.1))) == ["10.0.0.9:1"]


def test_a_hint_in_flight_that_becomes_known_is_one_candidate() -> None:
    """Else its dial would count as in flight for ever."""
    table = candidates()
    table.beacon(node(2**127), "10.0.0.9:1", now(0))
    assert dials(table.tick(now(0))) == ["10.0.0.9:1"]
    table.told([Member(node(2**127), "10.0.0.9:1")], now(0))
    table.dial_failed(DialFailed("10.0.0.9:1", "connection refused"), now(1))

    assert [c.in_flight for c in table._all()] == [False]  # pyright: ignore[reportPrivateUsage]


def test_an_address_that_was_ones_own_is_left_alone_for_an_hour_only() -> None:
    """Whoever told of it; then it may be another node's."""
    table, address = candidates("seed:1"), "10.0.0.9:1"
    for at_s, dialled in ((0.0, [address]), (OWN_S - 1, []), (OWN_S, [address]), (2 * OWN_S - 1, [])):
        table.beacon(node(9), address, now(at_s))
        table.told([Member(node(9), address)], now(at_s))
        table.resolved("seed:1", [address], "", now(at_s))
        assert dials(table.tick(now(at_s + HIGHER_ID_WAITS_S))) == dialled
        assert len(table.lost) == len(dialled)
        if dialled:
            table.is_self(address, now(at_s))


def test_members_told_of_by_a_peer_are_dialled_unless_linked() -> None:
    """One link leads to all."""
    linked = {node(2**126)}
    table = candidates(linked=linked)
    told = [(2**127, "10.0.0.1:1"), (2**126, "10.0.0.2:1"), (int.from_bytes(ME, "big"), "10.0.0.3:1")]
    table.told([Member(node(number), address) for number, address in told], now(0))

    assert dials(table.tick(now(0))) == ["10.0.0.1:1"]


def test_what_a_peer_says_pushes_out_nobody_who_is_known() -> None:
    """Of one message only as many are taken as there is room for; the rest costs nothing."""
    table = candidates(linked={node(2**126)})
    table.link_up(node(9), "10.0.0.9:1")
    table.link_down(node(9), "gone", now(0))
    for start in (0, 1024):
        table.told(
            [Member(node(2**64 + n), f"10.1.{n // 256}.{n % 256}:1") for n in range(start, start + 1024)],
            now(1),
        )
        lost = {c.address for c in table.lost}
        assert len(lost) == CANDIDATES_MAX
        assert {"10.0.0.9:1", "10.1.0.0:1", "10.1.3.254:1"} <= lost

    table.told([Member(node(7), "10.0.0.9:1")], now(2))
    assert node(7) in {c.node_id for c in table.lost}
    table.link_up(node(2**126), "10.9.9.9:1")
    assert len(table.lost) == CANDIDATES_MAX - 1


@pytest.mark.parametrize("address", ["name.example:7946", "10.0.0.1", "10.0.0.1:65536", ":7946", ""])
def test_a_name_told_by_a_peer_is_never_looked_up(address: str) -> None:
    """Nodes tell each other addresses; to look a name up takes a thread, and may take long."""
    table = candidates()
    table.told([Member(node(1), address), Member(node(2), "[fe80::1%eth0]:1")], now(0))

    assert [c.address for c in table.lost] == ["[fe80::1%eth0]:1"]


def test_a_lost_member_is_dialled_for_a_day_then_forgotten() -> None:
    """Longer than any record lives it is not sought."""
    linked: set[bytes] = set()
    table = candidates(linked=linked)
    table.link_up(node(9), "a:1")
    table.link_down(node(9), "gone", now(0))
    assert [c.error for c in table.lost] == ["gone"]
    assert dials(table.tick(now(1))) == ["a:1"]
    table.dial_failed(DialFailed("a:1", "connection refused"), now(1))
    table.tick(now(MEMBER_FORGET_S + 1))

    assert table.lost == []


def test_a_restarted_node_at_the_same_address_is_one_candidate() -> None:
    """An address belongs to whoever answered there last."""
    table = candidates(linked={node(2)})
    table.link_up(node(1), "a:1")
    table.link_up(node(2), "a:1")

    assert not table.unlinked


@pytest.mark.parametrize(("dialled_first", "peer"), [(True, 1), (False, 1), (True, 2**127), (False, 2**127)])
def test_of_two_connections_the_one_dialled_by_the_lower_id_stays(dialled_first: bool, peer: int) -> None:
    """Both sides come to the same answer for either order."""
    ours, theirs = Membership(ME, (), Random(1)), Membership(node(peer), (), Random(1))
    ours.link_up(LinkUp(hello(node(peer)), hello(ME), "a:1", dialled_first), now(0))
    theirs.link_up(LinkUp(hello(ME), hello(node(peer)), "b:1", not dialled_first), now(0))
    refused_here = ours.refusal(hello(node(peer)), dialled=not dialled_first, now=now(1))
    refused_there = theirs.refusal(hello(ME), dialled=dialled_first, now=now(1))
    second_by_lower = (not dialled_first) == (node(peer) > ME)

    assert (refused_here is None) == (refused_there is None) == second_by_lower


def test_a_dialler_keeps_its_older_connection_and_the_other_side_follows_it() -> None:
    """Only the dialler refuses a second connection of its own; the accepting side takes the newer."""
    dialler, acceptor = Membership(ME, (), Random(1)), Membership(node(9), (), Random(1))
    dialler.link_up(LinkUp(hello(node(9)), hello(ME), "a:1", True), now(0))
    acceptor.link_up(LinkUp(hello(ME), hello(node(9)), "b:1", False), now(0))

    refusal = dialler.refusal(hello(node(9)), dialled=True, now=now(1))
    assert refusal is not None
    assert refusal[0] == "duplicate"
    assert acceptor.refusal(hello(ME), dialled=False, now=now(1)) is None


def test_a_ban_ends_after_its_time() -> None:
    """Sixty seconds, then the peer may come back."""
    membership = Membership(ME, (), Random(1))
    membership.ban(node(9), "it lied", now(0))
    refusal = membership.refusal(hello(node(9)), dialled=False, now=now(BAN_S - 1))
    assert refusal is not None
    assert "it lied" in refusal[1]

    assert membership.refusal(hello(node(9)), dialled=False, now=now(BAN_S + 1)) is None


def test_links_are_bounded() -> None:
    """One more than the limit is told that there is no room."""
    membership = Membership(ME, (), Random(1))
    for number in range(PEERS_MAX):
        up(membership, node(number + 1), f"h:{number}")

    assert membership.refusal(hello(node(999)), dialled=False, now=now(1)) == (
        "full",
        f"already linked with {PEERS_MAX} nodes",
    )
    present = membership.refusal(hello(node(1)), dialled=False, now=now(1))
    assert present is None or present[0] == "duplicate"


def test_a_table_that_must_shrink_keeps_what_cannot_be_learnt_again() -> None:
    """First go those listed elsewhere, then strangers never linked with; lost neighbours last."""
    table = candidates("seed:1")
    table.resolved("seed:1", ["10.0.0.9:9"], "", now(0))
    table.told([Member(node(i), f"10.0.0.{i}:1") for i in range(10, 20)], now(1.0))
    lost = Membership(ME, (), Random(1))
    lost.candidates.told([Member(node(i), f"10.0.0.{i}:1") for i in range(10, 20)], now(1.0))
    up(lost, node(30), "10.0.0.30:1", 1.0)
    lost.link_down(node(30), "gone", now(2.0))
    for each, kept in ((table, "10.0.0.9:9"), (lost.candidates, "10.0.0.30:1")):
        each.shrink(3, {node(i) for i in range(10, 16)}, Random(1))
        left = {c.address for c in each.passive} | {c.address for c in each.lost}
        assert len(left) == 3
        assert kept in left
        assert left <= {kept, *(f"10.0.0.{i}:1" for i in range(16, 20))}


def test_a_saved_address_is_dialled_until_a_link_is_up() -> None:
    """Alone, an earlier run's peers are tried like lost ones; with a link, who is not there is forgotten."""
    linked: set[bytes] = set()
    table = candidates(linked=linked)
    table.remember(["10.0.0.1:1", "10.0.0.2:2"])
    assert dials(table.tick(now(0))) == ["10.0.0.1:1", "10.0.0.2:2"]
    for address in ("10.0.0.1:1", "10.0.0.2:2"):
        table.dial_failed(DialFailed(address, "no route"), now(1))
    assert [(c.address, c.error) for c in table.lost] == [
        ("10.0.0.1:1", "no route"),
        ("10.0.0.2:2", "no route"),
    ]
    assert dials(table.tick(now(40))) == ["10.0.0.1:1", "10.0.0.2:2"]
    linked.add(node(1))
    table.link_up(node(1), "10.0.0.1:1")
    table.dial_failed(DialFailed("10.0.0.2:2", "no route"), now(41))
    assert table.lost == []
    assert table.deadline_s is None


def test_a_seed_is_dialled_at_once_beside_many_saved_addresses_that_are_gone() -> None:
    """The names of seeds take a moment to look up; saved addresses must not have taken all dials by then."""
    table = candidates("seed:1")
    table.remember([f"10.0.0.{i}:1" for i in range(20)])
    assert len(dials(table.tick(now(0)))) == SAVED_DIALS_MAX
    table.resolved("seed:1", ["10.0.1.1:1"], "", now(0.1))
    assert "10.0.1.1:1" in dials(table.tick(now(0.1)))
    assert SAVED_DIALS_MAX < DIALS_IN_FLIGHT_MAX


def test_a_saved_address_becomes_a_member_by_a_link_or_by_a_peers_word() -> None:
    """Somebody lives there: from then on it is dialled for a day like any that was lost."""
    linked = {node(9)}
    table = candidates(linked=linked)
    table.remember(["10.0.0.1:1", "10.0.0.2:2"])
    linked.add(node(1))
    table.link_up(node(1), "10.0.0.1:1")
    table.told([Member(node(2), "10.0.0.2:2")], now(0))
    linked.remove(node(1))
    table.link_down(node(1), "gone", now(0))
    for address in ("10.0.0.1:1", "10.0.0.2:2"):
        table.dial_failed(DialFailed(address, "no route"), now(1))
    assert {c.address for c in table.lost} == {"10.0.0.1:1", "10.0.0.2:2"}


def test_a_saved_address_nobody_answers_at_is_forgotten_after_a_day() -> None:
    """As its node's records are."""
    table = candidates()
    table.remember(["10.0.0.1:1"])
    table.dial_failed(DialFailed("10.0.0.1:1", "no route"), now(1))
    assert dials(table.tick(now(MEMBER_FORGET_S))) == ["10.0.0.1:1"]
    table.tick(now(MEMBER_FORGET_S + 2))
    assert len(table.lost) == 1  # what is being dialled is not forgotten, or more could be in flight than may
    table.dial_failed(DialFailed("10.0.0.1:1", "no route"), now(MEMBER_FORGET_S + 3))
    table.tick(now(MEMBER_FORGET_S + 3))
    assert table.lost == []
