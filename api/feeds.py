"""All feeds of one node: how many there may be, and the one bell that wakes them.

One subscriber of the bus for all feeds: it notes what is not in the store, and rings. Each feed is a task
that reads what is new (api/feed.py) and sends it, waits for its own client as long as that client's
deadlines allow, and for nobody else.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import msgspec
import structlog
import trio

from api.cursor import Position
from api.errors import Problem
from api.feed import Feed, Runs
from api.forms import Form
from api.limits import HttpLimits
from eventbus import (
    BusClosed,
    Event,
    PeerDown,
    PeerUp,
    RecordExpired,
    RecordStored,
    RecordSuperseded,
    SubscriberLagged,
    Subscription,
)
from node.exports import Node, counted_address

FEED_S: Final = 100e-6
"""Time left to all others for each feed that was woken, before feeds are woken again: twice the CPU that a
feed takes. What comes meanwhile goes into one run, so many feeds make larger runs and no more work."""

PAUSE_S: Final = (0.002, 0.1)
"""Below the first nobody waits (up to 20 feeds); longer than the second, nobody does."""

FEED_KINDS: Final = ("sse", "ndjson", "poll", "ws", "raw", "publish")

RETRY_AFTER = {"retry-after": "5"}

_log: structlog.stdlib.BoundLogger = structlog.get_logger("api.feeds")


@dataclass(frozen=True, slots=True)
class FeedLimits:
    """The bounds of one node's feeds. What one of them may hold is in api/feed.py."""

    feeds_max: int = 384
    """Feeds open at once: three quarters of the connections, so that posts always find room."""

    feeds_per_address_max: int = 48
    """Feeds from one address: three quarters of its connections, for the same reason."""

    subscriptions_max: int = 16
    """Feeds that one `/v1/ws` may follow: a page with a dozen panels. Together they count as one feed above,
    and the socket sends for one after the other."""

    keep_alive_s: float = 15.0
    """Seconds of silence after which a stream says that it is there: half of what proxies allow as a rule.
    It is also how a client that vanished without a word is noticed. (WebSockets have their pings.)"""

    @classmethod
    def within(cls, http: HttpLimits) -> Self:
        """Return the limits that fit a server's."""
        return cls(max(http.connections_max * 3 // 4, 1), max(http.connections_per_address_max * 3 // 4, 1))


class FeedCounts(msgspec.Struct, frozen=True):
    """Feeds by kind: open now, and opened, cut, and records sent since the start; `refused` found no room."""

    open: dict[str, int]
    opened: dict[str, int]
    cut: dict[str, int]
    records: dict[str, int]
    refused: int


class FeedStatistics:
    """What feeds are and were; read it at any time.

    Attributes:
        open: by kind (`sse`, `ndjson`, `poll`, `ws`, `raw`, `publish`), feeds open now.
        opened: by kind, since the start.
        cut: by kind, ended because the client took nothing for the time of a write, since the start.
        refused: int, feeds that found no room, since the start.
        records: by kind, records sent, since the start.
    """

    def __init__(self) -> None:
        self.open: Counter[str] = Counter()
        self.opened: Counter[str] = Counter()
        self.cut: Counter[str] = Counter()
        self.records: Counter[str] = Counter()
        self.refused = 0

    def snapshot(self) -> FeedCounts:
        """Return the counts as they are now."""
        return FeedCounts(
            dict(self.open), dict(self.opened), dict(self.cut), dict(self.records), self.refused
        )


class Reader:
    """One place among the feeds: the right to follow, and a bell. Leaving it gives the place back."""

    def __init__(self, feeds: "Feeds", kind: str, address: str) -> None:
        self.feeds = feeds
        self.kind = kind
        self.address = address
        self._bell = trio.Event()

    def ring(self) -> None:
        """Wake the reader, or let it not fall asleep."""
        self._bell.set()

    def listen(self) -> None:
        """From here on `wait` waits for what happens; call it before looking whether something did."""
        if self._bell.is_set():
            self._bell = trio.Event()

    async def wait(self) -> None:
        """Wait until something happened since `listen`."""
        await self._bell.wait()

    def sent(self, records: int) -> None:
        """Count records that were sent."""
        self.feeds.statistics.records[self.kind] += records

    def leave(self, *, cut_at: str | None = None) -> None:
        """Give the place back, once. `cut_at`: the cursor, if the client was cut for being slow."""
        self.feeds.forget(self, cut_at)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()


class Feeds:
    """The feeds of one node.

    Attributes:
        closing: bool, the node stops: every feed ends by itself.
        statistics: FeedStatistics.
    """

    def __init__(self, node: Node, limits: FeedLimits | None = None) -> None:
        self.node = node
        self.limits = limits or FeedLimits()
        self.statistics = FeedStatistics()
        self.closing = False
        self._runs = Runs(node)
        self._readers: dict[Reader, None] = {}
        self._by_address: Counter[str] = Counter()
        self._rung = False
        self._subscription = self._subscribe()

    async def run(self) -> None:
        """Wake the feeds whenever something happens. Ends with the bus."""
        while True:
            try:
                self._note(await self._subscription.receive())
            except BusClosed:
                return
            except SubscriberLagged:
                self._runs.notices.skip(1)
                self._subscription = self._subscribe()
            for reader in self._readers:
                reader.ring()
            pause_s = len(self._readers) * FEED_S
            if pause_s > PAUSE_S[0]:
                await trio.sleep(min(pause_s, PAUSE_S[1]))

    def open(self, kind: str, address: str) -> Reader:
        """Take a place for a client. Leave it when it is over.

        Raises:
            Problem: `busy`; there is no room.
        """
        if self.closing:
            raise Problem("busy", "the node is stopping", RETRY_AFTER)
        if len(self._readers) >= self.limits.feeds_max:
            self.statistics.refused += 1
            raise Problem("busy", f"{self.limits.feeds_max} feeds are open, no more are taken", RETRY_AFTER)
        host = counted_address(address)
        if self._by_address[host] >= self.limits.feeds_per_address_max:
            self.statistics.refused += 1
            most = self.limits.feeds_per_address_max
            raise Problem("busy", f"{most} feeds are open from your address, no more are taken", RETRY_AFTER)
        reader = Reader(self, kind, address)
        self._readers[reader] = None
        self._by_address[host] += 1
        self.statistics.open[kind] += 1
        self.statistics.opened[kind] += 1
        return reader

    def follow(self, position: Position, prefix: str, form: Form) -> Feed:
        """Begin to read."""
        return Feed(self._runs, position, prefix, form)

    def forget(self, reader: Reader, cut_at: str | None) -> None:
        """Take a place back; a second time does nothing."""
        if reader not in self._readers:
            return
        del self._readers[reader]
        host = counted_address(reader.address)
        self._by_address[host] -= 1
        if not self._by_address[host]:
            del self._by_address[host]
        self.statistics.open[reader.kind] -= 1
        if cut_at is not None:
            self.statistics.cut[reader.kind] += 1
            _log.info("feed cut: not read", kind=reader.kind, address=reader.address, cursor=cut_at)
        if not self._readers:
            self._runs.forget()

    def close(self) -> None:
        """Let every feed end."""
        self.closing = True
        for reader in self._readers:
            reader.ring()

    def _note(self, events: list[Event]) -> None:
        self._rung = False
        self._runs.notices.add(e for e in events if not isinstance(e, RecordStored))

    def _subscribe(self) -> Subscription:
        kinds: tuple[type[Event], ...] = (RecordStored, RecordSuperseded, RecordExpired, PeerUp, PeerDown)
        self._rung = False
        return self.node.bus.subscribe(*kinds, wants=self._news)

    def _news(self, events: Sequence[Event]) -> Sequence[Event]:
        return [event for event in events if self._is_news(event)] if self._readers else ()

    def _is_news(self, event: Event) -> bool:
        """Take what is no record, and of records one ring until it is heard: the store has the rest."""
        if isinstance(event, RecordStored):
            self._runs.arrived(event.seq, event.source)
            if self._rung:
                return False
            self._rung = True
        return True
