"""What one peer can take of a node by anti-entropy: bounded steps, bounded bytes, and only its turn."""

from collections.abc import Callable

import msgspec
import pytest

from cluster.codec import FrameReader, encode, encode_push, wire_record
from cluster.messages import (
    IHAVE_DIGESTS_MAX,
    Fetch,
    IHave,
    Message,
    Page,
    Push,
    Reconcile,
    Reconciled,
    WireRecord,
)
from cluster.negentropy_wire import INFINITY, RangeWriter
from cluster.reconciliation import ANNOUNCED_MAX, SYNC_FRAME_BYTES_MAX
from cluster.session import FRUITLESS_S_MAX, LARGE_S, RECORD_S, Session
from cluster.shares import FOUND_MAX, MISSING_MAX, SHARE_MAX
from cluster.vocabulary import Heard, Missed
from storage import StoreLimits
from tests.fakes.mesh import HOUR_MS, Mesh, MeshNode
from validator import Record, sign

INTERVAL_S = 20.0


def fill(node: MeshNode, count: int, name: str = "r") -> None:
    """Store records of the last hour, evenly, that nobody was told of."""
    now_ms = node.now().wall_ms
    step_ms = HOUR_MS // count
    made = [
        Record.of(f"{name}{n}", f"{n}", sign(f"{n}"), now_ms - HOUR_MS + n * step_ms) for n in range(count)
    ]
    node.store.add_many(made, now_ms)


