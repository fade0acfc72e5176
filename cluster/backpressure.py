"""Where a batch waits while the cluster cannot take more: backpressure at the entrance.

One node takes records from a batch faster than nine others on the same cores take them from it. Without a
wait, nodes hear announcements of what lies unread in their own sockets and ask for it, which costs three
times the stream. The rule (who is behind, and when that is too many) is in cluster/window.py; here is the
waiting. No polling: a link rings when its peer has acknowledged something.
"""

from collections.abc import Mapping

import trio

from cluster.link import Link
from cluster.window import crowded

WAIT_S_MAX = 0.25
"""How long one slice of a batch may wait: posting goes on, however slow the peers are. Our choice: a batch
of 1,000 records in slices of 200 then takes 1.25 s at most, and a machine of two cores gives each of ten
nodes a turn within it."""


class Backpressure:
    """The one place where posting waits for the cluster."""

    def __init__(self, links: Mapping[bytes, Link]) -> None:
        self._links = links
        self._bell = trio.Event()

    async def room(self) -> None:
        """Wait until the cluster can take more, for `WAIT_S_MAX` at most; always a checkpoint.

        Who was waited for that long in vain is not waited for again until it acknowledges something: the
        deaf cost a batch `WAIT_S_MAX` once, not once a slice.
        """
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(WAIT_S_MAX) as bound:
            while crowded([link.window for link in self._links.values()]):
                await self._hung_up().wait()
        if bound.cancelled_caught:
            for link in self._links.values():
                if link.window.behind:
                    link.window.give_up()

    def _hung_up(self) -> trio.Event:
        """Return a bell that has not rung yet and that every link will ring."""
        if self._bell.is_set():
            self._bell = trio.Event()
        for link in self._links.values():
            link.ring_when_acked(self._bell)
        return self._bell
