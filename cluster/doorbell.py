"""From the bus to the engine: records that clients posted here are on their way.

The bus only rings. Whoever lagged behind it has lost count of what was stored, and tells the engine to
repair that by anti-entropy.
"""

from collections.abc import Callable, Sequence

import trio

from cluster.dissemination import large_among
from cluster.vocabulary import Input, Missed, Stored
from eventbus import BusClosed, Event, EventBus, RecordStored, SubscriberLagged

BURST_EVENTS = 64
GATHER_S = 0.004
"""When so many records wait at once a batch is being posted: what comes within this time goes into the same
frames. The batch's slices of 200 records would each make a frame, and each frame wakes every peer."""


async def follow(bus: EventBus, feed: Callable[[Input], None]) -> None:
    """Hand every record posted here to the engine (`feed`), many at once if many come. Ends with the bus."""
    while True:
        # Records from peers do not wake this task: the engine has heard of them already.
        with bus.subscribe(RecordStored, wants=_posted_here) as subscription:
            try:
                while True:
                    events = await subscription.receive()
                    if len(events) >= BURST_EVENTS:
                        await trio.sleep(GATHER_S)
                        events += subscription.take()
                    feed(_stored(events))
            except SubscriberLagged:
                feed(Missed())
            except BusClosed:
                return


def _stored(events: Sequence[Event]) -> Stored:
    """Word the news for the engine."""
    records = [event.record for event in events if isinstance(event, RecordStored)]
    digests, large = [record.key[8:] for record in records], large_among(records)
    return Stored([d for d in digests if d not in large] if large else digests, large)


def _posted_here(events: Sequence[Event]) -> Sequence[Event]:
    """Choose the records that came from clients of this node rather than from peers."""
    return [event for event in events if isinstance(event, RecordStored) and not event.source]
