"""What a scenario came to, in figures: of the first records of their origins, and of the later ones.

A first record finds no tree and floods; the later ones show what the tree is worth. *Redundancy* is
payloads per delivery beyond the one that is due (RMR); *last hop* is the longest way (LDH), each of them
also as plain flooding would have it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from statistics import fmean

from tests.sim.scale import Setup
from tests.sim.scale_overlay import Overlay
from tests.sim.scale_probe import Track


def percentile(values: list[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of all do not pass (nearest rank); 0.0 of none."""
    rank = max(-(-len(values) * percent // 100), 1)
    return sorted(values)[int(rank) - 1] if values else 0.0


@dataclass(frozen=True, slots=True)
class Wave:
    """Records of one kind, together.

    Attributes:
        records, due, delivered: how many, copies that other nodes should have, and those that came.
        redundancy: payloads per delivery, less one.
        last_hop_mean, last_hop_max: over the records, of the longest way each took.
        flood_hop_mean, flood_hop_max: the same by flooding, of those records where it was computed.
        stretch_max: the longest way as a multiple of flooding's, the worst record.
        p50_ms, p90_ms, p99_ms, max_ms: from the post to a node, over all deliveries.
        last_p50_ms, last_max_ms: from the post to the last node, over the records.
        flood_last_ms: the same by flooding, on average.
        announcements_per_copy, bytes_per_copy: IHAVE entries, and bytes of all three kinds, per delivery.
    """

    records: int
    due: int
    delivered: int
    redundancy: float
    last_hop_mean: float
    last_hop_max: int
    flood_hop_mean: float
    flood_hop_max: int
    stretch_max: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    last_p50_ms: float
    last_max_ms: float
    flood_last_ms: float
    announcements_per_copy: float
    bytes_per_copy: float

    @classmethod
    def of(cls, tracks: list[Track], due: Callable[[Track], Iterable[bytes]]) -> "Wave":
        """Sum up.

        Args:
            tracks: of the records.
            due: returns the node ids, other than the origin, that a record is due at.
        """
        owed = [set(due(t)) - {t.origin} for t in tracks]
        times_ms = [
            [1000 * (t.arrived_s[i] - t.posted_s) for i in nodes if i in t.arrived_s]
            for t, nodes in zip(tracks, owed, strict=True)
        ]
        hops = [
            max((t.hops[i] for i in n if i in t.hops), default=0) for t, n in zip(tracks, owed, strict=True)
        ]
        compared = [(h, t.flooded) for h, t in zip(hops, tracks, strict=True) if t.flooded is not None]
        lasts_ms = [max(times) for times in times_ms if times]
        all_ms = sorted(ms for times in times_ms for ms in times)
        copies = max(sum(len(t.arrived_s) - 1 for t in tracks), 1)
        return cls(
            records=len(tracks),
            due=sum(map(len, owed)),
            delivered=len(all_ms),
            redundancy=sum(t.payloads for t in tracks) / copies - 1 if tracks else 0.0,
            last_hop_mean=fmean(hops) if hops else 0.0,
            last_hop_max=max(hops, default=0),
            flood_hop_mean=fmean(f.last_hops for _, f in compared) if compared else 0.0,
            flood_hop_max=max((f.last_hops for _, f in compared), default=0),
            stretch_max=max((h / max(f.last_hops, 1) for h, f in compared), default=0.0),
            p50_ms=percentile(all_ms, 50),
            p90_ms=percentile(all_ms, 90),
            p99_ms=percentile(all_ms, 99),
            max_ms=percentile(all_ms, 100),
            last_p50_ms=percentile(lasts_ms, 50),
            last_max_ms=percentile(lasts_ms, 100),
            flood_last_ms=fmean(f.last_s for _, f in compared) * 1000 if compared else 0.0,
            announcements_per_copy=sum(t.announced for t in tracks) / copies,
            bytes_per_copy=sum(t.bytes for t in tracks) / copies,
        )


@dataclass(frozen=True, slots=True)
class Report:
    """What a scenario that posts records came to.

    Attributes:
        living: nodes at the end.
        first, later: the first records of their origins, and those that followed.
        lost: records that died with their origin: nobody else ever had them.
        complete: whether at the end every living node had what any living node had.
        late_s: how long after the last post, or after the heal, that took.
        settled_s: virtual time from the first start to a settled cluster.
        overlay: the links at the end of the posting.
        sync_rounds, sync_bytes: of anti-entropy, all nodes together, since the cluster was settled.
        bytes_per_node_and_s: everything that was sent meanwhile, with pings and member facts.
        events: of the whole simulation; `virtual_s`: its length.
    """

    scenario: str
    setup: Setup
    living: int
    first: Wave
    later: Wave
    lost: int
    complete: bool
    late_s: float
    settled_s: float
    overlay: Overlay
    sync_rounds: int
    sync_bytes: int
    bytes_per_node_and_s: float
    events: int
    virtual_s: float

    @property
    def delivery_percent(self) -> float:
        """Copies that came, of those that were due."""
        due = self.first.due + self.later.due
        return 100 * (self.first.delivered + self.later.delivered) / due if due else 100.0

    def figures(self) -> dict[str, float]:
        """All figures by name, for tables, JSON and plots."""
        figures: dict[str, float] = {"nodes": self.setup.nodes, "delivery_percent": self.delivery_percent}
        for name, wave in (("first", self.first), ("later", self.later)):
            if wave.records:
                figures |= {f"{name}_{f.name}": float(getattr(wave, f.name)) for f in fields(wave)}
        figures |= {
            "living": self.living,
            "lost_with_origin": self.lost,
            "complete": self.complete,
            "late_s": self.late_s,
            "settled_s": self.settled_s,
            "links_min": self.overlay.links_min,
            "links_median": self.overlay.links_median,
            "links_max": self.overlay.links_max,
            "islands": self.overlay.islands,
            "sync_rounds": self.sync_rounds,
            "sync_bytes": self.sync_bytes,
            "bytes_per_node_and_s": self.bytes_per_node_and_s,
            "events": self.events,
            "virtual_s": self.virtual_s,
        }
        return figures


@dataclass(frozen=True, slots=True)
class KillReport:
    """What became of records whose origin was killed while it sent them.

    Attributes:
        kills, power_losses: runs, and those in which nobody was told of the death.
        seen: runs in which a survivor had the record at all.
        incomplete: runs in which some survivor had it and another did not within the promised second.
        tail_p50_ms, tail_p99_ms, tail_max_ms: from the post to the last survivor that got it.
    """

    scenario: str
    setup: Setup
    kills: int
    seen: int
    incomplete: int
    tail_p50_ms: float
    tail_p99_ms: float
    tail_max_ms: float
    power_losses: int
    overlay: Overlay
    events: int
    virtual_s: float

    def figures(self) -> dict[str, float]:
        """All figures by name."""
        return {
            "nodes": self.setup.nodes,
            "kills": self.kills,
            "power_losses": self.power_losses,
            "seen": self.seen,
            "incomplete": self.incomplete,
            "later_p50_ms": self.tail_p50_ms,
            "later_p99_ms": self.tail_p99_ms,
            "later_last_max_ms": self.tail_max_ms,
            "links_min": self.overlay.links_min,
            "links_median": self.overlay.links_median,
            "links_max": self.overlay.links_max,
            "islands": self.overlay.islands,
            "events": self.events,
            "virtual_s": self.virtual_s,
        }
