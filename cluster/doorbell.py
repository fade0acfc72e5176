"""From the bus to the engine: records that clients posted here are on their way.

The bus only rings. Whoever lagged behind it has lost count of what was stored, and tells the engine to
repair that by anti-entropy.
"""

from collections.abc import Callable, Sequence

from cluster.dissemination import EAGER_BYTES_MAX
from cluster.vocabulary import Input, Missed, Stored
from eventbus import BusClosed, Event, EventBus, RecordStored, SubscriberLagged


async def follow(bus: EventBus, feed: Callable[[Input], None]) -> None:
    """Hand every record posted here to the engine (`feed`), many at once if many come. Ends with the bus."""
    while True:
        # Records from peers do not wake this task: the engine has heard of them already.
        with bus.subscribe(RecordStored, wants=_posted_here) as subscription:
            try:
                while True:
                    feed(_stored(await subscription.receive()))
            except SubscriberLagged:
                feed(Missed())
            except BusClosed:
                return


def _stored(events: Sequence[Event]) -> Stored:
    """Word the news for the engine."""
    small: list[bytes] = []
    large: list[bytes] = []
    for event in events:
        if isinstance(event, RecordStored):
            record = event.record
            (small if record.size_bytes <= EAGER_BYTES_MAX else large).append(record.digest)
    return Stored(small, large)


def _posted_here(event: Event) -> bool:
    """Whether a record came from a client of this node rather than from a peer."""
    return isinstance(event, RecordStored) and not event.source
