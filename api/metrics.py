"""`GET /metrics`: what a node counts, for Prometheus. What each name means: docs/observability.md.

Nothing is counted here: a scrape reads the counters that the parts keep. No label names a record, an id or a
client, so that the number of series is bounded by the number of peers.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Final

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from quart import Blueprint, Response

from api.counts import ServerStatistics
from api.feeds import FEED_KINDS, Feeds, FeedStatistics
from api.operation import PLAIN, TEXT, Answer, Operation, operation
from node.exports import VERSION, Node, log_output

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Source = Callable[[Node], Iterator[Metric]]
"""Tells some families. Who counts something new writes one and adds it to `SOURCES`."""

PEER_STATES = ("up", "suspect", "member", "lost")


def make_blueprint(feeds: Feeds, statistics: ServerStatistics) -> Blueprint:
    """Make the route over the node of `feeds`. `statistics`: the HTTP server's."""
    node = feeds.node
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    @operation(Operation((Answer(200, "In Prometheus' text format.", {PLAIN: TEXT}),)))
    async def show_metrics() -> Response:
        """Show all metrics."""
        families = [family for source in SOURCES for family in source(node)]
        families += [*_feeds(feeds.statistics), *_http(statistics)]
        headers = {"content-type": CONTENT_TYPE, "cache-control": "no-store"}
        return Response(generate_latest(_Reading(families)), 200, headers)

    return routes


class _Reading(Collector):
    """One reading of all counters, as the library wants it. No registry: the parts count for themselves."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Return the families."""
        return self._families


def counter(name: str, help: str, value: float) -> Metric:
    """Make a counter without labels."""
    return CounterMetricFamily(name, help, value)


def gauge(name: str, help: str, value: float) -> Metric:
    """Make a gauge without labels."""
    return GaugeMetricFamily(name, help, value)


def by_label(
    kind: type[CounterMetricFamily | GaugeMetricFamily],
    name: str,
    help: str,
    label: str,
    values: Mapping[str, float],
) -> Metric:
    """Make a family with one label, a sample for each of its values."""
    family = kind(name, help, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _node(node: Node) -> Iterator[Metric]:
    info = {"version": VERSION, "name": node.name, "cluster": node.config.cluster, "tier": node.tier}
    about = GaugeMetricFamily("dayfly_info", "Who this node is; always 1.", labels=list(info))
    about.add_metric(list(info.values()), 1)
    yield about
    yield gauge("dayfly_start_time_seconds", "When the node started, Unix time.", node.started.wall_ms / 1000)
    yield gauge("dayfly_ready", "1 when the node listens and has caught up.", node.ready)
    lag = node.lag.view()
    yield gauge("dayfly_loop_lag_seconds", "Longest pass of the event loop lately.", lag.recent_ms / 1000)
    yield gauge("dayfly_loop_lag_max_seconds", "Longest pass since the start.", lag.max_ms / 1000)
    yield counter("dayfly_loop_lag_over_50ms_total", "Passes longer than 50 ms.", lag.over_50_ms_total)
    dropped = log_output.dropped_total
    yield counter("dayfly_log_lines_dropped_total", "Log lines that could not be written.", dropped)


def _store(node: Node) -> Iterator[Metric]:
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


def _admission(node: Node) -> Iterator[Metric]:
    totals, refused = node.admission_totals(), node.refused_by_code()
    yield counter("dayfly_accepted_total", "Records accepted from clients.", totals["accepted"])
    yield counter("dayfly_relayed_total", "Records taken from peers.", totals["relayed"])
    yield counter("dayfly_duplicate_total", "Records that were held already.", totals["duplicate"])
    yield counter("dayfly_superseded_total", "Records held that lost to a smaller key.", totals["superseded"])
    yield by_label(
        CounterMetricFamily, "dayfly_refused_total", "Records refused to clients.", "code", refused
    )


def _gossip(node: Node) -> Iterator[Metric]:
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
    yield by_label(CounterMetricFamily, "dayfly_sync_bytes_total", "Bytes of reconciliations.", "dir", sync)


def _receipts(node: Node) -> Iterator[Metric]:
    reach = node.receipts.reach
    yield counter(
        "dayfly_acks_total", "Answers of peers about waiting posts.", node.gossip_totals()["held_total"]
    )
    yield gauge("dayfly_waiting_records", "Records clients wait for.", node.receipts.waiting_records)
    bounds = map(str, (*reach.bounds, "+Inf"))
    help = "From a post with wait until all nodes held it, if they did."
    buckets = list(zip(bounds, accumulate(reach.counts), strict=True))
    yield HistogramMetricFamily("dayfly_reach_seconds", help, buckets, reach.sum)


def _peers(node: Node) -> Iterator[Metric]:
    peers = node.peers()
    states = Counter(dict.fromkeys(PEER_STATES, 0)) + Counter(p.state for p in peers)
    by_state = {state: states[state] for state in PEER_STATES}
    yield gauge("dayfly_members", "Nodes of the cluster, this one included.", node.members)
    yield by_label(GaugeMetricFamily, "dayfly_peers", "Other nodes by state.", "state", by_state)
    refused = node.gossip_totals()["handshakes_refused_total"]
    yield counter("dayfly_handshakes_refused_total", "Connections of peers that became no link.", refused)
    skew = GaugeMetricFamily(
        "dayfly_clock_skew_seconds", "A linked peer's clock minus this one's.", labels=["peer", "name"]
    )
    for peer in peers:
        if peer.offset_ms is not None:
            skew.add_metric([peer.id[:12], peer.name], peer.offset_ms / 1000)
    yield skew


def _http(statistics: ServerStatistics) -> Iterator[Metric]:
    counts = statistics.snapshot()
    ended = {
        "refused": counts.connections_refused,
        "failed": counts.connections_failed,
        "cut": counts.connections_cut,
        "no-tls": counts.handshakes_failed,
    }
    turned_away = {"unauthorized": counts.requests_unauthorized, "limited": counts.posts_limited}
    yield gauge("dayfly_http_connections", "Connections of clients.", counts.connections_open)
    yield gauge("dayfly_http_body_bytes", "Bytes of request bodies in hand.", counts.body_bytes)
    yield by_label(CounterMetricFamily, "dayfly_http_ended_total", "Connections ended here.", "why", ended)
    yield by_label(
        CounterMetricFamily, "dayfly_http_turned_away_total", "Requests not let in.", "why", turned_away
    )


def _feeds(statistics: FeedStatistics) -> Iterator[Metric]:
    def of_kind(counts: Counter[str]) -> dict[str, float]:
        return {kind: counts[kind] for kind in FEED_KINDS}

    now, cut, records = of_kind(statistics.open), of_kind(statistics.cut), of_kind(statistics.records)
    yield by_label(GaugeMetricFamily, "dayfly_feeds", "Clients that follow or publish live.", "kind", now)
    yield by_label(
        CounterMetricFamily,
        "dayfly_feeds_cut_total",
        "Feeds ended because a client took nothing.",
        "kind",
        cut,
    )
    yield counter("dayfly_feeds_refused_total", "Feeds that found no room.", statistics.refused)
    yield by_label(
        CounterMetricFamily, "dayfly_feed_records_total", "Records sent to feeds.", "kind", records
    )


SOURCES: tuple[Source, ...] = (_node, _store, _admission, _gossip, _receipts, _peers)
