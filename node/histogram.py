"""A histogram with fixed buckets, as Prometheus counts them."""

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """Counts values into buckets. `bounds`: the largest value of each bucket, ascending."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value