def announced(mesh: Mesh, sender: MeshNode) -> list[int]:
    """From now on, how many records each IHAVE of `sender` names."""
    counts: list[int] = []

    def note(node: MeshNode, peer: bytes, frame: bytes) -> bool:
        if node is sender:
            counts.extend(len(m.digests) // 32 for m in FrameReader().feed(frame) if isinstance(m, IHave))
        return False

    mesh.lose = note
    return counts


def small_and_full(records: int) -> tuple[Mesh, MeshNode, MeshNode]:
    """A node of so many records, linked with one that has room for 50."""
    mesh = Mesh(multicast=False)
    large = mesh.add(1)
    fill(large, records)
    small = mesh.add(2, seeds=(large.address,), limits=StoreLimits(records_max=50))
    mesh.run_until(mesh.linked, 5)
    return mesh, large, small


def test_a_full_store_that_holds_less_is_announced_a_bounded_number_a_round() -> None:
    """It throws them away; all 20,000 every sync interval would stall both and fill the line."""
    mesh, large, _ = small_and_full(20_000)
    counts = announced(mesh, large)
    mesh.run(3 * INTERVAL_S)

    assert 0 < max(counts) <= IHAVE_DIGESTS_MAX
    assert 0 < sum(counts) <= 3 * ANNOUNCED_MAX


def test_what_only_a_full_store_holds_reaches_its_larger_peer_within_an_interval() -> None:
    """Whoever starts the round asks for all it lacks, though it announces little; so each repairs itself."""
    mesh = Mesh(multicast=False)
    large = mesh.add(1)
    fill(large, 20_000)
    small = mesh.add(2, seeds=(large.address,), limits=StoreLimits(records_max=50))
    fill(small, 50, "own")
    mesh.lose = lambda sender, peer, frame: sender is small and tells(frame)
    mesh.run(5)
    assert (len(large), len(small)) == (20_000, 50)
    mesh.lose = lambda sender, peer, frame: False

    assert mesh.run_until(lambda: len(large) == 20_050, INTERVAL_S + 2) > 0


def tells(frame: bytes) -> bool:
    """Whether a frame brings records or announces them."""
    return any(isinstance(m, Push | IHave) for m in FrameReader().feed(frame))


def test_a_page_that_leads_nowhere_ends_the_link() -> None:
    """More is said to follow, and from where it began: whoever asks on has no other session for ever."""
    mesh, node, liar = with_a_liar(lambda message: Page([], message.after, True))
    mesh.run_until(lambda: liar.node_id not in node.engine.membership.peers, 2)

    mesh.run_until(lambda: node.engine.ready(node.now()), 5)


@pytest.mark.parametrize("records", [0, 1])
def test_pages_that_bring_nothing_new_are_not_read_for_ever(records: int) -> None:
    """Each leads a little further, and holds nothing, or what is known: others have their turn."""
    known: list[WireRecord] = []

    def answer(message: Fetch) -> Page:
        after = int.from_bytes(message.after or bytes(8), "big")
        return Page(known, (after + 1).to_bytes(len(message.after) or 8, "big"), True)

    mesh, node, liar = with_a_liar(answer)
    known += [wire_record(r) for r in node.listing()[:records]]
    begin_s = mesh.now_s
    mesh.run_until(lambda: node.engine.session_peer != liar.node_id, FRUITLESS_S_MAX + 1)

    assert mesh.now_s - begin_s > FRUITLESS_S_MAX - 5
    assert liar.node_id in node.engine.membership.peers
    mesh.run_until(lambda: node.engine.ready(node.now()), 5)


def test_a_session_that_never_agrees_ends() -> None:
    """Every answer says that everything differs, a second later: nothing comes of it."""
    mesh, node, liar = with_a_liar(lambda message: Page([], message.after, False))
    mesh.run_until(lambda: node.engine.session_peer != liar.node_id, FRUITLESS_S_MAX + 1)

    assert mesh.now_s > FRUITLESS_S_MAX
    mesh.run_until(lambda: node.engine.ready(node.now()), 5)


def test_a_node_on_a_slow_line_is_not_ready_while_it_reads_pages_of_what_it_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has the oldest; after a while it searches for where the others begin, and reads on from there."""
    monkeypatch.setattr("tests.fakes.mesh.PAGE_RECORDS", 50)
    page_s = 4.0
    known, missing = int(FRUITLESS_S_MAX / page_s + 1) * 50, 1_000
    mesh = Mesh(multicast=False)
    holder = mesh.add(1)
    fill(holder, known + missing)
    node = mesh.add(2, seeds=(holder.address,))
    node.store.add_many(holder.listing(count_max=known), node.now().wall_ms)
    take = holder.take

    def slow(peer: bytes, connection: int, message: Message) -> None:
        late_s = page_s if isinstance(message, Fetch) else 0.0
        mesh.at(mesh.now_s + late_s, lambda: take(peer, connection, message))

    holder.take = slow  # type: ignore[method-assign]  # only its pages take long
    mesh.run_until(lambda: node.engine.ready(node.now()), 3 * FRUITLESS_S_MAX)

    assert len(node) == len(holder)
    assert node.engine.statistics().asked_total < missing / 2


def test_a_session_that_never_agrees_is_not_held_by_a_record_now_and_then() -> None:
    """New ones, which are stored, but far fewer than any line brings: they lengthen it by little."""
    mesh, node, liar = with_a_liar(lambda message: Page([], message.after, False))
    begin_s = mesh.now_s

    def bring(number: int) -> None:
        record = Record.of(f"{number}", "raw", sign("raw"), liar.now().wall_ms)
        mesh.transmit(liar, node.node_id, encode_push([record]))
        mesh.at(mesh.now_s + FRUITLESS_S_MAX - 10, lambda: bring(number + 1))

    bring(1)
    mesh.run_until(lambda: node.engine.session_peer != liar.node_id, 2 * FRUITLESS_S_MAX)

    assert len(node) == 3
    assert FRUITLESS_S_MAX < mesh.now_s - begin_s <= FRUITLESS_S_MAX + 2 * RECORD_S + 1
    mesh.run_until(lambda: node.engine.ready(node.now()), 5)


@pytest.mark.parametrize(
    ("record_s", "large", "goes_on"),
    [(RECORD_S, 0, True), (RECORD_S + 0.2, 0, False), (LARGE_S, 1, True), (LARGE_S + 3, 1, False)],
)
def test_a_session_goes_on_while_it_brings_what_a_slow_line_can(
    record_s: float, large: int, goes_on: bool
) -> None:
    """One of a million records is never given up for being slow; below that rate its turn ends."""
    session = Session(b"peer", 0, 1, 0.0, joining=True, peer_records=1_000_000)
    now_s = 0.0
    while not session.fruitless(now_s) and now_s < 3_600:
        now_s += record_s
        if not session.fruitless(now_s):
            session.brought(1, large, now_s)

    assert (now_s >= 3_600) is goes_on


def test_what_a_session_has_brought_is_no_credit_for_later() -> None:
    """A million records at once, and then nothing: it ends as one that never brought any."""
    session = Session(b"peer", 0, 1, 0.0, joining=True, peer_records=1_000_000)
    session.brought(1_000_000, 0, 10.0)

    assert not session.fruitless(10 + FRUITLESS_S_MAX - 0.001)
    assert session.fruitless(10 + FRUITLESS_S_MAX)


def with_a_liar(page: Callable[[Fetch], Page]) -> tuple[Mesh, MeshNode, MeshNode]:
    """A node that catches up with a peer, which says it holds much and answers so, a second late."""
    mesh = Mesh(multicast=False)
    node = mesh.add(1)
    liar = mesh.add(2, seeds=(node.address,))
    node.post("hello", "known")
    hello, take = liar.hello, liar.take
    out = RangeWriter()
    out.fingerprint(INFINITY, b"?" * 16)

    def answer(peer: bytes, connection: int, message: Message) -> None:
        if isinstance(message, Fetch):
            said: Message = page(message)
        elif isinstance(message, Reconcile):
            said = Reconciled(message.lower_ms, message.upper_ms, out.message())
        else:
            take(peer, connection, message)
            return
        mesh.at(mesh.now_s + 1, lambda: mesh.transmit(liar, peer, encode(said)))

    liar.hello = lambda: msgspec.structs.replace(hello(), records=1000)  # type: ignore[method-assign]  # it lies
    liar.take = answer  # type: ignore[method-assign]
    mesh.run_until(lambda: node.engine.session_peer == liar.node_id, 5)
    return mesh, node, liar


def announce_nothing(node: MeshNode, peer: MeshNode, frames: int) -> None:
    """Have a peer announce what nobody has."""
    for _ in range(frames):
        digests = node.mesh.rng.randbytes(32 * IHAVE_DIGESTS_MAX)
        node.feed(Heard(peer.node_id, IHave(b"", digests)))


def test_what_a_session_finds_is_asked_for_however_much_of_nothing_is_announced() -> None:
    """Six liars have filled all there is to fill; the lost record comes with the next ping."""
    mesh = Mesh()
    node, honest, *liars = [mesh.add(number) for number in range(1, 9)]
    mesh.run_until(mesh.linked, 10)
    mesh.lose = lambda sender, peer, frame: tells(frame)
    record = honest.post("hello", "lost")
    mesh.run(1)
    mesh.lose = lambda sender, peer, frame: sender is not honest and tells(frame)
    for liar in liars:
        announce_nothing(node, liar, SHARE_MAX // IHAVE_DIGESTS_MAX)
    assert node.engine.statistics().missing == MISSING_MAX - FOUND_MAX

    assert mesh.run_until(lambda: node.has(record.digest), 10) < 8


def test_who_announces_what_nobody_has_keeps_no_node_from_being_ready() -> None:
    """Ready is who has what its sessions found; what is announced besides may never come."""
    mesh = Mesh()
    node, liar = mesh.add(1), mesh.add(2)
    mesh.run_until(mesh.linked, 5)
    announce_nothing(node, liar, 1)

    mesh.run_until(lambda: node.engine.ready(node.now()), 3)


def ranges(length: int) -> bytes:
    """A message of so many bytes that says next to nothing in as many ranges as it can hold."""
    lists = (length - 1) % 3  # four bytes each, where a skip has three
    return b"\x61" + b"\x02\x00\x02\x00" * lists + b"\x02\x00\x00" * ((length - 1 - 4 * lists) // 3)


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize("kind", [Reconcile, Reconciled])
def test_a_message_longer_than_any_of_ours_costs_the_link(
    kind: type[Reconcile | Reconciled], more: int
) -> None:
    """Asked or answered: what a frame of 1 MiB can hold would keep a node for a tenth of a second."""
    mesh = Mesh()
    node, peer = mesh.add(1), mesh.add(2)
    mesh.run_until(mesh.linked, 5)
    windows: list[tuple[int, int]] = []

    def note(sender: MeshNode, to: bytes, frame: bytes) -> bool:
        asked = [m for m in FrameReader().feed(frame) if isinstance(m, Reconcile)]
        windows.extend((m.lower_ms, m.upper_ms) for m in asked)
        return bool(asked)

    mesh.lose = note
    node.feed(Missed())
    assert node.engine.session_peer == peer.node_id
    node.feed(Heard(peer.node_id, kind(*windows[0], ranges(SYNC_FRAME_BYTES_MAX + more))))

    assert (peer.node_id in node.engine.membership.peers) == (not more)
    assert (node.engine.session_peer == peer.node_id) == (not more)
