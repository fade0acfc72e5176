"""How many links and with whom: the tiers, the room there is, and the walks."""

from random import Random

import pytest

from cluster.exports import Admitted, WireRecord
from cluster.hyparview import (
    ACTIVE_SLACK,
    JOIN_HOPS,
    PASSIVE_HOPS,
    PROBE_S,
    SETTLE_S,
    SIZE_HINT_S,
    TOLD_MAX,
    TRIM_MIN,
    Views,
)
from cluster.members import Members
from cluster.membership import Membership
from cluster.messages import ForwardJoin, Hello, Member, Peers, Shuffle, Shuffled
from cluster.vocabulary import Close, Dial, Effect, LinkUp, Now, Send

ME = (500).to_bytes(16, "big")
MESH_MAX, MESH_BACK = 20, 15
START_MS = 1_700_000_000_000


def node(number: int) -> bytes:
    """A node id."""
    return number.to_bytes(16, "big")


def member(number: int) -> Member:
    """A node and where it lives."""
    return Member(node(number), f"10.0.{number // 256}.{number % 256}:7946")


def now(seconds: float) -> Now:
    """Both clocks."""
    return Now(seconds, START_MS + int(seconds * 1000))


class Place:
    """One node's views, and what is needed around them."""

    def __init__(self, *seeds: str) -> None:
        rng = Random(1)
        self.membership = Membership(ME, seeds, rng)
        self.members = Members(ME)
        self.views = Views(self.membership, self.members, rng, MESH_MAX, MESH_BACK)

    def hear_of(self, *numbers: int) -> None:
        """Take the member facts of these nodes."""
        for number in numbers:
            other = Members(node(number))
            other.met(hello(number), member(number).address.partition(":")[0])
            held = other.lookup(other.publish(now(0.0)))
            assert held is not None
            self.members.admit([WireRecord(held.id, held.raw, "", held.time_stamp)], now(0.0), Admitted())
        self.views.resize(now(0.0))

    def up(
        self, number: int, at_s: float = 0.0, *, size: int = 1, links: int = 3, dialled: bool = True
    ) -> list[Effect]:
        """Bring a link up."""
        event = LinkUp(hello(number, size, links), hello(500), member(number).address, dialled)
        self.membership.link_up(event, now(at_s))
        return self.views.link_up(event, now(at_s))

    def down(self, number: int, at_s: float = 0.0) -> None:
        """Lose a link."""
        self.membership.link_down(node(number), "gone", now(at_s))
        self.views.link_down(now(at_s))


def hello(number: int, size: int = 1, links: int = 3) -> Hello:
    """What a node says of itself."""
    return Hello(1, 1, [], node(number), 0, "c", f"n{number}", 7946, "", "r", 0, 0, "", size, links)


def large(*seeds: str) -> Place:
    """A node of a cluster of 101, linked with its two ring neighbours and with all the others it accepts."""
    place = Place(*seeds)
    place.hear_of(*range(450, 500), *range(501, 551))
    for number in (499, 501, *range(450, 450 + place.views.active_max + ACTIVE_SLACK)):
        place.up(number)
    return place


def sent(effects: list[Effect]) -> dict[bytes, object]:
    """What is sent to whom."""
    return {e.peer: e.message for e in effects if isinstance(e, Send)}


def dials(effects: list[Effect]) -> set[str]:
    """Which addresses are dialled."""
    return {e.address for e in effects if isinstance(e, Dial)}


# --- the tiers ------------------------------------------------------------------------------------------


def test_the_tier_changes_above_one_size_and_back_below_another() -> None:
    """At the edges, and not between them."""
    place = Place()
    place.hear_of(*range(1, MESH_MAX))
    assert (place.views.size, place.views.partial) == (MESH_MAX, False)
    place.up(MESH_MAX)
    assert (place.views.size, place.views.partial) == (MESH_MAX + 1, True)
    for number in range(MESH_BACK, MESH_MAX):
        place.members.admit([leaving(number)], now(1.0), Admitted())
    place.views.resize(now(1.0))
    assert (place.views.size, place.views.partial) == (MESH_BACK + 1, True)
    place.members.admit([leaving(1), leaving(2)], now(1.0), Admitted())
    place.views.resize(now(1.0))
    assert (place.views.size, place.views.partial) == (MESH_BACK - 1, False)


def leaving(number: int) -> WireRecord:
    """The last word of a node."""
    other = Members(node(number))
    other.met(hello(number), member(number).address.partition(":")[0])
    held = other.lookup(other.publish(now(1.0), leaving=True))
    assert held is not None
    return WireRecord(held.id, held.raw, "", held.time_stamp)


