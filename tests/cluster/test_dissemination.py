"""In a large cluster: what a parent in an origin's tree says it will not push is asked of it, and when."""

from random import Random

import pytest

from cluster.dissemination import Dissemination
from cluster.members import Members
from cluster.messages import Graft, IHave, Prune, Want
from cluster.plumtree import Trees
from cluster.pull import BEHIND_S_MAX, GRAFT_S_MAX, STREAM_S, Pull
from cluster.vocabulary import Now, Received, Send
from tests.cluster.test_outbox import Shelf

ME, PARENT, OTHER, THIRD, ORIGIN = (bytes([i]) * 16 for i in (9, 1, 2, 3, 4))
PEERS = (PARENT, OTHER, THIRD)
LOST = b"\xee" * 32


class Leaf:
    """A node with three peers, of which one is its parent in all trees."""

    def __init__(self) -> None:
        self.dissemination = Dissemination(ME, Shelf([]), Members(ME), Pull(), Trees(), Random(1))
        self.dissemination.turn(partial=True)
        self.pushed = 0

    def push(self, origin: bytes, s: float) -> None:
        """The parent pushes one more record of an origin."""
        self.pushed += 1
        event = Received(PARENT, [self.pushed.to_bytes(32, "big")], origin=origin)
        self.dissemination.received(event, PEERS, Now(s, 0))

    def ihave(self, peer: bytes, s: float) -> None:
        """A peer announces a record of `ORIGIN` that was lost."""
        self.dissemination.ihave(peer, IHave(ORIGIN, LOST), PEERS, Now(s, 0))

    def said(self, s: float) -> list[Send]:
        """What it says about that record or its tree at this time."""
        effects = [e for e in self.dissemination.tick(PEERS, Now(s, 0)) if isinstance(e, Send)]
        return [e for e in effects if e.message in (Want(LOST), Graft(ORIGIN))]

    def waits_s(self, origin: bytes) -> float:
        """How long it waits for what `OTHER` announces while the parent pushes records of this origin."""
        self.push(ORIGIN, 0.0)
        self.push(origin, 1.0)
        self.ihave(OTHER, 1.0)
        s = 1.0
        while not self.said(s):
            s += STREAM_S / 8
            self.push(origin, s)
        return s - 1.0


@pytest.mark.parametrize("origin", [ORIGIN, PARENT], ids=["of this origin", "of its own"])
def test_what_a_parent_announces_is_wanted_at_once(origin: bytes) -> None:
    """Its outbox was full: by its own word it will not push that, however much else it pushes.

    It is grafted too: where it takes us for one beside the tree, it would announce all that follows.
    """
    leaf = Leaf()
    leaf.push(ORIGIN, 0.0)
    leaf.push(origin, 1.0)
    leaf.ihave(PARENT, 1.0)
    assert leaf.said(1.0) == [Send(PARENT, Want(LOST)), Send(PARENT, Graft(ORIGIN))]


def test_a_parent_is_behind_while_it_brings_that_origins_records_and_no_others() -> None:
    """Its link keeps the order: more of them says that one is on its way, its own posts say nothing of it."""
    assert BEHIND_S_MAX <= Leaf().waits_s(ORIGIN) <= BEHIND_S_MAX + 2 * STREAM_S
    assert Leaf().waits_s(PARENT) <= GRAFT_S_MAX + STREAM_S / 8


def test_who_grafts_is_told_of_what_it_was_not_pushed_and_of_nothing_else() -> None:
    """What was pushed to it is on its way: it would ask for that again."""
    leaf = Leaf()
    leaf.dissemination.prune(THIRD, Prune(ORIGIN), Now(0.0, 0))
    leaf.push(ORIGIN, 1.0)
    assert leaf.dissemination.graft(OTHER, Graft(ORIGIN)) == []
    told = Send(THIRD, IHave(ORIGIN, leaf.pushed.to_bytes(32, "big")))
    assert leaf.dissemination.graft(THIRD, Graft(ORIGIN)) == [told]
