"""The bus: order, kinds, and the one rule: a subscriber that does not keep up is cut and told."""

import inspect

import pytest
import trio
import trio.testing

from eventbus import (
    BusClosed,
    Event,
    EventBus,
    PeerDown,
    PeerUp,
    RecordExpired,
    RecordStored,
    RecordSuperseded,
    SubscriberLagged,
    Subscription,
)
from eventbus.bus import BUFFER_EVENTS
from validator import Record

RECORD = Record.of("a", "b", "c", 1)
EVERY_KIND = (RecordStored, RecordSuperseded, RecordExpired, PeerUp, PeerDown)


def stored(seq: int) -> RecordStored:
    return RecordStored(seq, RECORD, "")


async def received(subscription: Subscription) -> list[Event]:
    """Receive what must be there already."""
    with trio.fail_after(1):
        return await subscription.receive()


async def test_events_come_in_the_order_they_were_published() -> None:
    """Each subscriber gets everything, oldest first, however it was batched."""
    bus = EventBus()
    with bus.subscribe(*EVERY_KIND) as one, bus.subscribe(*EVERY_KIND) as other:
        events: list[Event] = [
            stored(1),
            PeerUp("ff", "amber"),
            RecordSuperseded(RECORD, RECORD),
            RecordExpired(RECORD),
            PeerDown("ff", "amber", "gone"),
            stored(2),
        ]
        for event in events[:3]:
            bus.publish(event)
        assert await received(one) == events[:3]
        for event in events[3:]:
            bus.publish(event)
        assert await received(one) == events[3:]
        assert await received(other) == events


async def test_events_published_together_are_heard_together() -> None:
    """In their order, without those it does not want; `take` returns what is there and does not wait."""
    bus = EventBus()
    with bus.subscribe(RecordStored) as subscription:
        bus.publish(stored(1), PeerUp("ff", "amber"), stored(2))
        assert await received(subscription) == [stored(1), stored(2)]
        assert subscription.take() == []
        bus.publish()
        bus.publish(stored(3))
        assert subscription.take() == [stored(3)]


async def test_a_subscriber_is_not_woken_by_what_it_does_not_want() -> None:
    """Records from peers neither arrive nor take room where only those of clients are wanted."""
    bus = EventBus()
    wanted = RecordStored(3, RECORD, "")
    with bus.subscribe(
        RecordStored,
        wants=lambda events: [e for e in events if isinstance(e, RecordStored) and not e.source],
        buffer_events=1,
    ) as subscription:
        for seq in (1, 2):
            bus.publish(RecordStored(seq, RECORD, "a peer"))
        bus.publish(wanted)

        assert await received(subscription) == [wanted]


@pytest.mark.parametrize("kind", EVERY_KIND)
async def test_a_subscriber_hears_only_the_kinds_it_asked_for(kind: type[Event]) -> None:
    """The others neither arrive nor take room in its buffer."""
    bus = EventBus()
    events: list[Event] = [
        stored(1),
        RecordSuperseded(RECORD, RECORD),
        RecordExpired(RECORD),
        PeerUp("ff", "amber"),
        PeerDown("ff", "amber", "gone"),
    ]
    with bus.subscribe(kind, buffer_events=1) as subscription:
        for event in events:
            bus.publish(event)
        assert await received(subscription) == [e for e in events if isinstance(e, kind)]
        assert bus.lagged_total == 0


async def test_what_was_published_before_is_not_heard() -> None:
    """A subscription begins when it is made; for the past there is the store."""
    bus = EventBus()
    bus.publish(stored(1))
    with bus.subscribe(RecordStored) as subscription:
        bus.publish(stored(2))
        assert await received(subscription) == [stored(2)]


async def test_a_subscriber_waits_until_something_happens(autojump_clock: trio.testing.MockClock) -> None:
    """`receive` sleeps, wakes on the event, and never returns nothing."""
    bus = EventBus()
    heard: list[list[Event]] = []

    async def listen() -> None:
        heard.append(await subscription.receive())
        heard.append(await subscription.receive())

    with bus.subscribe(RecordStored) as subscription:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await trio.testing.wait_all_tasks_blocked()
            bus.publish(PeerUp("ff", "amber"))
            await trio.testing.wait_all_tasks_blocked()
            assert heard == []
            bus.publish(stored(1))
            await trio.testing.wait_all_tasks_blocked()
            assert heard == [[stored(1)]]
            bus.publish(stored(2))
    assert heard == [[stored(1)], [stored(2)]]


async def test_a_full_buffer_is_still_delivered_and_one_event_more_cuts() -> None:
    """The edge of the bound, exactly."""
    bus = EventBus()
    full, over = bus.subscribe(RecordStored, buffer_events=3), bus.subscribe(RecordStored, buffer_events=2)
    for seq in (1, 2, 3):
        bus.publish(stored(seq))
    assert await received(full) == [stored(1), stored(2), stored(3)]
    with pytest.raises(SubscriberLagged, match="2"):
        await received(over)
    assert bus.lagged_total == 1


async def test_one_that_lags_is_cut_and_told_while_the_others_go_on() -> None:
    """Being slow costs only the slow one, once; it is not handed half of what it missed."""
    bus = EventBus()
    quick, slow = bus.subscribe(RecordStored), bus.subscribe(RecordStored, buffer_events=10)
    for seq in range(1, 101):
        bus.publish(stored(seq))
        assert await received(quick) == [stored(seq)]
    for _ in range(2):
        with pytest.raises(SubscriberLagged):
            await received(slow)
    bus.publish(stored(101))
    with pytest.raises(SubscriberLagged):
        await received(slow)
    assert await received(quick) == [stored(101)]
    assert bus.lagged_total == 1


