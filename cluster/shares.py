"""Places in the table of missing records: how many each peer has, and what is kept for our own findings.

A peer that announces what nobody has fills its own share and no other's.
"""

MISSING_MAX = 65_536
"""Places in all, about 20 MB. What does not fit is found again by the next reconciliation."""

FOUND_MAX = MISSING_MAX // 4
"""Places kept for what our own reconciliation finds, so that announcements of nothing cannot keep it out."""

SHARE_MAX = MISSING_MAX // 8
"""Places of one peer, for what it announces first. Looking through so many takes 10 ms, and an honest
peer seldom has more on its way; what it has is found by the next reconciliation."""


class Shares:
    """Counts of entries by *teller*: the peer that announced them first, or empty for our own findings."""

    def __init__(self) -> None:
        self._held: dict[bytes, int] = {}
        self._announced = 0

    def __getitem__(self, teller: bytes) -> int:
        """Return how many places a teller has taken."""
        return self._held.get(teller, 0)

    def room(self, teller: bytes) -> int:
        """Return how many more it may take."""
        if not teller:
            return FOUND_MAX - self[teller]
        return min(SHARE_MAX - self[teller], MISSING_MAX - FOUND_MAX - self._announced)

    def take(self, teller: bytes) -> None:
        """Count one place as taken."""
        self._held[teller] = self[teller] + 1
        self._announced += bool(teller)

    def give(self, teller: bytes) -> None:
        """Count one place as free again."""
        self._held[teller] -= 1
        self._announced -= bool(teller)
        if not self._held[teller]:
            del self._held[teller]

    def move(self, teller: bytes, to: bytes) -> None:
        """Count one place of a teller as another's."""
        self.give(teller)
        self.take(to)

    def clear(self) -> None:
        """Forget all."""
        self._held.clear()
        self._announced = 0
