"""`GET /metrics`: what a node counts, for Prometheus. What each name means: docs/observability.md.

Nothing is counted here: a scrape reads the counters that the parts keep. No label names a record, an id or a
client, so that the number of series is bounded by the number of peers.
"""

from collections import Counter
from collections.abc import Callable, Iterator

from quart import Blueprint, Response

from api.exposition import CONTENT_TYPE, Family, Sample, counter, gauge, histogram, labelled, render
from api.guard import ServerStatistics
from node import VERSION, Node

Source = Callable[[Node], Iterator[Family]]
"""Tells some families. Who counts something new writes one and adds it to `SOURCES`."""

PEER_STATES = ("up", "suspect", "member", "lost")


def make_blueprint(node: Node, statistics: ServerStatistics) -> Blueprint:
    """Make the route over `node`. `statistics`: the HTTP server's."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    async def show_metrics() -> Response:
        """Show all metrics."""
        families = [family for source in SOURCES for family in source(node)] + list(_http(statistics))
        headers = {"content-type": CONTENT_TYPE, "cache-control": "no-store"}
        return Response(render(families), 200, headers)

    return routes


def _node(node: Node) -> Iterator[Family]:
    info = {"version": VERSION, "name": node.name, "cluster": node.config.cluster, "tier": node.tier}
    yield Family("dayfly_info", "gauge", "Who this node is; always 1.", [Sample(1, info)])
    yield gauge("dayfly_start_time_seconds", "When the node started, Unix time.", node.started.wall_ms / 1000)
    yield gauge("dayfly_ready", "1 when the node listens and has caught up.", node.ready)
    lag = node.lag.view()
    yield gauge("dayfly_loop_lag_seconds", "Longest pass of the event loop lately.", lag.recent_ms / 1000)
    yield gauge("dayfly_loop_lag_max_seconds", "Longest pass since the start.", lag.max_ms / 1000)
    yield counter("dayfly_loop_lag_over_50ms_total", "Passes longer than 50 ms.", lag.over_50_ms_total)


def _store(node: Node) -> Iterator[Family]:
    store = node.store_statistics()
    oldest_ms = store.oldest_time_stamp
    age_s = 0.0 if oldest_ms is None else max(node.wall_ms() - oldest_ms, 0) / 1000
    yield gauge("dayfly_records", "Records held.", store.records)
    yield gauge("dayfly_records_max", "Records that may be held.", store.records_max)
    yield gauge("dayfly_bytes", "Bytes of the texts of the records held.", store.bytes)
    yield gauge("dayfly_bytes_max", "Bytes that may be held.", store.bytes_max)
    yield gauge("dayfly_oldest_age_seconds", "Age of the oldest record held; 0 if there is none.", age_s)
    yield counter("dayfly_expired_total", "Records dropped at the end of their life.", node.expired_total)
    if node.journal is not None:
        trouble = bool(node.journal.trouble)
        yield gauge("dayfly_journal_waiting", "Records that wait to be saved.", node.journal.waiting)
        yield gauge("dayfly_journal_trouble", "1 while nothing can be saved.", trouble)


def _admission(node: Node) -> Iterator[Family]:
    totals, refused = node.admission_totals(), node.refused_by_code()
    yield counter("dayfly_accepted_total", "Records accepted from clients.", totals["accepted"])
    yield counter("dayfly_relayed_total", "Records taken from peers.", totals["relayed"])
    yield counter("dayfly_duplicate_total", "Records that were held already.", totals["duplicate"])
    yield counter("dayfly_superseded_total", "Records that lost to a smaller key.", totals["superseded"])
    yield labelled("dayfly_refused_total", "counter", "Records refused to clients.", "code", refused)


def _gossip(node: Node) -> Iterator[Family]:
    totals = node.gossip_totals()
    yield counter("dayfly_pushes_total", "Payloads sent without being asked for.", totals["pushed_total"])
    yield counter("dayfly_payloads_total", "Payloads that came from peers.", totals["records_in_total"])
    yield counter("dayfly_redundant_total", "Of these, those held already.", totals["duplicate_total"])
    yield counter("dayfly_degraded_total", "Payloads an outbox had no room for.", totals["degraded_total"])
    yield counter("dayfly_pulls_total", "Records asked of peers.", totals["asked_total"])
    yield gauge("dayfly_missing_records", "Records known of and not held yet.", totals["missing"])
    yield gauge("dayfly_outbox_bytes", "Bytes that wait to be sent to peers.", totals["outbox_bytes"])
    yield counter("dayfly_sync_rounds_total", "Reconciliations begun here.", totals["sync_rounds_total"])
    yield counter("dayfly_sync_found_total", "Records they found missing.", totals["sync_found_total"])
    sync = {"in": totals["sync_bytes_in"], "out": totals["sync_bytes_out"]}
    yield labelled("dayfly_sync_bytes_total", "counter", "Bytes of reconciliations.", "dir", sync)


def _receipts(node: Node) -> Iterator[Family]:
    reach = node.receipts.reach
    yield counter(
        "dayfly_acks_total", "Answers of peers about waiting posts.", node.gossip_totals()["held_total"]
    )
    yield gauge("dayfly_waiting_records", "Records clients wait for.", node.receipts.waiting_records)
    yield histogram(
        "dayfly_reach_seconds",
        "From a post with wait until all nodes held it, if they did.",
        reach.bounds,
        reach.counts,
        reach.sum,
    )


def _peers(node: Node) -> Iterator[Family]:
    peers = node.peers()
    states = Counter(dict.fromkeys(PEER_STATES, 0)) + Counter(p.state for p in peers)
    by_state = {state: states[state] for state in PEER_STATES}
    yield gauge("dayfly_members", "Nodes of the cluster, this one included.", node.members)
    yield labelled("dayfly_peers", "gauge", "Other nodes by state.", "state", by_state)
    skews = [
        Sample(p.offset_ms / 1000, {"peer": p.id[:12], "name": p.name})
        for p in peers
        if p.offset_ms is not None
    ]
    yield Family("dayfly_clock_skew_seconds", "gauge", "A linked peer's clock minus this one's.", skews)


def _http(statistics: ServerStatistics) -> Iterator[Family]:
    counts = statistics.snapshot()
    ended = {
        "refused": counts.connections_refused,
        "failed": counts.connections_failed,
        "cut": counts.connections_cut,
    }
    yield gauge("dayfly_http_connections", "Connections of clients.", counts.connections_open)
    yield gauge("dayfly_http_body_bytes", "Bytes of request bodies in hand.", counts.body_bytes)
    yield labelled("dayfly_http_ended_total", "counter", "Connections ended by the node.", "why", ended)


SOURCES: tuple[Source, ...] = (_node, _store, _admission, _gossip, _receipts, _peers)
