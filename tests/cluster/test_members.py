"""Member facts: newer ones win, they run out, and no client or store ever sees one."""

import pytest

from cluster.exports import Admitted, Now, WireRecord
from cluster.members import FACT_BYTES_MAX, FACT_LIVES, FACT_S, MEMBERS_MAX, MemberDesk, Members
from cluster.messages import Hello, Member
from tests.cluster.test_outbox import Shelf, record
from validator import FUTURE_MS_MAX

START_MS = 1_700_000_000_000
LIFE_S = FACT_S * FACT_LIVES


def node(number: int) -> bytes:
    """A node id."""
    return number.to_bytes(16, "big")


def now(seconds: float) -> Now:
    """Both clocks."""
    return Now(seconds, START_MS + int(seconds * 1000))


def members(number: int = 1) -> Members:
    """The list of a node that knows where it is."""
    made = Members(node(number))
    hello = Hello(1, 1, [], node(number), 0, "c", f"n{number}", 7946, f"http://n{number}", "r", 0, 0)
    made.met(hello, f"10.0.0.{number}")
    return made


def fact(of: Members, at_s: float, *, leaving: bool = False) -> WireRecord:
    """What a node publishes, as it travels."""
    held = of.lookup(of.publish(now(at_s), leaving=leaving))
    assert held is not None
    return WireRecord(held.id, held.raw, held.signature, held.time_stamp)


def admit(to: Members, at_s: float, *facts: WireRecord) -> Admitted:
    """Take facts from a peer."""
    admitted = Admitted()
    to.admit(facts, now(at_s), admitted)
    return admitted


def listed(of: Members) -> list[str]:
    """The names on a list."""
    return [view.fact.name for view in of.living()]


def test_a_fact_is_listed_until_it_runs_out() -> None:
    """At its very end it is gone; a newer one keeps the node listed."""
    ours, theirs = members(1), members(2)
    admitted = admit(ours, 0.0, fact(theirs, 0.0))
    assert len(admitted.stored) == 1
    assert listed(ours) == ["n2"]
    assert [v.address for v in ours.living()] == ["10.0.0.2:7946"]

    ours.expire(LIFE_S - 0.001)
    assert listed(ours) == ["n2"]
    admit(ours, 30.0, fact(theirs, 30.0))
    ours.expire(30.0 + LIFE_S - 0.001)
    assert listed(ours) == ["n2"]
    ours.expire(30.0 + LIFE_S)
    assert listed(ours) == []


def test_the_same_again_is_known_and_an_older_one_is_ignored() -> None:
    """Only what is newer is passed on, so no fact goes round for ever."""
    ours, theirs = members(1), members(2)
    first, second = fact(theirs, 0.0), fact(theirs, 5.0)
    assert admit(ours, 5.0, second).stored
    assert admit(ours, 6.0, second).known
    assert admit(ours, 6.0, first).ignored
    assert ours.has(admit(ours, 6.0, second).known[0])


def test_who_leaves_is_off_the_list_and_an_older_fact_does_not_bring_it_back() -> None:
    """The last word holds."""
    ours, theirs = members(1), members(2)
    before, last = fact(theirs, 0.0), fact(theirs, 1.0, leaving=True)
    admit(ours, 0.0, before)
    assert admit(ours, 1.0, last).stored
    assert listed(ours) == []
    ours.expire(2.0)
    assert admit(ours, 2.0, before).ignored
    assert listed(ours) == []


def test_a_node_that_starts_anew_takes_the_place_of_its_old_self() -> None:
    """At one address lives one node: the one heard of last, whatever comes first."""
    old, new = members(2), members(3)
    new.met(Hello(1, 1, [], node(3), 0, "c", "n3", 7946, "", "r", 0, 0), "10.0.0.2")
    before, after = fact(old, 0.0), fact(new, 1.0)
    for order in ((before, after), (after, before)):
        ours = members(1)
        for one in order:
            admit(ours, 1.0, one)
        assert listed(ours) == ["n3"]


@pytest.mark.parametrize(
    ("off_s", "taken"), [(LIFE_S + 60, True), (LIFE_S + 60.1, False), (-60, True), (-60.1, False)]
)
def test_a_fact_may_be_as_old_as_its_life_and_the_clocks_allow(off_s: float, taken: bool) -> None:
    """One that was kept back somewhere does not come alive again."""
    assert FUTURE_MS_MAX == 60_000
    ours = members(1)
    made = fact(members(2), 1000.0)
    assert bool(admit(ours, 1000.0 + off_s, made).stored) == taken


def test_what_no_node_says_is_rejected() -> None:
    """Wrong ids, shapes and sizes cost their sender, and are not kept."""
    ours = members(1)
    good = fact(members(2), 0.0)
    bad = [
        WireRecord("\x00member/zz", good.raw, "", good.time_stamp),
        WireRecord("\x00member/00", good.raw, "", good.time_stamp),
        WireRecord(good.id, "{}", "", good.time_stamp),
        WireRecord(good.id, "[", "", good.time_stamp),
        WireRecord(good.id, '{"x":' + "[" * 100_000, "", good.time_stamp),
        WireRecord(good.id, good.raw, "signed", good.time_stamp),
        WireRecord(good.id, good.raw + " " * FACT_BYTES_MAX, "", good.time_stamp),
        WireRecord(good.id, good.raw.replace("60.0", "-1"), "", good.time_stamp),
    ]
    assert admit(ours, 0.0, *bad).rejected == len(bad)
    assert listed(ours) == []


def test_nobody_else_can_speak_for_this_node() -> None:
    """A fact about ourselves that we did not publish is not taken."""
    ours, forger = members(1), members(1)
    forged = fact(forger, 10.0)
    assert admit(ours, 10.0, forged).ignored


