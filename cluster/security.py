"""What secures the links and beacons of this node: the keys it was given, and what is made of them.

Without keys the cluster is open: links are plain and the beacons' tag keeps clusters apart and no more.
With keys every link is encrypted, and there is no way to have one of the other kind. The certificate that a
node shows is issued when it is needed and the last one is too old, so nothing has to be kept in time.
"""

import contextlib
import os
import ssl
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from cluster.beacon import BeaconCodec, open_beacon_key
from cluster.key import ClusterKey
from cluster.link import Link
from cluster.tls import TlsChannel, make_context

if TYPE_CHECKING:
    from cluster.certificate import Authority


class LinkSecurity:
    """The keys in force.

    Args:
        keys: the first one issues, all are accepted; none: the cluster is open.
        wall_ms: tells Unix milliseconds.

    Attributes:
        beacons: says and understands beacons; stays the same object when keys are replaced.
    """

    def __init__(self, cluster: str, keys: Sequence[ClusterKey], wall_ms: Callable[[], int]) -> None:
        self._cluster = cluster
        self._wall_ms = wall_ms
        self.beacons = BeaconCodec([open_beacon_key(cluster)])
        self._contexts: dict[bool, ssl.SSLContext] = {}  # by whether we dial
        self._fresh_ms = range(0)  # when the certificate that is shown may be shown
        self._use(keys)

    @property
    def fingerprint(self) -> str:
        """Names the key that issues; empty: the cluster is open."""
        return next(iter(self.accepted), "")

    @property
    def accepted(self) -> list[str]:
        """Name all keys that are accepted."""
        return [authority.fingerprint for authority in self._authorities]

    def replace(self, keys: Sequence[ClusterKey], links: Iterable[Link]) -> None:
        """Use these keys from now on; of the links that are up, end those whose key is not among them.

        Raises:
            OSError: a certificate could not be made (no descriptor is free); all is as it was.
        """
        self._use(keys)
        for link in links:
            if link.key not in self.accepted:
                link.close("key", "the key of this link was removed from a key file")

    def channel(self, *, dialled: bool) -> TlsChannel | None:
        """Make our end of a new connection; None: the cluster is open."""
        if not self._authorities:
            return None
        if self._wall_ms() not in self._fresh_ms:
            with contextlib.suppress(OSError):  # no descriptor is free: the old one is good for as long again
                self._issue(self._authorities)
        return TlsChannel(self._contexts[dialled], dialled=dialled)

    def key_of(self, channel: TlsChannel | None) -> str | None:
        """Name the key that the other end of a channel has shown.

        Returns:
            Its fingerprint; empty for an open link; None when the key is not accepted any more.
        """
        if channel is None:
            return ""
        found = channel.peer_issuer
        return next((a.fingerprint for a in self._authorities if a.name == found), None)

    def _use(self, keys: Sequence[ClusterKey]) -> None:
        authorities = _authorities(keys, self._cluster)
        if keys:
            self._issue(authorities)
            self.beacons.use([key.derive("beacon", self._cluster) for key in keys])
        self._authorities = authorities

    def _issue(self, authorities: "Sequence[Authority]") -> None:
        """Show a new certificate of the first authority from now on."""
        from cluster.certificate import ENTROPY_BYTES, RENEW_MS  # here, as below

        now_ms = self._wall_ms()
        certificate, private_key = authorities[0].issue(now_ms, os.urandom(ENTROPY_BYTES))
        accepted = [authority.certificate for authority in authorities]
        self._contexts = {
            dialled: make_context(certificate, private_key, accepted, dialled=dialled)
            for dialled in (False, True)
        }
        self._fresh_ms = range(now_ms, now_ms + RENEW_MS)


def _authorities(keys: Sequence[ClusterKey], cluster: str) -> "list[Authority]":
    if not keys:
        return []
    # Here, because an open cluster saves the 40 ms that x509 takes to import.
    from cluster.certificate import Authority

    return [Authority(key, cluster) for key in keys]
