"""Bugs in how nodes find out what each lacks: fingerprints, windows, sessions."""

# pyright: reportPrivateUsage=false
# A bug is planted where it would be made: inside.

import hashlib
from collections.abc import Sequence
from functools import reduce

import pytest

from cluster import negentropy, reconciliation
from cluster.negentropy import Items
from cluster.reconciliation import Reconciliation
from cluster.vocabulary import Effect, Now
from storage import MemoryStore
from storage.index import Index, IndexWindow
from tests.cluster import test_fingerprint as fingerprint_tests
from tests.contracts import test_store_contract as contract
from tests.planted.bug import SEEDS, Bug, case
from tests.sim import test_quiet as quiet


def xor_fingerprint(patch: pytest.MonkeyPatch) -> None:
    """Combine ids by exclusive or."""

    def xor(items: Items, begin: int, end: int) -> bytes:
        ids = (int.from_bytes(key[8:], "little") for key in items.keys(begin, end))
        total = reduce(int.__xor__, ids, 0).to_bytes(32, "little")
        return hashlib.sha256(total + (end - begin).to_bytes(8, "big")).digest()[:16]

    patch.setattr(negentropy, "fingerprint", xor)
    patch.setattr(reconciliation, "fingerprint", xor)


def fingerprint_of_arrival(patch: pytest.MonkeyPatch) -> None:
    """Hash the ids in the order in which they came."""
    extend = Index.extend
    came: dict[bytes, int] = {}

    def note_and_extend(self: Index, keys: Sequence[bytes]) -> None:
        for key in keys:
            came.setdefault(key, len(came))
        extend(self, keys)

    def sum_ids(self: IndexWindow, begin: int, end: int) -> int:
        keys = sorted(self.keys(begin, end), key=lambda key: came[key])
        return int.from_bytes(hashlib.sha256(b"".join(keys)).digest(), "little")

    patch.setattr(Index, "extend", note_and_extend)
    patch.setattr(IndexWindow, "sum_ids", sum_ids)


def window_to_the_last_instant(patch: pytest.MonkeyPatch) -> None:
    """Compare what has only just been posted."""
    patch.setattr(reconciliation, "STABLE_AGE_MS", 0)


def window_without_margin(patch: pytest.MonkeyPatch) -> None:
    """Compare all there is, however close to its end."""
    patch.setattr(reconciliation, "MARGIN_MS_MAX", 0)


def no_repair(patch: pytest.MonkeyPatch) -> None:
    """Start no session, whatever pings show."""

    def start(self: Reconciliation, peer: bytes, now: Now, *, joining: bool) -> list[Effect]:
        return []

    patch.setattr(Reconciliation, "_start", start)


BUGS = (
    Bug(
        "XOR fingerprint",
        "two pairs of one difference cancel each other and hide what is missing",
        xor_fingerprint,
        case(fingerprint_tests.test_differences_that_cancel_under_exclusive_or_are_found),
    ),
    Bug(
        "fingerprint over arrival order",
        "equal stores look different, for ever",
        fingerprint_of_arrival,
        case(contract.test_a_window_shows_the_held_keys_between_two_bounds, MemoryStore),
    ),
    Bug(
        "sync window up to now",
        "what is on its way is taken for lost, and sent twice",
        window_to_the_last_instant,
        case(quiet.test_the_edges_of_the_window_are_not_taken_for_differences, (0, 0, 0), (0.05, 0.4), 120),
    ),
    Bug(
        "sync window without margins",
        "what is over by one clock only is reconciled again and again",
        window_without_margin,
        case(
            quiet.test_the_edges_of_the_window_are_not_taken_for_differences,
            (4_000, 0, -4_000),
            (0.001, 0.001),
            180,
        ),
    ),
    Bug(
        "no repair",
        "what was lost on the way stays lost",
        no_repair,
        SEEDS,
        "stores differ",
    ),
)
