"""Reconciliation finds exactly what differs, in the bytes of the published protocol.

The vectors are exchanges recorded from the JavaScript reference implementation.
"""

import hashlib
import json
import math
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cluster.negentropy import (
    FINE,
    FRAME_BYTES_MIN,
    REFERENCE,
    Negentropy,
    SortedItems,
    fingerprint,
)
from cluster.negentropy_items import FINGERPRINT_OF_NOTHING
from cluster.negentropy_wire import (
    Mode,
    read_ranges,
)

VECTORS = Path(__file__).parent.parent / "exchanges" / "negentropy-v1.json"
CASES: list[dict[str, Any]] = json.loads(VECTORS.read_text())["cases"]

each_case = pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
limits = st.sampled_from([0, FRAME_BYTES_MIN, FRAME_BYTES_MIN + 1, 5000, 64 * 1024])


def key(time_stamp: int, id: bytes) -> bytes:
    """Join a time stamp and an id of 32 bytes."""
    return time_stamp.to_bytes(8, "big") + id


def some_keys(rng: Random, count: int, times: int) -> set[bytes]:
    """Make random keys with time stamps below `times`; few times make many keys share one."""
    return {key(rng.randrange(times), rng.randbytes(32)) for _ in range(count)}


def items_of(case: dict[str, Any], side: str) -> SortedItems:
    """Return the items a recorded side held."""
    return SortedItems(key(time_stamp, bytes.fromhex(id)) for time_stamp, id in case[side])


def messages_of(case: dict[str, Any], sender: str) -> list[bytes]:
    """Return what a recorded side sent."""
    return [bytes.fromhex(m["hex"]) for m in case["messages"] if m["from"] == sender]


class Exchange:
    """A whole exchange between two of ours, kept for inspection."""

    def __init__(self, client: Negentropy, server: Negentropy, first: bytes) -> None:
        self.requests = [first]
        self.answers: list[bytes] = []
        self.have: list[bytes] = []
        self.need: list[bytes] = []
        self._client, self._server = client, server

    def run(self, rounds_max: int) -> "Exchange":
        """Exchange messages until the initiator is done; fail after `rounds_max` rounds."""
        for _ in range(rounds_max):
            self.answers.append(self._server.respond(self.requests[-1]))
            step = self._client.reconcile(self.answers[-1])
            self.have += step.have
            self.need += step.need
            if step.message is None:
                return self
            self.requests.append(step.message)
        pytest.fail(f"not done after {rounds_max} rounds")


