"""Bugs in how a new record reaches every node: pushes, announcements, requests, queues."""

# pyright: reportPrivateUsage=false
# A bug is planted where it would be made: inside.

from collections.abc import Sequence
from dataclasses import replace

import pytest

from cluster import codec, outbox
from cluster import vocabulary as v
from cluster.codec import batches, encode_push
from cluster.dissemination import Dissemination
from cluster.engine import Engine
from cluster.outbox import Outbox
from cluster.pull import Pull
from cluster.service import ClusterService
from cluster.shares import Shares
from cluster.vocabulary import Effect, Input, Now
from tests.cluster import test_fan_out as fan_out
from tests.cluster import test_mesh as mesh
from tests.cluster import test_mesh_repair as repair
from tests.cluster import test_outbox as outbox_tests
from tests.cluster import test_pull as pull_tests
from tests.planted.bug import Bug, case
from validator import Record


def no_relay_after_a_duplicate(patch: pytest.MonkeyPatch) -> None:
    """Once a frame holds something known, tell nobody of the rest of it."""
    received = Dissemination.received

    def tell_nobody(self: Dissemination, event: v.Received, peers: Sequence[bytes], now: Now) -> list[Effect]:
        return received(self, replace(event, of_page=event.of_page or bool(event.known)), peers, now)

    patch.setattr(Dissemination, "received", tell_nobody)


def wait_in_the_fan_out(patch: pytest.MonkeyPatch) -> None:
    """Stop at the first peer without room, as a loop that waits for it does."""

    def push(self: ClusterService, effect: v.PushRecords) -> None:
        for batch in batches(self._desk.lookup(effect.digests)):
            frame = encode_push(batch, effect.origin)
            for peer in effect.peers:
                link = self.links.get(peer)
                if link is not None and not link.push(frame, len(batch)):
                    break

    patch.setattr(ClusterService, "_push", push)


def loop_variable_batch(patch: pytest.MonkeyPatch) -> None:
    """Fill a batch with its last record: what a pointer to the loop's variable comes to."""

    def last_of_all(records: Sequence[Record], origin: bytes = b"") -> bytes:
        return encode_push([records[-1]] * len(records), origin)

    patch.setattr(codec, "encode_push", last_of_all)
    patch.setattr(outbox, "encode_push", last_of_all)


def unbounded_missing_table(patch: pytest.MonkeyPatch) -> None:
    """Note everything that anybody announces."""

    def endless(shares: Shares, teller: bytes) -> int:
        return 10**9

    patch.setattr(Shares, "room", endless)


def outbox_beyond_its_bound(patch: pytest.MonkeyPatch) -> None:
    """Queue more than twice of what is said to be the most."""
    patch.setattr(outbox, "EAGER_BYTES_MAX", 2 * outbox.EAGER_BYTES_MAX)


def graft_timer_never_rings(patch: pytest.MonkeyPatch) -> None:
    """Wait for a push without end."""
    patch.setattr(Pull, "graft_s", property(lambda self: 1e9))


def a_dead_origin_is_waited_for(patch: pytest.MonkeyPatch) -> None:
    """Keep what a closed link owed as it was."""

    def link_down(self: Pull, peer: bytes, now_s: float) -> None:
        pass

    patch.setattr(Pull, "link_down", link_down)


def full_outbox_loses(patch: pytest.MonkeyPatch) -> None:
    """Do nothing about what an outbox did not take."""
    handle = Engine.handle

    def shrug(self: Engine, event: Input, now: Now) -> list[Effect]:
        return [] if isinstance(event, v.Degraded) else handle(self, event, now)

    patch.setattr(Engine, "handle", shrug)


def missed_is_missed(patch: pytest.MonkeyPatch) -> None:
    """Do nothing about what the driver lost count of."""
    handle = Engine.handle

    def shrug(self: Engine, event: Input, now: Now) -> list[Effect]:
        return [] if isinstance(event, v.Missed) else handle(self, event, now)

    patch.setattr(Engine, "handle", shrug)


def bulk_first(patch: pytest.MonkeyPatch) -> None:
    """Write what was asked for before anything else."""
    next_write = Outbox.next_write

    def catch_up_first(self: Outbox) -> bytes:
        while self.gather():
            pass
        return b"".join(self._gathered()) or next_write(self)

    patch.setattr(Outbox, "next_write", catch_up_first)


BUGS = (
    Bug(
        "no relay after a duplicate",
        "a frame with one known record in it is announced to nobody",
        no_relay_after_a_duplicate,
        case(repair.test_what_comes_along_with_a_duplicate_is_announced_all_the_same),
    ),
    Bug(
        "await in the fan-out loop",
        "one peer without room holds up those after it",
        wait_in_the_fan_out,
        case(fan_out.test_a_peer_without_room_holds_up_nobody_after_it),
    ),
    Bug(
        "pointer-to-loop-variable batch",
        "every record of a batch is its last one",
        loop_variable_batch,
        case(outbox_tests.test_what_was_asked_for_comes_whole_and_in_order_in_batches),
    ),
    Bug(
        "unbounded IHAVE table",
        "a peer may announce until memory is full",
        unbounded_missing_table,
        case(pull_tests.test_the_table_is_bounded),
    ),
    Bug(
        "outbox beyond its bound",
        "a peer that does not read costs more memory than stated",
        outbox_beyond_its_bound,
        case(outbox_tests.test_the_eager_lane_refuses_at_its_bound_and_takes_again_when_drained),
    ),
    Bug(
        "graft timer that never rings",
        "an announced record is waited for, however long",
        graft_timer_never_rings,
        case(mesh.test_a_lost_push_is_repaired_by_announcements_within_the_graft_timer),
    ),
    Bug(
        "a dead origin is waited for",
        "what a closed link owed is not asked of others",
        a_dead_origin_is_waited_for,
        case(pull_tests.test_when_the_asked_peer_dies_another_is_asked_at_once),
    ),
    Bug(
        "a full outbox loses",
        "what an outbox did not take is not announced either",
        full_outbox_loses,
        case(mesh.test_a_peer_whose_outbox_was_full_gets_the_records_by_announcement),
    ),
    Bug(
        "missed is missed",
        "an engine that was not told of records leaves them to chance",
        missed_is_missed,
        case(repair.test_what_the_engine_was_not_told_of_is_with_all_at_once),
    ),
    Bug(
        "bulk before all else",
        "pings and fresh records wait behind a catch-up",
        bulk_first,
        case(outbox_tests.test_messages_go_before_records_and_records_before_what_was_asked_for),
    ),
)
