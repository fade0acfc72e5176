"""What the readers of links bring: records to the desk, everything else to the engine.

A frame of records is admitted a slice at a time, so that a peer with much to say takes turns with all else.
"""

from collections.abc import Callable

import trio

from cluster import vocabulary as v
from cluster.desk import Desk
from cluster.link import Link
from cluster.messages import Message, Page, Push
from cluster.vocabulary import Input

ADMIT_RECORDS = 256
"""Records of one frame admitted before other tasks get a turn: about 2 ms."""


class Intake:
    """Takes what links have read. `feed` hands one input to the engine."""

    def __init__(self, desk: Desk, feed: Callable[[Input], None]) -> None:
        self._desk = desk
        self._feed = feed
        self.records_total = 0

    async def take(self, link: Link, messages: list[Message]) -> None:
        """Take what one read of a link completed; nothing is a sign of life."""
        if not messages:
            self._feed(v.Heard(link.peer, None))
        for message in messages:
            if link.closing:
                return
            if isinstance(message, Push | Page):
                await self._take_records(link, message)
            else:
                self._feed(v.Heard(link.peer, message))

    async def _take_records(self, link: Link, message: Push | Page) -> None:
        """Admit a frame's records and tell the engine what they came to."""
        self.records_total += len(message.records)
        for start in range(0, max(len(message.records), 1), ADMIT_RECORDS):
            if start:
                await trio.lowlevel.checkpoint()
                if link.closing:
                    return
            part = message.records[start : start + ADMIT_RECORDS]
            done = start + ADMIT_RECORDS >= len(message.records)
            # The next page is asked for before this one is admitted, so that one is always on its way.
            turns = isinstance(message, Page) and (start == 0 if message.more else done)
            admitted = self._desk.admit(part, link.peer.hex())
            self._feed(
                v.Received(
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
                )
            )
            if isinstance(message, Push) and message.origin:
                link.admitted(part)
