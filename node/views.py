"""What a node shows of itself besides counts: its peers, how links are secured, and its journal."""

from dataclasses import dataclass

from cluster.exports import ClusterService, Now


@dataclass(frozen=True, slots=True)
class PeerView:
    """A peer as people want to see it.

    Attributes:
        id: node id in hex. name, address, http: what it calls itself and where it listens.
        state: `up`, `suspect`; `member`, known by the member list and needing no link; or `lost`.
        version: the release it runs; empty where only the member list knows it.
        in_sync: whether it held the same at the last comparison; None before the first.
        synced_s: seconds since it was last found to hold the same; None before the first time.
        rtt_ms, offset_ms, lag_ms: round trip, its clock minus ours, its event loop's lateness.
        records: how many it holds. heard_s: seconds since its last word. error: why there is no link.
        code: of the two that refused each other, why in one word (`cluster`, `rules`, `key`, `clock`, ...).
        key: fingerprint of the cluster key it has shown; `open` on a link that is not encrypted; else empty.
    """

    id: str
    name: str
    address: str
    http: str
    state: str
    version: str = ""
    in_sync: bool | None = None
    synced_s: float | None = None
    rtt_ms: float | None = None
    offset_ms: int | None = None
    lag_ms: int | None = None
    records: int | None = None
    heard_s: float | None = None
    error: str = ""
    key: str = ""
    code: str = ""


def peer_views(cluster: ClusterService, now: Now) -> list[PeerView]:
    """List linked peers, then other members, then those that should be linked and are not, and why."""
    engine = cluster.engine
    linked = engine.membership.peers
    views = [
        PeerView(
            id=node_id.hex(),
            name=p.hello.name,
            address=p.address,
            http=p.hello.http,
            state=p.state(now.s),
            version=p.hello.version,
            in_sync=p.in_sync,
            synced_s=None if p.synced_s is None else round(now.s - p.synced_s, 3),
            rtt_ms=None if p.rtt_ms is None else round(p.rtt_ms, 3),
            offset_ms=p.offset_ms,
            lag_ms=p.lag_ms,
            records=p.records,
            heard_s=round(now.s - p.heard_s, 3),
            key=(cluster.links[node_id].key or OPEN) if node_id in cluster.links else "",
        )
        for node_id, p in sorted(linked.items(), key=lambda item: item[1].hello.name)
    ]
    if engine.views.partial:
        others = [m for m in engine.members.living() if m.node_id not in linked]
        views += [
            PeerView(m.node_id.hex(), m.fact.name, m.address, m.fact.http, "member")
            for m in others
            if m.node_id != cluster.node_id
        ]
    candidates = engine.membership.candidates
    troubles = {c.address: ("", c.error) for c in candidates.lost if c.seed or not engine.views.partial}
    troubles |= cluster.refusals | {seed: ("", error) for seed, error in candidates.seed_errors.items()}
    return views + [
        PeerView("", "", address, "", "lost", error=error, code=code)
        for address, (code, error) in troubles.items()
    ]


OPEN = "open"
"""How links without a key are called everywhere."""


@dataclass(frozen=True, slots=True)
class LinksView:
    """How links are secured.

    Attributes:
        key: fingerprint of the key that issues; empty if the cluster is open.
        accepted: fingerprints of all keys that are accepted.
        peers, on_key: how many peers are linked, and how many of them have shown `key`.
    """

    key: str
    accepted: list[str]
    peers: int
    on_key: int

    def __str__(self) -> str:
        """Say it in one line."""
        if not self.key:
            return OPEN
        return f"encrypted, key {self.key}, {self.on_key} of {self.peers} peers on it"


def links_view(cluster: ClusterService) -> LinksView:
    """Look at the keys in force and at the links that are up."""
    key, links = cluster.security.fingerprint, cluster.links.values()
    return LinksView(key, cluster.security.accepted, len(links), sum(link.key == key for link in links))


@dataclass(frozen=True, slots=True)
class JournalView:
    """A journal as people want to see it.

    Attributes:
        path: where it is. restored: how many records it gave back at the start.
        waiting: records held that are not in it yet.
        trouble: why nothing can be written just now; empty when all is well.
        set_aside: where a journal lies that was found damaged at the start; empty if none was.
    """

    path: str
    restored: int
    waiting: int
    trouble: str
    set_aside: str