def test_back_in_the_full_mesh_every_member_is_dialled() -> None:
    """The list says whom."""
    place = large()
    place.members.expire(1000.0)
    place.hear_of(*range(1, 10))
    for number in [*range(450, 470), 499, 501]:
        place.down(number, 1000.0)
    assert not place.views.partial
    found = set[str]()
    for step in range(20):
        found |= dials(place.views.tick(now(1001.0 + step * 2)))
        for address in found:
            place.membership.candidates.is_self(address, now(1001.0 + step * 2))
    assert {member(i).address for i in range(1, 10)} <= found


def test_a_peers_word_on_the_size_counts_until_the_list_is_here() -> None:
    """A newcomer does not dial a thousand nodes."""
    place = Place()
    place.up(1, size=1000)
    assert (place.views.size, place.views.partial) == (1000, True)
    place.views.resize(now(SIZE_HINT_S - 0.1))
    assert place.views.partial
    place.views.resize(now(SIZE_HINT_S))
    assert (place.views.size, place.views.partial) == (2, False)


def test_a_node_that_left_a_small_cluster_is_not_counted_because_of_what_another_said_before() -> None:
    """Where links are all there is to count, a young peer's word on the size is of no use."""
    place = Place()
    place.up(1, size=3)
    place.up(2, size=3)
    place.down(2, 1.0)
    assert place.views.size == 2


@pytest.mark.parametrize(("size", "links"), [(21, 6), (148, 6), (149, 7), (1000, 8), (10_000, 11)])
def test_the_active_view_grows_with_the_logarithm(size: int, links: int) -> None:
    """Six at least, then ln N + 1."""
    place = Place()
    place.up(1, size=size)
    assert place.views.active_max == links


# --- room -----------------------------------------------------------------------------------------------


def test_a_full_view_refuses_all_but_newcomers_ring_neighbours_and_strangers() -> None:
    """Who has no other way in, or keeps the cluster in one piece, is let in."""
    place = large()
    refusal = place.views.refusal(hello(490))
    assert refusal is not None
    assert refusal[0] == "full"
    assert place.views.refusal(hello(490, links=0)) is None
    assert place.views.refusal(hello(999)) is None
    assert place.views.refusal(hello(501)) is None
    place.down(450)
    assert place.views.refusal(hello(490)) is None


def test_a_full_mesh_refuses_nobody() -> None:
    """Its bound is another one."""
    place = Place()
    for number in range(1, MESH_MAX):
        place.up(number)
    assert place.views.refusal(hello(400)) is None


def test_surplus_links_go_a_few_at_a_time_and_never_the_rings_or_the_newest() -> None:
    """A full mesh thins out."""
    place = large()
    assert not [e for e in place.views.tick(now(10.0)) if isinstance(e, Close)]
    for number in range(470, 470 + 3 * TRIM_MIN):
        place.up(number, 10.5)
    assert not {e.peer for e in place.views.tick(now(11.0)) if isinstance(e, Close)} & {
        node(n) for n in (*range(470, 470 + 3 * TRIM_MIN), 499, 501)
    }
    gone = {e.peer for e in place.views.tick(now(11.5 + SETTLE_S)) if isinstance(e, Close)}
    assert len(gone) == TRIM_MIN
    assert not gone & {node(499), node(501)}


# --- whom to dial ---------------------------------------------------------------------------------------


def test_ring_neighbours_are_dialled_at_once_and_lost_links_are_replaced() -> None:
    """From the member list, when nobody else is known."""
    place = large()
    place.down(501, 5.0)
    assert member(501).address in dials(place.views.tick(now(6.0)))
    for number in range(450, 450 + 3 + ACTIVE_SLACK):
        place.down(number, 7.0)
    fresh = dials(place.views.tick(now(8.0))) - {member(501).address}
    assert len(fresh) == 3


def test_with_all_links_up_only_a_stranger_is_dialled_now_and_then() -> None:
    """Parts of a cluster that do not know each other find together so."""
    place = large()
    candidates = place.membership.candidates
    candidates.told([member(480)], now(1.0))
    candidates.beacon(node(999), "10.9.9.9:7946", now(1.0))
    found: list[str] = []
    for second in range(2, 2 + int(PROBE_S)):
        found += dials(place.views.tick(now(float(second))))
    assert found == ["10.9.9.9:7946"]


