"""Bugs in who is linked with whom, who is let go, and when a node does something at all."""

# pyright: reportPrivateUsage=false
# A bug is planted where it would be made: inside.

from collections.abc import Sequence

import pytest

from cluster import vocabulary as v
from cluster.candidates import Candidates
from cluster.dissemination import Dissemination
from cluster.engine import Engine
from cluster.members import Members
from cluster.membership import Membership
from cluster.messages import Hello, Ping
from cluster.vocabulary import Effect, Input, Now
from tests.cluster import test_membership as membership
from tests.cluster import test_mesh as mesh
from tests.planted.bug import PARTIAL, SEEDS, Bug, case

TRIES = 5
"""After so many dials the bug that gives up does so."""


def redial_gives_up(patch: pytest.MonkeyPatch) -> None:
    """Forget an address after a few dials."""
    dial_failed = Candidates.dial_failed

    def give_up(self: Candidates, event: v.DialFailed, now: Now) -> None:
        dial_failed(self, event, now)
        candidate = self._known.get(event.address)
        if candidate is not None and candidate.attempts >= TRIES:
            candidate.next_s = now.s + 10**9

    patch.setattr(Candidates, "dial_failed", give_up)


def each_keeps_its_own(patch: pytest.MonkeyPatch) -> None:
    """Prefer the connection that this side has dialled, on both sides."""

    def refusal(self: Membership, hello: Hello, *, dialled: bool, now: Now) -> tuple[str, str] | None:
        if hello.node_id == self.node_id:
            return "self", "this address is my own"
        present = self.peers.get(hello.node_id)
        return None if present is None or dialled else ("duplicate", "already linked by a link of my own")

    patch.setattr(Membership, "refusal", refusal)


def own_stall_not_forgiven(patch: pytest.MonkeyPatch) -> None:
    """Count a pause of this node as its peers' silence."""

    def forgive(self: Membership, stall_s: float, now: Now) -> None:
        pass

    patch.setattr(Membership, "forgive", forgive)


def silence_is_patience(patch: pytest.MonkeyPatch) -> None:
    """Take every tick for a sign of life of all peers."""
    handle = Engine.handle

    def hear_all(self: Engine, event: Input, now: Now) -> list[Effect]:
        for peer in self.membership.peers.values():
            peer.heard_s = now.s
        return handle(self, event, now)

    patch.setattr(Engine, "handle", hear_all)


def garbage_is_forgiven(patch: pytest.MonkeyPatch) -> None:
    """Drop records that no honest node sends, and nothing more."""

    def rejected(self: Membership, peer: bytes, count: int, now: Now) -> str | None:
        return None

    patch.setattr(Membership, "rejected", rejected)


def the_timer_rings_for_ever(patch: pytest.MonkeyPatch) -> None:
    """Return a deadline that never moves on."""

    def deadline_s(self: Engine) -> float:
        return 0.0

    patch.setattr(Engine, "deadline_s", property(deadline_s))


def words_after_goodbye(patch: pytest.MonkeyPatch) -> None:
    """Ping a peer once more after its link was closed."""
    handle = Engine.handle

    def ping_the_closed(self: Engine, event: Input, now: Now) -> list[Effect]:
        effects = handle(self, event, now)
        closed = [e.peer for e in effects if isinstance(e, v.Close)]
        return effects + [v.Send(peer, Ping(0, 0, 0, 0, 0, 0, bytes(16))) for peer in closed]

    patch.setattr(Engine, "handle", ping_the_closed)


def the_dead_stay_members(patch: pytest.MonkeyPatch) -> None:
    """Keep every member that ever was."""

    def expire(self: Members, now_s: float) -> None:
        pass

    patch.setattr(Members, "expire", expire)


def facts_are_for_the_next_only(patch: pytest.MonkeyPatch) -> None:
    """Take member facts and pass none on."""
    pass_on = Dissemination._pass_on

    def keep_facts(
        self: Dissemination,
        origin: bytes,
        source: bytes,
        digests: list[bytes],
        peers: Sequence[bytes],
        now: Now,
    ) -> list[Effect]:
        others = [d for d in digests if not self._members.has(d)]
        return pass_on(self, origin, source, others, peers, now) if others else []

    patch.setattr(Dissemination, "_pass_on", keep_facts)


def ready_at_once(patch: pytest.MonkeyPatch) -> None:
    """Call a node ready when it has started."""

    def ready(self: Engine, now: Now) -> bool:
        return True

    patch.setattr(Engine, "ready", ready)


BUGS = (
    Bug(
        "re-dial that gives up",
        "after five tries a lost node is not dialled any more",
        redial_gives_up,
        case(membership.test_a_seed_is_dialled_for_ever_with_growing_pauses),
    ),
    Bug(
        "each keeps its own",
        "of two connections between two nodes each side keeps the one it dialled",
        each_keeps_its_own,
        case(membership.test_of_two_connections_the_one_dialled_by_the_lower_id_stays, True, 1),
    ),
    Bug(
        "own stall not forgiven",
        "a node that stood still takes its peers for dead",
        own_stall_not_forgiven,
        case(mesh.test_a_nodes_own_stall_does_not_condemn_its_peers),
    ),
    Bug(
        "silence is patience",
        "a peer that is silent for ever is never let go",
        silence_is_patience,
        case(mesh.test_a_silent_peer_is_suspected_and_dropped_and_found_again),
    ),
    Bug(
        "garbage is forgiven",
        "a peer may send records that no honest node sends",
        garbage_is_forgiven,
        SEEDS,
        "which sent garbage",
    ),
    Bug(
        "the timer rings for ever",
        "a deadline that does not move on keeps the processor busy",
        the_timer_rings_for_ever,
        SEEDS,
        "busy loop",
    ),
    Bug(
        "words after goodbye",
        "the engine speaks to a peer it has let go",
        words_after_goodbye,
        SEEDS,
        "no link",
    ),
    Bug(
        "the dead stay members",
        "the member list of a large cluster never forgets",
        the_dead_stay_members,
        PARTIAL,
        "which is gone",
    ),
    Bug(
        "facts for the next only",
        "member facts reach those the node is linked with, and go no further",
        facts_are_for_the_next_only,
        PARTIAL,
        "lists no",
    ),
    Bug(
        "ready at once",
        "a node takes readers before it has caught up",
        ready_at_once,
        case(mesh.test_a_lone_node_is_ready_after_its_grace_time),
    ),
)
