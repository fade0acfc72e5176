"""One member list for all nodes of a very large cluster: given, instead of gossiped.

In a large cluster every node learns a fact of every other one, and below `SHARED_FROM` nodes the simulation
does that too. Above, it would be about little else (a thousand nodes: twenty million messages until all
know all), and the copies fill the memory (ten thousand nodes: a hundred million facts). There, unless told
otherwise, all nodes read one list and publish nothing: who starts is on it at once, and who ends stays on it
as long as a fact lives. Who is linked with whom, and what is pushed and announced, stays the real thing.
"""

# pyright: reportPrivateUsage=false
# The product has no business with lists that nodes share, so it has no door for them.

from typing import TYPE_CHECKING

from cluster.codec import wire_record
from cluster.exports import Admitted
from cluster.members import Members

if TYPE_CHECKING:
    from tests.sim.host import Host

SHARED_FROM = 501
"""Nodes from which on the list is shared: below, gossiping it costs the simulation a few minutes at most."""


class _Reader(Members):
    """A node's view of the shared list: nothing is ever due, and nothing runs out."""

    def due(self, now_s: float) -> bool:
        """Never: the node is listed already."""
        return False

    def expire(self, now_s: float) -> None:
        """Nothing: `SharedMembers.take_off` does that."""


class SharedMembers:
    """The list, and how nodes come to be on it and to read it."""

    def __init__(self) -> None:
        self._list = Members(bytes(16))

    def take_in(self, host: "Host") -> None:
        """List a node that has started, and let it read the list."""
        self._publish(host, leaving=False)
        members = host.engine.members
        members.__class__ = _Reader
        members._known, members._by_digest = self._list._known, self._list._by_digest
        members._at, members._ids = self._list._at, self._list._ids

    def take_off(self, host: "Host") -> None:
        """Take a node that has ended off the list."""
        self._publish(host, leaving=True)

    def _publish(self, host: "Host", *, leaving: bool) -> None:
        """Do at once what the node's own fact would do on its way round."""
        own = Members(host.node_id)
        own.met(host.hello(""), host.address.rpartition(":")[0])
        fact = own.lookup(own.publish(host.now(), leaving=leaving))
        assert fact is not None, "a fact that was just published is held"
        self._list.admit([wire_record(fact)], host.now(), Admitted())