def test_behind_a_name_there_may_be_strangers_though_one_of_its_nodes_is_linked() -> None:
    """A name of all nodes joins parts of a cluster that know nothing of each other."""
    place = large("all:7946")
    place.membership.candidates.resolved("all:7946", [member(499).address, "10.9.9.9:7946"], "", now(1.0))
    found = [a for second in range(2, 2 + int(PROBE_S)) for a in dials(place.views.tick(now(float(second))))]
    assert found == ["10.9.9.9:7946"]


# --- walks ----------------------------------------------------------------------------------------------


def test_a_newcomer_is_told_of_some_and_its_walks_begin() -> None:
    """One walk for each of some links; nobody else is told."""
    place = large()
    messages = sent(place.up(700, 5.0, links=0, dialled=False))
    told = messages.pop(node(700))
    assert isinstance(told, Peers)
    assert 0 < len(told.members) <= TOLD_MAX
    assert len(messages) == place.views.active_max
    assert set(map(type, messages.values())) == {ForwardJoin}
    assert all(m == ForwardJoin(member(700), JOIN_HOPS) for m in messages.values())


def test_a_walk_goes_on_and_ends_with_a_dial() -> None:
    """Half way the newcomer enters a passive view; at the end it gets a link whatever room there is."""
    place = large()
    for hops in range(JOIN_HOPS, 0, -1):
        ((peer, message),) = sent(
            place.views.forward_join(node(450), ForwardJoin(member(700), hops), now(5.0))
        ).items()
        assert message == ForwardJoin(member(700), hops - 1)
        assert peer != node(450)
        known = member(700) in [
            Member(c.node_id or b"", c.address) for c in place.membership.candidates.passive
        ]
        assert known == (hops <= PASSIVE_HOPS)
    for newcomer in (300, 700):  # a lower and a higher id: nobody else will dial
        place = large()
        assert place.views.forward_join(node(450), ForwardJoin(member(newcomer), 0), now(5.0)) == []
        assert member(newcomer).address in dials(place.views.tick(now(5.0)))


def test_a_walk_that_comes_to_its_newcomer_or_to_a_peer_of_it_is_over() -> None:
    """There is a link already."""
    place = large()
    assert place.views.forward_join(node(450), ForwardJoin(Member(ME, "10.0.0.1:1"), 3), now(5.0)) == []
    assert place.views.forward_join(node(450), ForwardJoin(member(451), 3), now(5.0)) == []


def test_a_shuffle_walks_on_and_its_answer_comes_back_the_same_way() -> None:
    """Both ends learn of others; nodes between learn nothing."""
    place = large()
    shuffle = Shuffle([member(700)], node(600) + node(450), 2)
    ((peer, onward),) = sent(place.views.shuffle(node(450), shuffle, now(5.0))).items()
    assert peer != node(450)
    assert onward == Shuffle([member(700)], node(600) + node(450) + ME, 1)

    ((back, answer),) = sent(
        place.views.shuffle(node(450), Shuffle([member(700)], node(600) + node(450), 0), now(5.0))
    ).items()
    assert back == node(450)
    assert isinstance(answer, Shuffled)
    assert answer.path == node(600)
    assert answer.members
    assert any(c.address == member(700).address for c in place.membership.candidates.passive)

    ((before, rest),) = sent(
        place.views.shuffled(Shuffled([member(701)], node(600) + node(451)), now(5.0))
    ).items()
    assert (before, rest) == (node(451), Shuffled([member(701)], node(600)))
    assert place.views.shuffled(Shuffled([member(702)], b""), now(5.0)) == []
    addresses = {c.address for c in place.membership.candidates.passive}
    assert member(702).address in addresses
    assert member(701).address not in addresses


def test_a_walk_that_has_no_room_for_its_path_ends_here() -> None:
    """One more id, and the next node would ban the honest one that passed it on."""
    place = large()
    path = b"".join(node(number) for number in range(17))
    [answer] = place.views.shuffle(node(450), Shuffle([member(7)], path, 16), now(0.0))
    assert isinstance(answer, Send)
    assert isinstance(answer.message, Shuffled)
    [onward] = place.views.shuffle(node(450), Shuffle([member(7)], path[16:], 16), now(0.0))
    assert isinstance(onward, Send)
    assert onward.message == Shuffle([member(7)], path[16:] + ME, 15)


def test_addresses_of_other_machines_loopbacks_are_not_taken() -> None:
    """They would lead to ourselves."""
    place = large()
    place.members.met(hello(500), "10.0.0.7")
    stray = Member(node(701), "127.0.0.1:7946")
    place.views.shuffled(Shuffled([stray, member(702)], b""), now(5.0))
    addresses = {c.address for c in place.membership.candidates.passive}
    assert member(702).address in addresses
    assert stray.address not in addresses
