"""What is being dialled, and whom that keeps waiting.

A dial to an address that drops packets takes three seconds, and there may be hundreds of such addresses: each
source of them has its share of the few dials in flight, so that none keeps the others waiting.
"""

from collections import Counter
from collections.abc import Iterable

from cluster.candidate import Candidate
from cluster.hints import HINT_DIALS_PER_HOST_MAX, host_of

DIALS_IN_FLIGHT_MAX = 8
MEMBER_DIALS_MAX = 6
"""Of those in flight, how many may go to other addresses than seeds' and beacons': beside a thousand members
that are gone, a seed or a beacon's node is dialled when it is due."""
SAVED_DIALS_MAX = 4
"""Of these, how many may go to addresses that an earlier run saved: if all of them are gone, a seed is still
dialled at once, and so is whom it tells of."""


class Flights:
    """The dials in flight, counted."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._count = self._members = self._saved = 0
        self._by_host: Counter[str] = Counter()
        self._busy: set[bytes | None] = set()
        for candidate in candidates:
            if candidate.in_flight:
                self.add(candidate)

    def add(self, candidate: Candidate) -> None:
        """Count one more."""
        self._count += 1
        self._saved += candidate.saved
        if candidate.beacon:
            self._by_host[host_of(candidate.address)] += 1
        elif candidate.seed is None:
            self._members += 1
        if candidate.node_id is not None:
            self._busy.add(candidate.node_id)

    def has_room(self, candidate: Candidate) -> bool:
        """Tell whether a candidate may be dialled now, beside the others, and not twice at two addresses."""
        if self._count >= DIALS_IN_FLIGHT_MAX or candidate.node_id in self._busy:
            return False
        if candidate.beacon:
            return self._by_host[host_of(candidate.address)] < HINT_DIALS_PER_HOST_MAX
        if candidate.saved and self._saved >= SAVED_DIALS_MAX:
            return False
        return candidate.seed is not None or self._members < MEMBER_DIALS_MAX
