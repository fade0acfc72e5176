"""One origin's tree seen from one node: what is pushed, what is announced, and who takes a parent's place."""

from cluster.plumtree import PRUNE_AGAIN_S, TREES_MAX, Trees

ORIGIN = bytes([9]) * 16
A, B, C, D = (bytes([i]) * 16 for i in (1, 2, 3, 4))
PEERS = [A, B, C, D]


def test_an_unknown_origin_is_flooded() -> None:
    """Every peer is eager until it proves superfluous."""
    assert Trees().split(ORIGIN, PEERS) == (PEERS, [])


def test_who_brings_it_second_is_pruned_once_and_again_only_after_a_while() -> None:
    """The first stays eager; payloads on their way do not cost a message each."""
    trees = Trees()
    trees.first(ORIGIN, A)

    assert trees.again(ORIGIN, B, 1.0)
    assert not trees.again(ORIGIN, B, 1.0 + PRUNE_AGAIN_S / 2)
    assert trees.again(ORIGIN, B, 1.0 + PRUNE_AGAIN_S)
    assert not trees.again(ORIGIN, A, 1.0)
    assert trees.split(ORIGIN, PEERS) == ([A, C, D], [B])


def test_who_prunes_us_is_announced_to_until_it_grafts() -> None:
    """Prune and graft undo each other."""
    trees = Trees()
    trees.pruned(ORIGIN, C, 0.0)
    assert trees.split(ORIGIN, PEERS) == ([A, B, D], [C])
    trees.grafted(ORIGIN, C)
    assert trees.split(ORIGIN, PEERS) == (PEERS, [])


def test_trees_of_different_origins_do_not_mix() -> None:
    """A prune for one says nothing of the other."""
    trees = Trees()
    trees.pruned(ORIGIN, A, 0.0)
    assert trees.split(bytes(16), PEERS) == (PEERS, [])


def test_when_the_parent_goes_the_last_announcer_is_grafted() -> None:
    """It has the records by another way; it is eager from then on, and asked once."""
    trees = Trees()
    trees.first(ORIGIN, A)
    for peer in (B, C, D):
        trees.again(ORIGIN, peer, 0.0)
    trees.announced(ORIGIN, C)
    trees.link_down(A)

    assert trees.orphans() == {C: [ORIGIN]}
    assert trees.orphans() == {}
    assert trees.parent(ORIGIN) == C
    assert trees.split(ORIGIN, [B, C, D]) == ([C], [B, D])


def test_when_parent_and_announcer_go_at_once_any_other_is_grafted() -> None:
    """No graft goes to a peer that is gone too."""
    trees = Trees()
    trees.first(ORIGIN, A)
    for peer in (B, C):
        trees.again(ORIGIN, peer, 0.0)
    trees.announced(ORIGIN, C)
    trees.link_down(A)
    trees.link_down(C)

    assert trees.orphans() == {B: [ORIGIN]}


def test_without_anybody_beside_the_tree_nobody_is_grafted() -> None:
    """All that are left are eager: they push by themselves."""
    trees = Trees()
    trees.first(ORIGIN, A)
    trees.link_down(A)
    assert trees.orphans() == {}
    assert trees.split(ORIGIN, [B]) == ([B], [])


def test_a_new_peer_is_lazy_where_there_is_a_parent_and_eager_elsewhere() -> None:
    """It costs no duplicates, and what this node posts itself reaches it at once."""
    trees = Trees()
    own = bytes([7]) * 16
    trees.first(ORIGIN, A)
    trees.pruned(own, B, 0.0)
    trees.link_up(D)

    assert trees.split(ORIGIN, [A, D]) == ([A], [D])
    assert trees.split(own, [A, B, D]) == ([A, D], [B])


def test_a_planted_tree_grows_by_grafts_alone() -> None:
    """Only the source is eager; a tree that is there already is left as it is."""
    trees = Trees()
    trees.plant(ORIGIN, A, PEERS)
    assert trees.split(ORIGIN, PEERS) == ([A], [B, C, D])
    trees.grafted(ORIGIN, B)
    trees.plant(ORIGIN, A, PEERS)
    assert trees.split(ORIGIN, PEERS) == ([A, B], [C, D])


def test_trees_are_bounded_and_the_least_recently_used_goes() -> None:
    """Its origin's next record is flooded again; nothing else is lost."""
    trees = Trees()
    trees.pruned(ORIGIN, A, 0.0)
    trees.pruned(bytes(16), A, 0.0)
    for number in range(1, TREES_MAX - 1):
        trees.first(number.to_bytes(16, "big"), B)
    trees.pruned(ORIGIN, A, 0.0)
    trees.first(b"\xff" * 16, B)

    assert trees.split(ORIGIN, [A]) == ([], [A])
    assert trees.split(bytes(16), [A]) == ([A], [])
