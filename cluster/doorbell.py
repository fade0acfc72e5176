"""From the bus to the engine: records that clients posted here are on their way.

The bus only rings. Whoever lagged behind it has lost count of what was stored, and tells the engine to
repair that by anti-entropy.
"""

from collections.abc import Callable, Sequence

import trio

from cluster.dissemination import EAGER_BYTES_MAX
from cluster.vocabulary import Input, Missed, Stored
from eventbus import BusClosed, Event, EventBus, RecordStored, SubscriberLagged, Subscription

RING_S = 0.001
"""How long records posted here gather at least while more come: about what one costs over HTTP."""


class Doorbell:
    """Hand every record posted here to the engine (`feed`), in batches while many come."""

    def __init__(self, bus: EventBus, feed: Callable[[Input], None]) -> None:
        self._bus = bus
        self._feed = feed
        self._subscription: Subscription | None = None
        self._rung_s = 0.0

    async def follow(self) -> None:
        """Follow the bus until it closes."""
        while True:
            # Records from peers do not wake this task: the engine has heard of them already.
            with self._bus.subscribe(RecordStored, wants=_posted_here) as subscription:
                self._subscription = subscription
                try:
                    while True:
                        self._posted(await subscription.receive())
                except SubscriberLagged:
                    self._feed(Missed())
                except BusClosed:
                    return
                finally:
                    self._subscription = None

    def ring(self) -> None:
        """Look at the bus now, unless that was less than `RING_S` ago.

        A record posted alone is then on its way two task switches sooner (docs/performance.md); a burst
        still travels in batches.
        """
        if self._subscription is not None and trio.current_time() >= self._rung_s + RING_S:
            self._rung_s = trio.current_time()
            self._posted(self._subscription.receive_nowait())

    def _posted(self, events: Sequence[Event]) -> None:
        """Tell the engine of the records that were stored."""
        records = [e.record for e in events if isinstance(e, RecordStored)]
        small = [r.digest for r in records if r.size_bytes <= EAGER_BYTES_MAX]
        large = [r.digest for r in records if r.size_bytes > EAGER_BYTES_MAX]
        if records:
            self._feed(Stored(small, large))


def _posted_here(event: Event) -> bool:
    """Whether a record came from a client of this node rather than from a peer."""
    return isinstance(event, RecordStored) and not event.source
