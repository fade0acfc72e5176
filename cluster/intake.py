"""What links bring, brought to the desk and the engine, in turns: no peer keeps the node from the others.

A link's reader waits here while its messages are worked through, and reads no more meanwhile: TCP holds
the peer back, so whoever sends more than its share waits and loses nothing. What a turn bounds is time,
not records a second: a lone batch or a catch-up has all turns to itself and goes as fast as it can.
"""

from collections.abc import Callable

from cluster.desk import Desk
from cluster.link import Link
from cluster.messages import Message, Page, Push
from cluster.turns import Turn
from cluster.vocabulary import Heard, Input, Received

ADMIT_RECORDS = 128
"""Records admitted at a time: less than a millisecond with MD5, eight with Ed25519 (docs/validators.md).
What the engine then does costs a receiver 15 % of its time with 64 (measured)."""


class Intake:
    """Takes what all links read. `feed`: hands one input to the engine."""

    def __init__(self, desk: Desk, feed: Callable[[Input], None]) -> None:
        self._desk = desk
        self._feed = feed
        self.records_total = 0

    async def take(self, link: Link, messages: list[Message]) -> None:
        """Take what one read of a link completed."""
        if not messages:
            self._feed(Heard(link.peer, None))
        turn = Turn()
        for message in messages:
            await turn.share()
            if link.closing:
                return
            if isinstance(message, Push | Page):
                await self._take_records(link, message, turn)
            else:
                self._feed(Heard(link.peer, message))

    async def _take_records(self, link: Link, message: Push | Page, turn: Turn) -> None:
        """Admit a frame's records, a slice at a time, and tell the engine what they came to."""
        self.records_total += len(message.records)
        for start in range(0, max(len(message.records), 1), ADMIT_RECORDS):
            await turn.share()
            if link.closing:
                return
            part = message.records[start : start + ADMIT_RECORDS]
            done = start + ADMIT_RECORDS >= len(message.records)
            # The next page is asked for before this one is admitted, so that one is always on its way.
            turns = isinstance(message, Page) and (start == 0 if message.more else done)
            admitted = self._desk.admit(part, link.peer.hex())
            self._feed(
                Received(
                    link.peer,
                    stored=admitted.stored,
                    known=admitted.known,
                    ignored=admitted.ignored,
                    rejected=admitted.rejected,
                    full=admitted.full,
                    of_page=isinstance(message, Page),
                    last=message.last if isinstance(message, Page) and turns else None,
                    more=isinstance(message, Page) and message.more,
                    origin=message.origin if isinstance(message, Push) else b"",
                    large=admitted.large,
                    lost=admitted.lost,
                )
            )
            if isinstance(message, Push) and message.origin:
                link.admitted(part)