@pytest.mark.parametrize("buffer_events", [0, 2])
async def test_one_that_lags_while_it_waits_is_woken_and_told(buffer_events: int) -> None:
    """A burst within one turn of the loop can cut a subscriber that is asleep in `receive`."""
    bus = EventBus()
    told = trio.Event()

    async def listen() -> None:
        with pytest.raises(SubscriberLagged):
            await subscription.receive()
        told.set()

    with bus.subscribe(RecordStored, buffer_events=buffer_events) as subscription:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await trio.testing.wait_all_tasks_blocked()
            for seq in (1, 2, 3):
                bus.publish(stored(seq))
            with trio.fail_after(1):
                await told.wait()


async def test_the_default_buffer_takes_its_stated_number_of_events() -> None:
    """The limit has a name, and the name tells the truth."""
    bus = EventBus()
    subscription = bus.subscribe(RecordStored)
    for seq in range(BUFFER_EVENTS):
        bus.publish(stored(seq))
    assert bus.lagged_total == 0
    bus.publish(stored(BUFFER_EVENTS))
    assert bus.lagged_total == 1
    with pytest.raises(SubscriberLagged):
        await received(subscription)


async def test_close_hands_out_what_was_published_before_it() -> None:
    """A node that stops loses no event on the way; after the last comes the end, every time."""
    bus = EventBus()
    subscription = bus.subscribe(RecordStored)
    bus.publish(stored(1))
    bus.close()
    assert await received(subscription) == [stored(1)]
    for _ in range(2):
        with pytest.raises(BusClosed):
            await received(subscription)


async def test_close_wakes_who_waits() -> None:
    """A feed in `receive` ends by itself when the node stops."""
    bus = EventBus()
    ended: list[str] = []

    async def listen(name: str) -> None:
        with bus.subscribe(RecordStored) as subscription, pytest.raises(BusClosed):
            await subscription.receive()
        ended.append(name)

    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(listen, name)
            await trio.testing.wait_all_tasks_blocked()
            bus.close()
    assert sorted(ended) == ["a", "b", "c"]


async def test_a_subscription_made_after_close_ends_at_once() -> None:
    """Nobody waits for a bus that will never ring."""
    bus = EventBus()
    bus.close()
    with pytest.raises(BusClosed):
        await received(bus.subscribe(RecordStored))


async def test_one_that_lagged_is_told_so_even_after_close() -> None:
    """It must know that it missed something, not only that it is over."""
    bus = EventBus()
    subscription = bus.subscribe(RecordStored, buffer_events=1)
    bus.publish(stored(1))
    bus.publish(stored(2))
    bus.close()
    with pytest.raises(SubscriberLagged):
        await received(subscription)


async def test_leaving_the_block_ends_the_subscription() -> None:
    """Who has left is sent nothing and can no longer lag."""
    bus = EventBus()
    with bus.subscribe(RecordStored, buffer_events=1) as left:
        pass
    with pytest.raises(RuntimeError, match="as asked"), bus.subscribe(RecordStored, buffer_events=1):
        raise RuntimeError("as asked")
    for seq in (1, 2, 3):
        bus.publish(stored(seq))
    assert bus.lagged_total == 0
    with trio.move_on_after(0) as scope:
        await left.receive()
    assert scope.cancelled_caught
    bus.forget(left)


async def test_one_that_lagged_inside_its_block_leaves_it_without_harm() -> None:
    """The bus has forgotten it already; the end of the block finds nothing to do."""
    bus = EventBus()
    with bus.subscribe(RecordStored, buffer_events=1) as subscription:
        bus.publish(stored(1))
        bus.publish(stored(2))
        with pytest.raises(SubscriberLagged):
            await received(subscription)
    bus.publish(stored(3))
    assert bus.lagged_total == 1


async def test_a_cancelled_receive_loses_nothing() -> None:
    """A feed that gives up waiting and asks again gets what came between."""
    bus = EventBus()
    with bus.subscribe(RecordStored) as subscription:
        with trio.move_on_after(0):
            await subscription.receive()
        bus.publish(stored(1))
        assert await received(subscription) == [stored(1)]


async def test_publish_neither_waits_nor_raises() -> None:
    """Who talks to all never waits: `publish` is no coroutine and runs no other task, even to deaf ears."""
    bus = EventBus()
    assert not inspect.iscoroutinefunction(bus.publish)
    ran: list[str] = []

    async def other() -> None:
        ran.append("other")

    for buffer_events in (0, 1, 2):
        bus.subscribe(RecordStored, buffer_events=buffer_events)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for seq in range(1000):
            bus.publish(stored(seq))
        assert ran == []
    assert bus.lagged_total == 3


async def test_publishing_after_close_does_no_harm() -> None:
    """Something may still happen while a node stops."""
    bus = EventBus()
    subscription = bus.subscribe(RecordStored)
    bus.close()
    bus.publish(stored(1))
    bus.close()
    assert await received(subscription) == [stored(1)]
    with pytest.raises(BusClosed):
        await received(subscription)


@pytest.mark.parametrize(
    "event",
    [
        stored(1),
        RecordSuperseded(RECORD, RECORD),
        RecordExpired(RECORD),
        PeerUp("ff", "amber"),
        PeerDown("ff", "amber", "gone"),
    ],
)
def test_an_event_cannot_be_changed(event: Event) -> None:
    """All subscribers share one object."""
    with pytest.raises(AttributeError):
        setattr(event, event.__struct_fields__[0], None)
