"""Two ends of TLS that shake hands in memory, and certificates no Dayfly node would show."""

import time

from cluster.key import ClusterKey
from cluster.security import LinkSecurity
from cluster.tls import TlsChannel, TlsError

KEY, OTHER_KEY = ClusterKey(b"k" * 32), ClusterKey(b"o" * 32)
HOUR_MS = 3600 * 1000


def wall_ms() -> int:
    """Unix milliseconds; OpenSSL looks at the same clock."""
    return time.time_ns() // 1_000_000


def security(*keys: ClusterKey, cluster: str = "c", late_ms: int = 0) -> LinkSecurity:
    """What secures the links of a node whose clock is `late_ms` behind."""
    return LinkSecurity(cluster, keys, lambda: wall_ms() - late_ms)


def ends(dialling: LinkSecurity, dialled: LinkSecurity) -> tuple[TlsChannel, TlsChannel]:
    """Make both ends of a connection."""
    one, two = dialling.channel(dialled=True), dialled.channel(dialled=False)
    assert one is not None
    assert two is not None
    return one, two


def shake(one: TlsChannel, two: TlsChannel) -> list[str]:
    """Let the dialling end `one` and the other shake hands, and each hear the other's first word.

    Returns:
        The codes that the two ends part with; empty: they came together.
    """
    codes: list[str | None] = [None, None]
    done = [False, False]
    for _ in range(4):
        for i, (here, there) in enumerate([(one, two), (two, one)]):
            arrived = there.outgoing()
            try:
                if codes[i] is None and not done[i]:
                    done[i] = here.advance(arrived)
                elif codes[i] is None and arrived:
                    here.open(arrived)
            except TlsError as error:
                codes[i] = error.code
    assert all(done) or any(codes)
    return [code for code in codes if code is not None]
