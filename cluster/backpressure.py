"""Where a batch waits while the cluster cannot take more: backpressure at the entrance.

One node takes records from a batch faster than nine others on the same cores take them from it. Without a
wait the outboxes fill up, payloads become announcements, and asking for them costs three times the
stream. The rule (who is behind, and when that is too many) is in cluster/outbox.py; here is the waiting.
No polling: the writer of a link that is behind rings when it has taken something from its lane.
"""

from collections.abc import Mapping

import trio

from cluster.link import Link
from cluster.outbox import crowded

WAIT_S_MAX = 0.25
"""How long one slice of a batch may wait: posting goes on, however slow the peers are. Our choice: a batch
of 1,000 records in slices of 100 then takes 2.5 s at most, and a machine of two cores gives each of ten
nodes a turn within it."""


class Backpressure:
    """The one place where posting waits for the cluster."""

    def __init__(self, links: Mapping[bytes, Link]) -> None:
        self._links = links
        self._bell = trio.Event()
        self._in_vain: trio.Event | None = None  # a bell that nobody rang for as long as a slice may wait

    async def room(self) -> None:
        """Wait until the cluster can take more, for `WAIT_S_MAX` at most; always a checkpoint.

        When no peer took anything for so long, nobody waits again until one does: waiting for the deaf
        costs a batch `WAIT_S_MAX` once, not once a slice.
        """
        await trio.lowlevel.checkpoint()
        first: trio.Event | None = None
        with trio.move_on_after(WAIT_S_MAX) as bound:
            while crowded([link.outbox for link in self._links.values()]):
                bell = self._hung_up()
                if bell is self._in_vain:
                    return
                first = bell if first is None else first
                await bell.wait()
        if bound.cancelled_caught and first is not None and not first.is_set():
            self._in_vain = first

    def _hung_up(self) -> trio.Event:
        """Return a bell that has not rung yet and that every link will ring."""
        if self._bell.is_set():
            self._bell = trio.Event()
        for link in self._links.values():
            link.ring_when_drained(self._bell)
        return self._bell
