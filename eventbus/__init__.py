"""Floor 1: the doorbell. It tells who asks that something happened; the store holds the truth.

Events are frozen facts (`events`). `EventBus.publish` is synchronous and never waits: who talks to all
never waits. Each subscriber has a bounded buffer of its own; one that does not keep up is cut and told
(`SubscriberLagged`) and resumes from the store, so being slow delays it and nobody else.

The bus imports nothing but the validator's record. It keeps no history and promises no delivery.
"""

from eventbus.bus import BusClosed, EventBus, SubscriberLagged, Subscription
from eventbus.events import Event, PeerDown, PeerUp, RecordExpired, RecordStored, RecordSuperseded

__all__ = [
    "BusClosed",
    "Event",
    "EventBus",
    "PeerDown",
    "PeerUp",
    "RecordExpired",
    "RecordStored",
    "RecordSuperseded",
    "SubscriberLagged",
    "Subscription",
]
