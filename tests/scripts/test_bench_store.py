"""The measurements of memory, store, listing and reconciliation, each at a small size."""

import pytest

from scripts.benches.listing import LISTING_REQUIRED, measure_listing
from scripts.benches.memory import measure_memory
from scripts.benches.reconcile import RECONCILE_REQUIRED, measure_reconcile
from scripts.benches.store import STORE_REQUIRED, measure_store
from tests.scripts.test_bench import bench, summary


def step(what: str, part: float) -> None:
    """Take no note of how far a round has come."""


@pytest.mark.parametrize(
    ("what", "sync_bytes", "beyond_records_bytes", "asked"),
    [
        ("equal", 21, 80, 0),
        ("1 newest", 2_000, 2_000, 1),
        ("1,000 newest", 10_000, 25_000, 150),
        ("1,000 anywhere", 435_000, 485_000, 1_000),
    ],
)
def test_two_engines_find_what_one_lacks_for_few_bytes(
    what: str, sync_bytes: int, beyond_records_bytes: int, asked: int
) -> None:
    """20,000 records a side: all is found, no more bytes than this, what is newest is not even asked for."""
    figures = measure_reconcile(20_000, what, step)
    assert figures["sync_bytes"] <= sync_bytes
    assert figures["beyond_records_bytes"] <= beyond_records_bytes
    assert figures["asked"] <= asked
    assert figures["longest_slice_ms"] < 200, "8 KiB of ranges at a time"


def test_the_store_is_measured_at_every_operation() -> None:
    """Each figure that is promised is told, and none is nothing."""
    figures = measure_store(1_000, step)
    assert all(figures[name] > 0 for name in STORE_REQUIRED)
    assert all(figures[f"{name}_us"] > 0 for name in ("add", "get", "page", "list", "expire"))


def test_a_node_tells_what_records_cost_it() -> None:
    """2,000 records: memory grows by a few hundred bytes each, the probe was answered, the gauge moved."""
    figures = measure_memory(2_000, step)
    assert 50 < figures["rss_empty_mb"] - 1 < figures["rss_mb"] < 200
    assert 0 < figures["probe_p50_ms"] <= figures["probe_max_ms"]
    assert figures["loop_cpu_max_ms"] > 0


def test_listings_at_once_are_read_to_the_end() -> None:
    """Three readers of 400 records: all complete."""
    figures = measure_listing(400, 3, step)
    assert figures["incomplete"] == 0
    assert 1.2 < figures["read_mb"] < 1.5
    assert set(figures) >= set(LISTING_REQUIRED)


def test_a_measurement_without_nodes_is_told_like_the_others() -> None:
    """As NDJSON: a line per round and case, and one with the medians of each case and what was promised."""
    told = summary(bench("reconcile", "--records", "10000", "--json"), 8)
    assert (told["bench"], told["case"]) == ("reconcile", "1,000 anywhere")
    assert told["required"] == RECONCILE_REQUIRED["1,000 anywhere"]
    told = summary(bench("store", "--records", "100", "--json"), 2)
    assert told["held"]["add_longest_ms"] is True
