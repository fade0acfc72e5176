"""The doorbell on a real bus, in time that passes only when a test says so."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from cluster.doorbell import BURST_EVENTS, GATHER_S, follow
from cluster.vocabulary import Input, Missed, Stored
from eventbus import EventBus, RecordStored
from eventbus.bus import BUFFER_EVENTS
from validator import Record, sign


class Door:
    """A bus, and what the engine has heard of it."""

    def __init__(self) -> None:
        self.bus = EventBus()
        self.heard: list[Input] = []
        self._posted = 0

    def post(self, number: int, source: str = "") -> list[bytes]:
        """Publish that so many more records are held; returns their digests."""
        first, self._posted = self._posted, self._posted + number
        records = [Record.of(f"r{n}", "x", sign("x"), n) for n in range(first, self._posted)]
        self.bus.publish(*(RecordStored(n, record, source) for n, record in enumerate(records, first)))
        return [record.digest for record in records]


@asynccontextmanager
async def followed() -> AsyncGenerator[Door]:
    """Follow a bus for as long as the block lasts; the end of the bus is the end of the task."""
    door = Door()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, door.bus, door.heard.append)
        await wait_all_tasks_blocked()
        yield door
        door.bus.close()


async def test_slices_of_a_batch_are_told_together(mock_clock: MockClock) -> None:
    """Posted with turns for other tasks between, they would each make a frame and wake every peer."""
    async with followed() as door:
        digests = door.post(BURST_EVENTS)
        await wait_all_tasks_blocked()
        digests += door.post(BURST_EVENTS)
        await wait_all_tasks_blocked()
        digests += door.post(1)
        await wait_all_tasks_blocked()
        assert door.heard == []
        mock_clock.jump(GATHER_S)
        await wait_all_tasks_blocked()
        assert door.heard == [Stored(digests, [])]


async def test_fewer_records_than_a_burst_are_told_at_once(mock_clock: MockClock) -> None:
    """A post waits for nobody; time stands still here."""
    async with followed() as door:
        digests = door.post(BURST_EVENTS - 1)
        await wait_all_tasks_blocked()
        assert door.heard == [Stored(digests, [])]


async def test_records_from_peers_are_not_told(mock_clock: MockClock) -> None:
    """The engine, which has brought them, has heard of them already."""
    async with followed() as door:
        door.post(1, source="ab" * 16)
        digests = door.post(1)
        await wait_all_tasks_blocked()
        assert door.heard == [Stored(digests, [])]


async def test_who_has_lost_count_says_so_and_follows_on(mock_clock: MockClock) -> None:
    """Anti-entropy finds what was missed; what comes next is told as ever."""
    async with followed() as door:
        door.post(BUFFER_EVENTS + 1)
        await wait_all_tasks_blocked()
        digests = door.post(1)
        await wait_all_tasks_blocked()
        assert door.heard == [Missed(), Stored(digests, [])]
