"""The node: owns store, bus and cluster, is their desk, and is the only reader of the wall clock."""

import secrets
import time
from collections.abc import Callable, Iterable, Sequence

import structlog
import trio

from cluster.address import format_address
from cluster.exports import (
    Admitted,
    ClusterConfig,
    ClusterService,
    EngineConfig,
    Items,
    Now,
    WireRecord,
    fingerprint,
)
from eventbus import EventBus, RecordExpired
from node.admission import Admission, PostedRecord, Submission
from node.commits import Commits
from node.config import Config
from node.key_files import read_signature
from node.keys import read_cluster_keys
from node.lag import LoopLag
from node.receipts import Receipts
from node.saved_peers import SavedPeers
from node.version import VERSION
from node.views import JournalView, LinksView, PeerView, links_view, peer_views
from storage import JournalStore, Store, StoreLimits, StoreStatistics, open_store
from validator import Record, default_chain, key_bound

_log = structlog.get_logger("dayfly.node")

SWEEP_RECORDS = 250
"""Expired records dropped before other tasks get a turn: about 2 ms."""

SWEEP_S_MAX = 5.0
"""How often to look for expired records at least, so that a clock set forward is noticed."""


def system_clock() -> Now:
    """Read both clocks: trio's monotonic one and the machine's wall clock."""
    return Now(trio.current_time(), time.time_ns() // 1_000_000)


class Node:
    """One node of the cluster. `run` it; everything else but `saved` and `room` is synchronous.

    Args:
        store: where records are kept, with its journal open and to be closed by who opened it; None for
            one in memory.

    Raises:
        KeyFileError: the key file cannot be used.
    """

    def __init__(
        self, config: Config, clock: Callable[[], Now] = system_clock, store: Store | None = None
    ) -> None:
        self.config = config
        self.id = secrets.token_bytes(16)
        self.started = clock()
        self.lag = LoopLag(time.perf_counter, time.thread_time)
        self.bus = EventBus()
        self.http_urls: list[str] = []
        self.expired_total = 0
        self._clock = clock
        self._last_addresses: list[str] = []
        self._chain = default_chain(
            config.ttl_ms, read_signature(config.validator, config.validator_key_file)
        )
        if store is None:
            store = open_store(config.ttl_ms, StoreLimits(config.records_max, config.bytes_max))
        self._store = store
        self._commits = Commits(self._store.writer) if isinstance(self._store, JournalStore) else None
        self._saved_peers = SavedPeers(config.data_dir if self._commits else None)
        self._admission = Admission(self._store, self._chain, self.bus)
        self.cluster = ClusterService(self._cluster_config(), self.id, self, self.bus, clock)
        self.receipts = Receipts(self.cluster, clock)

    @property
    def name(self) -> str:
        """What the node calls itself: as configured, or the first eight digits of its id."""
        return self.config.name or self.id.hex()[:8]

    @property
    def boot(self) -> str:
        """Names this start of this node; cursors of another start are recognised by it."""
        return self.id.hex()[:12]

    @property
    def ready(self) -> bool:
        """Whether the node listens and has caught up, or found nobody within a grace time."""
        return bool(self.http_urls) and self.cluster.engine.ready(self._clock())

    @property
    def rules(self) -> str:
        """What all nodes of a cluster must agree on: the validator chain and the life of a record."""
        return f"{self._chain.name} ttl={self.config.ttl_ms}ms"

    # --- lifetime ---------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take part in the cluster until `close`. Raises OSError when the peer port cannot be had."""
        trio.lowlevel.add_instrument(self.lag)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.cluster.run)
                nursery.start_soon(self._sweep)
                nursery.start_soon(self._saved_peers.keep, self._addresses)
                task_status.started()
                # The cluster ends by itself when the bus closes; then nothing is left to sweep for.
                await self.cluster.finished.wait()
                nursery.cancel_scope.cancel()
        finally:
            trio.lowlevel.remove_instrument(self.lag)
        await self._saved_peers.write(self._last_addresses)

    def close(self) -> None:
        """Begin to stop: the bus closes, feeds end, the cluster says goodbye, and `run` returns."""
        self._last_addresses = self._addresses()
        self.bus.close()

    def _addresses(self) -> list[str]:
        """Where the cluster can be found again: linked peers, other members, those lost; none if no link."""
        membership, views = self.cluster.engine.membership, self.cluster.engine.views
        linked = [p.address for p in membership.peers.values()]
        members = self.cluster.engine.members.living() if views.partial else []
        lost = [c.address for c in membership.candidates.lost if c.node_id is not None]
        return [*linked, *(m.address for m in members if m.node_id != self.id), *lost] if linked else []

    async def _sweep(self) -> None:
        """Drop what has expired, a slice at a time."""
        while True:
            expired = self._store.expire(self._clock().wall_ms, SWEEP_RECORDS)
            self.bus.publish(*map(RecordExpired, expired))
            self.expired_total += len(expired)
            if len(expired) == SWEEP_RECORDS:
                await trio.lowlevel.checkpoint()
                continue
            oldest_ms = self._store.statistics().oldest_time_stamp
            wait_s = SWEEP_S_MAX
            if oldest_ms is not None:
                wait_s = (oldest_ms + self.config.ttl_ms - self._clock().wall_ms) / 1000
            await trio.sleep(min(max(wait_s, 0.01), SWEEP_S_MAX))

    def rekey(self) -> None:
        """Read the keys again; links under one that is gone end. Raises KeyFileError or OSError, and then all
        stays as it was."""
        self.cluster.security.replace(read_cluster_keys(self.config), list(self.cluster.links.values()))

    def serving(self, urls: list[str]) -> None:
        """HTTP listens at `urls`: peers may be told and the node can become ready."""
        self.http_urls = urls
        self.cluster.http = urls[0] if urls else ""

    # --- for clients ------------------------------------------------------------------------------------

    def submit(self, id: str | None, raw: str, signature: str | None) -> Submission:
        """Admit a client's record; see `Admission.submit`. When it returns, gossip is on its way."""
        return self._admission.submit(id, raw, signature, self._clock().wall_ms)

    def submit_many(self, posts: Sequence[PostedRecord]) -> list[Submission]:
        """Admit a client's records; see `Admission.submit_many`. When it returns, gossip is on its way."""
        return self._admission.submit_many(posts, self._clock().wall_ms)

    def unsaved(self, records: Iterable[Record]) -> int:
        """Return the number to give to `saved` for records; 0 if all are as safe as they can be here."""
        if not isinstance(self._store, JournalStore):
            return 0
        return max(map(self._store.writer.waits_for, records), default=0)

    async def saved(self, seq: int) -> str:
        """Wait for the journal to hold all up to number `seq`; returns why it does not, or nothing."""
        return "" if self._commits is None else await self._commits.saved(seq)

    async def room(self) -> None:
        """Wait, for a bounded time, while the cluster cannot take more: for whoever posts many records."""
        await self.cluster.backpressure.room()

    @property
    def journal(self) -> JournalView | None:
        """The journal, or None if records are kept in memory only."""
        if not isinstance(self._store, JournalStore):
            return None
        writer, report = self._store.writer, self._store.report
        set_aside = str(report.damaged_path or "")
        return JournalView(str(report.path), report.restored, writer.waiting, writer.trouble, set_aside)

    def get(self, id: str) -> Record | None:
        """Return the living record of this id, or None."""
        return self._store.get(id, self._clock().wall_ms)

    def listing(self, after: bytes, count_max: int = 1_000) -> list[Record]:
        """Return living records with keys above `after` (b"": all), oldest first."""
        return self._store.page(after, self._clock().wall_ms, count_max)

    def living_tag(self) -> str:
        """Name the set of living records: 32 hex digits, the same on all nodes that hold the same."""
        oldest = key_bound(self._clock().wall_ms - self.config.ttl_ms + 1)
        living = self._store.window(oldest, b"\xff")  # which is after every key
        return fingerprint(living, 0, len(living)).hex()

    def arrivals(self, after_seq: int, count_max: int) -> list[tuple[int, Record]]:
        """Return living records that arrived after number `after_seq`, as (seq, record), in that order."""
        return self._store.arrivals(after_seq, self._clock().wall_ms, count_max)

    def arrivals_tag(self) -> str:
        """Name what is held and the order in which it came: another after each arrival, end, and start."""
        held, wall_ms = self._store.statistics(), self._clock().wall_ms
        oldest_ms = held.oldest_time_stamp
        is_over = oldest_ms is not None and oldest_ms + self.config.ttl_ms <= wall_ms  # and gone in a moment
        return f"{self.boot}-{held.seq}-{held.records}" + f"-{wall_ms}" * is_over

    def wall_ms(self) -> int:
        """Read the wall clock: Unix milliseconds."""
        return self._clock().wall_ms

    def life_left_ms(self, record: Record) -> int:
        """How long a record still lives, in milliseconds; 0 or less when it is over."""
        return record.time_stamp + self.config.ttl_ms - self._clock().wall_ms

    def store_statistics(self) -> StoreStatistics:
        """Count what is held."""
        return self._store.statistics()

    def admission_totals(self) -> dict[str, int]:
        """Count what became of records since the start."""
        s = self._admission.statistics
        return {name: getattr(s, name) for name in s.__slots__}

    def refused_by_code(self) -> dict[str, int]:
        """Count what was refused to clients since the start."""
        return dict(self._admission.refused)

    def gossip_totals(self) -> dict[str, int | float]:
        """Count what the cluster has done since the start, and what it has in hand."""
        engine, links = self.cluster.engine.statistics(), self.cluster.statistics()
        return {name: getattr(s, name) for s in (engine, links) for name in s.__slots__}

    @property
    def tier(self) -> str:
        """`mesh`: every node is linked with all; `partial`: with a few, because there are so many."""
        return "partial" if self.cluster.engine.views.partial else "mesh"

    @property
    def members(self) -> int:
        """How many nodes the cluster has, as far as this one knows, itself included."""
        return self.cluster.engine.views.size

    @property
    def in_sync(self) -> bool:
        """Whether no peer is known to hold anything else than we do and no catching-up is under way."""
        engine = self.cluster.engine
        agree = all(p.in_sync is not False for p in engine.membership.peers.values())
        return agree and engine.session_peer is None

    @property
    def peer_address(self) -> str:
        """Where peers reach this node, as `host:port`."""
        return format_address(self.config.peer[0], self.cluster.port)

    @property
    def announced_on(self) -> list[str]:
        """IPv4 addresses of the interfaces that beacons go out on."""
        return self.cluster.discovery.interfaces

    def peers(self) -> list[PeerView]:
        """List linked peers, then other members, then those that should be linked and are not, and why."""
        return peer_views(self.cluster, self._clock())

    @property
    def links(self) -> LinksView:
        """How links are secured."""
        return links_view(self.cluster)

    # --- the desk, for the cluster ----------------------------------------------------------------------

    def admit(self, records: Sequence[WireRecord], peer: str) -> Admitted:
        """Admit a peer's records; see `Admission.admit`."""
        return self._admission.admit(records, peer, self._clock().wall_ms)

    def lookup(self, digests: Sequence[bytes]) -> list[Record]:
        """Return those of the records that are held and alive."""
        wall_ms = self._clock().wall_ms
        by_digest = self._store.by_digest
        return [record for d in digests if (record := by_digest(d, wall_ms)) is not None]

    def __len__(self) -> int:
        return self._store.statistics().records

    def has(self, digest: bytes) -> bool:
        """Whether a record with this digest is held."""
        return self._store.has(digest)

    def window(self, lower_ms: int, upper_ms: int) -> Items:
        """Return the keys in a span of time; see `cluster.vocabulary.Holdings`."""
        return self._store.window(key_bound(lower_ms), key_bound(max(lower_ms, upper_ms)))

    def _cluster_config(self) -> ClusterConfig:
        c = self.config
        return ClusterConfig(
            cluster=c.cluster,
            name=self.name,
            rules=self.rules,
            host=c.peer[0],
            port=c.peer[1],
            engine=EngineConfig(
                c.ttl_ms, c.sync_interval_s, c.join, c.mesh_max, c.mesh_max * 3 // 4, self._saved_peers.read()
            ),
            group=c.multicast,
            lan=c.lan,
            keys=read_cluster_keys(c),
            version=VERSION,
        )