def test_the_list_is_bounded() -> None:
    """The first come stay."""
    ours = members(1)
    good = fact(members(2), 0.0)
    facts = [
        WireRecord(f"\x00member/{node(i).hex()}", good.raw.replace("0.2:", f"0.2:{i}"), "", good.time_stamp)
        for i in range(2, MEMBERS_MAX + 4)
    ]
    admitted = admit(ours, 0.0, *facts)
    assert (len(admitted.stored), len(admitted.ignored)) == (MEMBERS_MAX, 2)


def test_the_ring_is_the_next_to_each_side() -> None:
    """In the order of ids, round the end, without ourselves; one other is both neighbours."""
    ours = members(5)
    assert ours.ring() == []
    admit(ours, 0.0, fact(members(9), 0.0))
    assert ours.ring() == [Member(node(9), "10.0.0.9:7946")]
    admit(ours, 0.0, *(fact(members(i), 0.0) for i in (1, 3, 8)))
    assert [m.node_id for m in ours.ring()] == [node(8), node(3)]
    ours.publish(now(1.0))
    assert [m.node_id for m in ours.ring()] == [node(8), node(3)]
    last = members(200)
    admit(last, 0.0, *(fact(members(i), 0.0) for i in (1, 3, 8)))
    assert [m.node_id for m in last.ring()] == [node(1), node(8)]


def test_the_size_counts_the_listed_the_linked_and_ourselves_once() -> None:
    """Published or not."""
    ours = members(1)
    assert ours.size([]) == 1
    admit(ours, 0.0, fact(members(2), 0.0), fact(members(3), 0.0))
    assert ours.size([node(3), node(4)]) == 4
    ours.publish(now(0.0))
    assert ours.size([node(3), node(4)]) == 4


def test_facts_stay_off_the_nodes_desk() -> None:
    """A batch is divided; each kind is found again by its digest."""
    ours = members(1)
    shelf = Shelf([record(1)])
    desk = MemberDesk(shelf, ours, lambda: now(0.0))
    theirs = fact(members(2), 0.0)
    digest = desk.admit([WireRecord("id", "raw", "sig", 1), theirs], "peer").stored[0]

    assert desk.has(digest)
    assert desk.has(record(1).digest)
    assert not shelf.has(digest)
    assert [r.id for r in desk.lookup([digest, record(1).digest])] == [theirs.id, "000001"]
    assert len(desk) == 1
    assert desk.listing(b"", 1000) == [record(1)]


def test_a_loopback_address_is_told_only_while_no_other_is_known() -> None:
    """A neighbour on the same machine sees us where nobody else does."""
    ours = members(1)
    hello = Hello(1, 1, [], node(1), 0, "c", "n1", 7946, "", "r", 0, 0)
    ours.met(hello, "127.0.0.1")
    assert ours.own_address == "10.0.0.1:7946"
    local = Members(node(1))
    local.met(hello, "127.0.0.1")
    assert local.own_address == "127.0.0.1:7946"
    local.met(hello, "10.0.0.1")
    assert local.own_address == "10.0.0.1:7946"


@pytest.mark.parametrize("seen", ["x" * 256, "not an address", "\x1b[2J"])
def test_only_an_ip_address_is_taken_for_where_this_node_is(seen: str) -> None:
    """Published, anything else would have all others reject the fact and ban the node for it."""
    ours = members(1)
    hello = Hello(1, 1, [], node(1), 0, "c", "n1", 7946, "", "r", 0, 0)
    ours.met(hello, seen)
    assert ours.own_address == "10.0.0.1:7946"
    ours.met(hello, "fe80::1%eth0")
    assert ours.own_address == "[fe80::1%eth0]:7946"


def test_two_machines_loopbacks_are_not_one_place() -> None:
    """Neither takes the other off the list."""
    ours, first, second = members(1), Members(node(2)), Members(node(3))
    for other in (first, second):
        other.met(
            Hello(1, 1, [], other.node_id, 0, "c", other.node_id.hex()[-1], 7946, "", "r", 0, 0), "127.0.0.1"
        )
    admit(ours, 1.0, fact(first, 0.0), fact(second, 1.0))
    assert listed(ours) == ["2", "3"]


def test_what_a_node_publishes_is_always_newer_even_when_its_clock_is_set_back() -> None:
    """Else its goodbye in the same millisecond would be taken for old."""
    ours, theirs = members(1), members(2)
    first = fact(theirs, 10.0)
    again = fact(theirs, 9.0)
    assert again.time_stamp == first.time_stamp + 1
    admit(ours, 10.0, first, again)
    assert admit(ours, 10.0, fact(theirs, 10.0, leaving=True)).stored
    assert listed(ours) == []


@pytest.mark.parametrize("ahead_s", [59.0, 60.0, 61.0, 3600.0])
def test_a_clock_that_was_ahead_for_a_moment_takes_no_node_off_the_list(ahead_s: float) -> None:
    """One fact was stamped too far ahead for others to take; the next ones follow the clock again."""
    ours, theirs = members(1), members(2)
    admit(ours, 0.0, fact(theirs, 0.0))
    wrong = theirs.lookup(theirs.publish(Now(FACT_S, now(FACT_S + ahead_s).wall_ms)))
    assert wrong is not None
    admit(ours, FACT_S, WireRecord(wrong.id, wrong.raw, wrong.signature, wrong.time_stamp))
    for period in range(2, 10):
        assert admit(ours, period * FACT_S, fact(theirs, period * FACT_S)).stored
        ours.expire(period * FACT_S)
        assert listed(ours) == ["n2"]
