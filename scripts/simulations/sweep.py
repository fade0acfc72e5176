"""One scenario at one or several cluster sizes: run it, and put the figures side by side."""

import gc
import json
import resource
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import click
from rich import box
from rich.console import Console
from rich.table import Table

from scripts.simulations.show import progress_bar, show_line
from tests.sim.scale import Cluster, Setup
from tests.sim.scale_kills import origin_dies
from tests.sim.scale_report import KillReport, Report
from tests.sim.scale_scenarios import churn, crash, partition, steady
from tests.sim.world import Violation


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario by name: what runs it, and how much it posts over which time unless told otherwise."""

    run: Callable[[Cluster], Report | KillReport]
    records: int
    seconds: float


SCENARIOS = {
    "steady": Scenario(steady, 100, 5.0),
    "crash": Scenario(crash, 50, 5.0),
    "origin-dies": Scenario(origin_dies, 100, 0.0),
    "partition": Scenario(partition, 50, 30.0),
    "churn": Scenario(churn, 100, 20.0),
}

_ROWS = {
    "delivery_percent": "delivered, %",
    "kills": "origins killed",
    "power_losses": "  of them without a word",
    "seen": "  a survivor had the record",
    "incomplete": "  and not all within 1 s",
    "later_p50_ms": "latency p50, ms",
    "later_p90_ms": "latency p90, ms",
    "later_p99_ms": "latency p99, ms",
    "later_max_ms": "latency max, ms",
    "later_last_p50_ms": "last node, median, ms",
    "later_flood_last_ms": "  by flooding, mean, ms",
    "later_last_max_ms": "last node, worst, ms",
    "first_max_ms": "  an origin's first record, ms",
    "later_last_hop_mean": "last hop, mean",
    "later_flood_hop_mean": "  by flooding, mean",
    "later_last_hop_max": "last hop, worst",
    "later_flood_hop_max": "  by flooding, worst",
    "later_redundancy": "redundancy",
    "first_redundancy": "  an origin's first record",
    "later_announcements_per_copy": "announcements per copy",
    "later_bytes_per_copy": "bytes per copy",
    "late_s": "all complete, s after the last post",
    "lost_with_origin": "records lost with their origin",
    "links_min": "links, fewest",
    "links_median": "links, median",
    "links_max": "links, most",
    "islands": "islands",
    "sync_rounds": "sync rounds",
    "sync_bytes": "sync bytes",
    "bytes_per_node_and_s": "bytes per node and second, all in all",
    "settled_s": "joined and settled, s",
    "virtual_s": "virtual s",
    "events": "events",
    "wall_s": "wall s",
    "memory_mib": "memory, MiB",
}
"""Which figures the table shows, in which words. JSON holds all of them."""


def run_sweep(name: str, setups: list[Setup], *, trace: bool, as_json: bool) -> list[dict[str, float]]:
    """Run a scenario once for each setup.

    Returns:
        the figures of each run.

    Raises:
        Violation: a promise of the simulated cluster was broken; the setup and the time are in the message.
    """
    done: list[dict[str, float]] = []
    with progress_bar(counts=False) as progress:
        task = progress.add_task(name, total=1.0)
        for setup in setups:

            def say(what: str, part: float, nodes: int = setup.nodes) -> None:
                progress.update(task, description=f"{nodes:,} nodes: {what}", completed=part)

            try:
                figures = _run(name, Cluster(setup, say, show_line if trace else None))
            except Violation as violation:
                raise Violation(f"{name} with {setup}: {violation}") from violation
            done.append(figures)
            gc.collect()  # a cluster is one great cycle, and the next one needs the room
            if as_json:
                _echo(name, setup, figures)
    return done


def _run(name: str, cluster: Cluster) -> dict[str, float]:
    """Run a scenario without passes of the garbage collector: over thousands of nodes they are long, and
    little of what these drop is in cycles."""
    started_s = perf_counter()
    gc.disable()
    try:
        cluster.join()
        report = SCENARIOS[name].run(cluster)
    finally:
        gc.enable()
    return report.figures() | {"wall_s": perf_counter() - started_s, "memory_mib": _memory_mib()}


def held(figures: dict[str, float]) -> bool:
    """Whether every copy came, and within the time that is promised for it."""
    return figures.get("complete", 1) == 1 and figures.get("incomplete", 0) == 0


def show_sweep(name: str, done: list[dict[str, float]]) -> None:
    """Show the figures of all sizes side by side."""
    table = Table(title=name, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("nodes", no_wrap=True)
    for figures in done:
        table.add_column(f"{figures['nodes']:,.0f}", justify="right")
    for figure, words in _ROWS.items():
        if any(figure in figures for figures in done):
            table.add_row(words, *(_cell(figures.get(figure)) for figures in done))
    Console().print(table)


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 10_000 else f"{value:,.2f}"


def _echo(name: str, setup: Setup, figures: dict[str, float]) -> None:
    rounded = {figure: round(value, 4) for figure, value in figures.items()}
    click.echo(json.dumps({"scenario": name, "seed": setup.seed, "ok": held(figures)} | rounded))


def _memory_mib() -> float:
    """The most memory this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
