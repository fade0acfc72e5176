"""A token bucket: so many a second, and no more than one second's worth at once."""


class TokenBucket:
    """Holds one second's worth of tokens. `per_s`: how many come back in a second."""

    def __init__(self, per_s: float) -> None:
        self._per_s = self._left = per_s
        self._at_s = 0.0

    def take(self, now_s: float) -> bool:
        """Take one token if there is one. `now_s`: monotonic seconds."""
        self._left = min(self._left + (now_s - self._at_s) * self._per_s, self._per_s)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True
