"""A tree for each origin, through the links there are (PlumTree).

What is new goes on at once to *eager* peers and is announced to *lazy* ones. All start as eager; who
sends a payload that another brought first is pruned, and the first arrivals that remain are a tree of
shortest paths. An announcement that no payload follows grafts its sender. One tree for each origin,
because through a shared one records of other origins take about 2.8 times as long (simulated, 1,000
nodes): helium/plumtree's way, not iroh-gossip's.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

TREES_MAX = 4_096
"""Trees kept, about 1 kB each, for records and facts of 2,000 nodes; the least recently used goes, and its
origin's next record is flooded."""

PRUNE_AGAIN_S = 0.2
"""How soon a peer that goes on pushing is told again: payloads may be on their way when it is."""


@dataclass(slots=True)
class _Tree:
    """One origin's tree, seen from here.

    Attributes:
        lazy: peers that are announced to, and when each was told so (monotonic seconds).
        parent: from whom its records come, or None.
        announcer: who announced a record of it last and is not the parent: the next best, or None.
    """

    lazy: dict[bytes, float] = field(default_factory=dict[bytes, float])
    parent: bytes | None = None
    announcer: bytes | None = None


class Trees:
    """The trees that this node is part of."""

    def __init__(self) -> None:
        self._trees: OrderedDict[bytes, _Tree] = OrderedDict()  # in the order of their last use
        self._orphans: dict[bytes, None] = {}  # trees that have just lost their parent (a set in order)

    def split(self, origin: bytes, peers: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Divide peers into those that `origin`'s records are pushed to, and those they are announced to."""
        tree = self._trees.get(origin)
        if tree is None:
            return list(peers), []
        eager: list[bytes] = []
        lazy: list[bytes] = []
        for peer in peers:
            (lazy if peer in tree.lazy else eager).append(peer)
        return eager, lazy

    def plant(self, origin: bytes, source: bytes, peers: Iterable[bytes]) -> None:
        """Begin a tree, unless there is one, with all peers but `source` lazy: it grows by grafts alone."""
        if origin not in self._trees:
            self._tree(origin).lazy = {peer: 0.0 for peer in peers if peer != source}

    def parent(self, origin: bytes) -> bytes | None:
        """From whom the records of `origin` come, or None when that is not known."""
        tree = self._trees.get(origin)
        return None if tree is None else tree.parent

    def first(self, origin: bytes, peer: bytes) -> None:
        """`peer` brought something new of `origin`: it is the parent."""
        tree = self._tree(origin)
        tree.parent = peer
        tree.lazy.pop(peer, None)

    def again(self, origin: bytes, peer: bytes, now_s: float) -> bool:
        """`peer` pushed what was here already. Returns whether to tell it to stop."""
        tree = self._tree(origin)
        told_s = tree.lazy.get(peer)
        if peer == tree.parent or (told_s is not None and now_s < told_s + PRUNE_AGAIN_S):
            return False
        tree.lazy[peer] = now_s
        if tree.announcer is None:
            tree.announcer = peer
        return True

    def announced(self, origin: bytes, peer: bytes) -> None:
        """`peer` has announced a record of `origin`."""
        tree = self._trees.get(origin)
        if tree is not None and peer != tree.parent:
            tree.announcer = peer

    def pruned(self, origin: bytes, peer: bytes, now_s: float) -> None:
        """`peer` does not want `origin`'s records pushed."""
        self._tree(origin).lazy[peer] = now_s

    def grafted(self, origin: bytes, peer: bytes) -> bool:
        """`origin`'s records are pushed between `peer` and us, one way or the other.

        Returns:
            whether it was lazy until now.
        """
        tree = self._trees.get(origin)  # where there is none all are eager
        return tree is not None and tree.lazy.pop(peer, None) is not None

    def link_up(self, peer: bytes) -> None:
        """A new peer: lazy in every tree that has brought something, for it needs no second way."""
        for tree in self._trees.values():
            if tree.parent is not None and peer != tree.parent:
                tree.lazy[peer] = 0.0

    def link_down(self, peer: bytes) -> None:
        """Forget a peer; `orphans` finds other parents for the trees it was the parent of."""
        for origin, tree in self._trees.items():
            tree.lazy.pop(peer, None)
            if tree.announcer == peer:
                tree.announcer = None
            if tree.parent == peer:
                tree.parent = None
                self._orphans[origin] = None

    def orphans(self) -> dict[bytes, list[bytes]]:
        """Find other parents for trees that lost theirs. Returns whom to graft, as peer: origins.

        The one that announced last is chosen: it has them by another way than through us.
        """
        grafts: dict[bytes, list[bytes]] = {}
        for origin in self._orphans:
            tree = self._trees.get(origin)
            if tree is not None and tree.parent is None:
                tree.parent = tree.announcer or next(iter(tree.lazy), None)
                tree.announcer = None
                if tree.parent is not None:
                    tree.lazy.pop(tree.parent, None)
                    grafts.setdefault(tree.parent, []).append(origin)
        self._orphans.clear()
        return grafts

    def clear(self) -> None:
        """Forget all trees: the node is linked with all again and pushes to all."""
        self._trees.clear()
        self._orphans.clear()

    def _tree(self, origin: bytes) -> _Tree:
        tree = self._trees.get(origin)
        if tree is None:
            tree = self._trees[origin] = _Tree()
            if len(self._trees) > TREES_MAX:
                self._trees.popitem(last=False)
        else:
            self._trees.move_to_end(origin)
        return tree
