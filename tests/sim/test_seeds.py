"""A hundred and more clusters under drawn faults, and the simulator's own honesty.

A failure names its seed: `python scripts/simulate.py --seed N --trace` runs it again, event for event.
"""

import pytest

from cluster import Admitted, Now, WireRecord
from cluster import vocabulary as v
from cluster.codec import encode
from cluster.engine import Engine
from cluster.messages import Message, Ping
from cluster.reconciliation import Reconciliation
from node.admission import Admission
from storage import MemoryStore
from tests.sim.checks import anytime
from tests.sim.faults import MENU, Options
from tests.sim.host import Host
from tests.sim.run import run_seed
from tests.sim.wire import Endpoint
from tests.sim.world import Machine, Violation, World
from validator import Record, sign

CHUNK = 20
CHUNKS = 8

REGRESSIONS = (48, 208, 1309, 1387)
"""Seeds that once showed something, in the product or in the simulator, beyond the chunks or within."""


@pytest.mark.parametrize("first", range(0, CHUNK * CHUNKS, CHUNK))
def test_every_promise_holds_whatever_the_seed_draws(first: int) -> None:
    """Anytime, eventually, finally: for every seed of the chunk."""
    reports = [run_seed(seed) for seed in range(first, first + CHUNK)]
    assert [f"seed {r.seed}: {r.failure}" for r in reports if r.failure] == []
    assert sum(r.posted for r in reports) > CHUNK
    assert all(r.delivered == r.due for r in reports)


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_a_seed_that_once_failed_holds(seed: int) -> None:
    """What was found stays found."""
    assert run_seed(seed).failure is None


@pytest.mark.parametrize("seed", [3, 14])
def test_the_same_seed_gives_the_same_events_and_another_seed_others(seed: int) -> None:
    """Without this a failing seed could not be looked into."""
    lines: list[str] = []
    first, second, other = run_seed(seed), run_seed(seed, watch=lines.append), run_seed(seed + 1)
    assert (first.hash, first.events) == (second.hash, second.events)
    assert len(lines) > 100
    assert first.hash != other.hash


def test_every_fault_of_the_menu_strikes() -> None:
    """A fault that no seed draws tests nothing."""
    struck = sum(
        (run_seed(s, Options(seconds=10, records=5)).totals for s in range(40)), start=run_seed(0).totals
    )
    assert {name for name in MENU if struck[f"fault {name}"]} == set(MENU)
    assert struck["frames lost"] > 0
    assert struck["garbage refused"] > 0


# --- planted bugs: a check that cannot fail checks nothing ----------------------------------------------


def failures(count: int = 25) -> str:
    """Run some seeds and join what they say."""
    return "\n".join(r.failure for r in map(run_seed, range(count)) if r.failure)


def test_a_store_that_lists_what_is_over_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: the listing forgets about life."""
    whole = MemoryStore.page

    def page(self: MemoryStore, after: bytes, wall_ms: int, count_max: int) -> list[Record]:
        return whole(self, after, 0, count_max)

    monkeypatch.setattr(MemoryStore, "page", page)
    assert "after its life" in failures()


def test_a_node_that_stamps_anew_what_peers_send_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: arrival time in place of the origin's."""
    admit = Admission.admit

    def stamped(self: Admission, records: list[WireRecord], peer: str, wall_ms: int) -> Admitted:
        anew = [WireRecord(r.id, r.raw, r.signature, wall_ms) for r in records]
        return admit(self, anew, peer, wall_ms)

    monkeypatch.setattr(Admission, "admit", stamped)
    assert "nobody posted" in failures()


def test_an_engine_without_repair_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: pings and sync rounds start nothing."""

    def start_nothing(self: Reconciliation, peer: bytes, now: Now, *, joining: bool) -> list[v.Effect]:
        return []

    monkeypatch.setattr(Reconciliation, "_start", start_nothing)
    assert "stores differ" in failures()


def test_an_engine_that_rings_for_ever_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a deadline that never moves on."""

    def never_moves(engine: Engine) -> float:
        return 0.0

    monkeypatch.setattr(Engine, "deadline_s", property(never_moves))
    assert "busy loop" in failures(3)


def test_a_node_that_speaks_to_those_it_let_go_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: an effect for a peer without a link."""
    world = World(0)
    host = Host(world, Machine("10.0.0.1:7946"))
    stray: list[v.Effect] = [v.Send(bytes(16), Ping(0, 0, 0, 0, 0, 0, bytes(16)))]

    def handle(event: v.Input, now: Now) -> list[v.Effect]:
        return stray

    monkeypatch.setattr(host.engine, "handle", handle)
    with pytest.raises(Violation, match="no link"):
        host.feed(v.Tick())


def test_a_record_nobody_posted_is_caught() -> None:
    """Planted: a phantom in a store."""
    world = World(0)
    host = Host(world, Machine("10.0.0.1:7946"))
    host.store.add(Record.of("id", "raw", sign("raw"), host.now().wall_ms), host.now().wall_ms)
    with pytest.raises(Violation, match="nobody posted"):
        anytime(world)


def test_garbage_costs_its_sender_the_link_and_nobody_else() -> None:
    """Two links; the one that garbage came over is gone, the other carries on."""
    world = World(0)
    good, bad, other = (Host(world, Machine(f"10.0.0.{n}:7946")) for n in (1, 2, 3))
    assert world.run_until(lambda: all(len(h.links) == 2 for h in (good, bad, other)), 10)
    bad.links[good.node_id].spoil(b"\xff" * 10, harmful=True)
    world.run(1)
    assert list(good.links) == [other.node_id]
    good.submit("id", "raw")
    world.run(1)
    assert len(other.listing()) == 1


def test_within_a_connection_nothing_is_lost_or_overtaken_by_a_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut shorter than the silence that ends a link delays, in order; it loses nothing."""
    world = World(0, (0.001, 0.2))
    a, b = (Host(world, Machine(f"10.0.0.{n}:7946")) for n in (1, 2))
    assert world.run_until(lambda: bool(a.links and b.links), 10)
    world.run(1)
    arrived: list[int] = []
    take = b.take

    def tapped(endpoint: Endpoint, message: Message) -> None:
        if isinstance(message, Ping) and message.seq >= 1000:
            arrived.append(message.seq)
        else:
            take(endpoint, message)

    monkeypatch.setattr(b, "take", tapped)
    world.cut.add((a.address, b.address))
    for seq in range(1000, 1050):
        frame = Ping(seq, 0, 0, 0, 0, 0, bytes(16))
        assert len(encode(frame)) < 100
        a.links[b.node_id].outbox.send(frame)
        a.links[b.node_id].write()
        world.run(0.05)
    assert not arrived
    world.cut.clear()
    world.run(1)
    assert arrived == list(range(1000, 1050))