def reconcile(ours: set[bytes], theirs: set[bytes], limit: int = 0, style: str = "even") -> Exchange:
    """Run an exchange over two sets of keys, both sides with the same frame limit."""
    client, server = (Negentropy(SortedItems(keys), limit) for keys in (ours, theirs))
    first = client.probe() if style == "probe" else client.initiate(newest_first=style == "newest")
    union = len(ours | theirs)
    # Unlimited, each round divides by 16 twice. Limited, each settles at least one list of ids.
    rounds_max = 3 + math.ceil(math.log(union + 1, 16)) + (union // 16 if limit else 0)
    return Exchange(client, server, first).run(rounds_max)


# --- the recorded exchanges ------------------------------------------------------------------------------


@each_case
def test_a_responder_answers_the_recorded_requests_byte_for_byte(case: dict[str, Any]) -> None:
    """Where the reference asks, we answer what the reference answers."""
    server = Negentropy(items_of(case, "server_items"), case["frame_size_limit"])
    answers = [server.respond(request) for request in messages_of(case, "client")]
    assert answers == messages_of(case, "server")


@each_case
def test_an_initiator_asks_what_the_reference_asked_and_learns_the_same(case: dict[str, Any]) -> None:
    """Where the reference answers, we go on as the reference does and end with its result."""
    client = Negentropy(items_of(case, "client_items"), case["frame_size_limit"])
    requests: list[bytes | None] = [client.initiate()]
    have: list[str] = []
    need: list[str] = []
    for answer in messages_of(case, "server"):
        step = client.reconcile(answer)
        requests.append(step.message)
        have += [k[8:].hex() for k in step.have]
        need += [id.hex() for id in step.need]
    assert requests == [*messages_of(case, "client"), None]
    assert sorted(have) == sorted(case["have"])
    assert sorted(need) == sorted(case["need"])


@each_case
@pytest.mark.parametrize("style", ["even", "newest", "probe"])
def test_our_own_exchange_finds_the_recorded_difference(case: dict[str, Any], style: str) -> None:
    """However an exchange is opened, its result is that of the reference."""
    sides = [items_of(case, side) for side in ("client_items", "server_items")]
    ours, theirs = ({*items.keys(0, len(items))} for items in sides)
    exchange = reconcile(ours, theirs, case["frame_size_limit"], style)
    assert {k[8:].hex() for k in exchange.have} == set(case["have"])
    assert {id.hex() for id in exchange.need} == set(case["need"])


def test_a_recorded_initiate_of_one_changed_id_no_longer_matches() -> None:
    """The byte-for-byte tests above can fail: one bit of one id changes the message."""
    case = CASES[4]
    items = items_of(case, "client_items")
    first, *others = items.keys(0, len(items))
    changed = SortedItems([first[:-1] + bytes([first[-1] ^ 1]), *others])
    assert Negentropy(changed).initiate() != messages_of(case, "client")[0]


# --- any two sets ----------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 2**32),
    counts=st.tuples(st.integers(0, 400), st.integers(0, 200), st.integers(0, 400)),
    times=st.sampled_from([1, 3, 50, 10**6, 2**64 - 1]),
    limit=limits,
    style=st.sampled_from(["even", "newest", "probe"]),
)
@example(seed=1, counts=(0, 0, 3000), times=50, limit=FRAME_BYTES_MIN, style="newest")
@example(seed=2, counts=(3000, 0, 0), times=50, limit=FRAME_BYTES_MIN, style="even")
@example(seed=3, counts=(1500, 0, 1500), times=1, limit=FRAME_BYTES_MIN, style="probe")
def test_an_exchange_finds_the_whole_difference_within_its_limits(
    seed: int, counts: tuple[int, int, int], times: int, limit: int, style: str
) -> None:
    """Any two sets: the exact difference in bounded rounds, and no message over the limit."""
    rng = Random(seed)
    only_ours, common, only_theirs = (some_keys(rng, count, times) for count in counts)
    exchange = reconcile(only_ours | common, only_theirs | common, limit, style)
    assert set(exchange.have) == only_ours
    assert set(exchange.need) == {k[8:] for k in only_theirs}
    if limit:
        assert max(map(len, exchange.requests + exchange.answers)) <= limit
    else:
        assert len(exchange.have) + len(exchange.need) == len(only_ours) + len(only_theirs)


@given(seed=st.integers(0, 2**32), limit=limits, newest_first=st.booleans())
def test_the_same_sets_always_give_the_same_exchange(seed: int, limit: int, newest_first: bool) -> None:
    """Nothing depends on hashing order or on the order in which items came."""
    rng = Random(seed)
    ours, theirs = list(some_keys(rng, 100, 9)), list(some_keys(rng, 100, 9))
    shuffled = rng.sample(ours, len(ours)), rng.sample(theirs, len(theirs))
    first, again = (
        Exchange(client, server, client.initiate(newest_first)).run(100)
        for client, server in (
            [Negentropy(SortedItems(keys), limit) for keys in pair] for pair in ((ours, theirs), shuffled)
        )
    )
    assert first.requests + first.answers == again.requests + again.answers
    assert (first.have, first.need) == (again.have, again.need)


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 1000, 50_000])
def test_equal_sets_of_any_size_cost_one_small_message_each_way(count: int) -> None:
    """A probe of 20 bytes is answered by one byte; an even opening by one byte too once it has no ids."""
    items = SortedItems(some_keys(Random(count), count, 10**6))
    side = Negentropy(items)
    assert len(side.probe()) == 20
    assert side.respond(side.probe()) == b"\x61"
    assert side.reconcile(b"\x61") == (None, [], [], None)
    if count >= 32:
        assert len(side.initiate()) < 16 * 26
        assert side.respond(side.initiate()) == b"\x61"


def test_a_recent_loss_is_found_in_one_round_by_a_newest_first_opening() -> None:
    """What one side missed at the newest end costs one round if it is little; the older is not cut."""
    keys = sorted(some_keys(Random(5), 20_000, 10**9))
    exchange = reconcile(set(keys[:-20]), set(keys), style="newest")
    assert len(exchange.requests) == 1
    assert exchange.need == [k[8:] for k in keys[-20:]]
    assert sum(map(len, exchange.requests + exchange.answers)) < 3_000


def test_a_newest_first_opening_grows_its_ranges_towards_the_past() -> None:
    """On the wire: the rest, 256, 64, then the newest 16 as ids, ascending, and nothing up to infinity."""
    keys = sorted(some_keys(Random(6), 1000, 10**9))
    items = SortedItems(keys)
    ranges = list(read_ranges(Negentropy(items).initiate(newest_first=True)))
    sizes: list[int] = []
    for r in ranges:
        sizes.append(items.rank(r.upper) - sum(sizes))
    assert sizes == [1000 - 336, 256, 64, 16, 0]
    assert [r.mode for r in ranges] == [Mode.FINGERPRINT] * 3 + [Mode.ID_LIST, Mode.FINGERPRINT]
    assert ranges[-2].ids == [k[8:] for k in keys[-16:]]
    assert ranges[-1].payload == FINGERPRINT_OF_NOTHING


@pytest.mark.parametrize("style", ["newest", "probe"])
@pytest.mark.parametrize(("missing", "told"), [(0, False), (3, False), (1_000, True), (5_000, True)])
def test_whoever_lacks_everything_from_a_time_on_is_told_where_that_begins(
    style: str, missing: int, told: bool
) -> None:
    """The bound lies above all that is held and not above the first that lacks; few are listed instead."""
    keys = sorted(some_keys(Random(9), 5_000, 10**9))
    kept = keys[: len(keys) - missing]
    lacker, holder = (Negentropy(SortedItems(k), 0, FINE) for k in (kept, keys))
    message: bytes | None = lacker.probe() if style == "probe" else lacker.initiate(newest_first=True)
    beyond, listed = None, list[bytes]()
    while message is not None and beyond is None:
        step = lacker.reconcile(holder.respond(message))
        message, beyond = step.message, step.beyond
        listed += step.need
    assert (beyond is not None) is told
    if beyond is None:
        assert listed == [k[8:] for k in keys[len(kept) :]]
    else:
        assert not listed
        assert all(k < beyond for k in kept)
        assert sum(k < beyond for k in keys) - len(kept) < 1_000, "at most one coarse range too late"


def test_a_fine_cut_costs_less_where_what_differs_is_spread() -> None:
    """100 ids anywhere among 20,000: a sixth less than cut as by the reference, and all are found."""
    keys = sorted(some_keys(Random(10), 20_000, 10**9))
    kept = sorted(set(keys) - set(Random(11).sample(keys, 100)))
    costs: list[int] = []
    for cut in (REFERENCE, FINE):
        lacker, holder = (Negentropy(SortedItems(k), 16 * 1024, cut) for k in (kept, keys))
        exchange = Exchange(lacker, holder, lacker.probe()).run(100)
        assert set(exchange.need) == {k[8:] for k in keys} - {k[8:] for k in kept}
        costs.append(sum(map(len, exchange.requests + exchange.answers)))
    assert costs[1] < costs[0] * 5 / 6


# --- fingerprints ------------------------------------------------------------------------------------------


@given(st.lists(st.binary(min_size=32, max_size=32), unique=True, max_size=20))
def test_a_fingerprint_is_the_hash_of_sum_and_count(ids: list[bytes]) -> None:
    """The published rule, computed the plain way, also where the sum wraps at 2^256."""
    items = SortedItems(key(7, id) for id in ids)
    total = sum(int.from_bytes(id, "little") for id in ids) % 2**256
    plain = hashlib.sha256(total.to_bytes(32, "little") + bytes([len(ids)])).digest()[:16]
    assert fingerprint(items, 0, len(items)) == plain


def test_a_fingerprint_wraps_at_two_to_the_256() -> None:
    """The largest id and the id one sum to zero, and yet are not nothing: the count tells them."""
    items = SortedItems([key(1, b"\xff" * 32), key(2, b"\x01" + bytes(31))])
    assert items.sum_ids(0, 2) == 0
    assert fingerprint(items, 0, 2) != FINGERPRINT_OF_NOTHING == fingerprint(items, 1, 1)
