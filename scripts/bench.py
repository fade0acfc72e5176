"""Measure a cluster of real node processes on this machine.

Every subcommand starts its own nodes, measures, and ends them; `store` and `reconcile` need none and
measure the parts in this process. Each shows a table of figures, one column
per case, or with --json one NDJSON line per round and one with each case's medians. With --rounds the
cases take turns, and a figure is shown as its median with the lowest and the highest round beside it;
a figure somebody promised shows the promise. The nodes and the measuring share the machine's cores:
each round also tells how much of the machine others used, so that a busy round can be recognised.

Linux only (it reads /proc). Exit codes: 0 measured, 1 a promise was missed (with --strict), 2 usage,
3 this machine does not permit the measurement.

Try it:
  python scripts/bench.py latency --nodes 3 --posts 50
  python scripts/bench.py idle --seconds 30
  python scripts/bench.py http --rounds 3
  python scripts/bench.py batch

How each figure is measured: docs/performance.md. To add a measurement: one function with the decorator
of `latency` below, that makes cases and hands them to `run_cases`.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

# Run from a checkout, installed or not: the rooms lie next to this folder.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.values import duration_s
from scripts.benches.batch import BATCH_REQUIRED, measure_batch
from scripts.benches.catchup import CATCHUP_REQUIRED, measure_catchup
from scripts.benches.durable import measure_durable
from scripts.benches.fanout import BATCH_RECORDS, FANOUT_REQUIRED, measure_bare, measure_fanout
from scripts.benches.idle import idle_required, measure_idle
from scripts.benches.latency import LATENCY_COMPARED, LATENCY_KEY_REQUIRED, LATENCY_REQUIRED, measure_latency
from scripts.benches.listing import LISTING_REQUIRED, measure_listing
from scripts.benches.memory import MEMORY_REQUIRED, measure_memory
from scripts.benches.namespace import NotPermitted, enter, inside, restart_inside
from scripts.benches.posts import POSTS_REQUIRED, SAVED_POSTS_REQUIRED, measure_node, measure_stock
from scripts.benches.receipts import RECEIPTS_REQUIRED, measure_receipts
from scripts.benches.reconcile import RECONCILE_REQUIRED, measure_reconcile
from scripts.benches.report import Case, run_cases
from scripts.benches.store import STORE_REQUIRED, measure_store
from scripts.benches.throughput import (
    THROUGHPUT_COMPARED,
    THROUGHPUT_KEY_REQUIRED,
    THROUGHPUT_REQUIRED,
    measure_throughput,
)

EXIT_NOT_PERMITTED = 3


def _seconds(context: click.Context, parameter: click.Parameter, text: str) -> float:
    """Read `100ms`, `2s` or `1m` as the node's own settings do."""
    try:
        return duration_s(text)
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from None


def reported(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options every measurement has."""
    for option in (
        click.option("--strict", is_flag=True, help="End with exit code 1 when a promise was missed."),
        click.option("--json", "as_json", is_flag=True, help="NDJSON in place of the table."),
        click.option("--rounds", default=1, show_default=True, type=click.IntRange(1), help="Repetitions."),
    ):
        command = option(command)
    return command


@click.group(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
def bench() -> None:
    """Hold the subcommands; the module's docstring is the help."""
    if not Path("/proc/net/dev").exists():
        raise click.UsageError("the bench reads /proc: it runs on Linux only")


def keyed(command: Callable[..., None]) -> Callable[..., None]:
    """Add the option to measure the same nodes with encrypted links, in turns with open ones."""
    return click.option(
        "--key", is_flag=True, help="Each case also with a cluster key, and its ratio to the first."
    )(command)


@bench.command()
@click.option("--nodes", "counts", multiple=True, default=(5,), type=click.IntRange(2), help="Repeat it.")
@click.option("--posts", default=200, show_default=True, type=click.IntRange(1))
@click.option("--interval", default="100ms", show_default=True, callback=_seconds, help="Jittered by 30 %.")
@keyed
@reported
def latency(counts: tuple[int, ...], posts: int, interval: float, key: bool, **report: Any) -> None:
    """Time from a POST to any node until the last node holds the record, one post at a time."""
    cases: list[Case] = []
    for count in counts:
        measure = partial(measure_latency, count, posts, interval)
        cases.append(Case(f"{count} nodes", measure, LATENCY_REQUIRED.get(count)))
        if key:
            cases.append(
                Case(f"{count} nodes, a key", partial(measure, encrypted=True), LATENCY_KEY_REQUIRED)
            )
    run_cases("latency", cases, compared=LATENCY_COMPARED if key else (), **report)


@bench.command()
@click.option("--nodes", "counts", multiple=True, default=(5,), type=click.IntRange(2), help="Repeat it.")
@click.option("--posts", default=200, show_default=True, type=click.IntRange(1), help="Of either kind.")
@click.option("--interval", default="50ms", show_default=True, callback=_seconds, help="Jittered by 30 %.")
@reported
def receipts(counts: tuple[int, ...], posts: int, interval: float, **report: Any) -> None:
    """Time of a POST with ?wait=all beside one without, in turns."""
    cases = [
        Case(
            f"{count} nodes", partial(measure_receipts, count, posts, interval), RECEIPTS_REQUIRED.get(count)
        )
        for count in counts
    ]
    run_cases("receipts", cases, **report)


@bench.command()
@click.option("--nodes", "counts", multiple=True, default=(3,), type=click.IntRange(2), help="Repeat it.")
@click.option("--records", default=100_000, show_default=True, type=click.IntRange(1))
@keyed
@reported
def throughput(counts: tuple[int, ...], records: int, key: bool, **report: Any) -> None:
    """Records a second, in NDJSON batches of 1,000 to one node, until the last node holds all of them."""
    cases: list[Case] = []
    for count in counts:
        measure = partial(measure_throughput, count, records)
        cases.append(Case(f"{count} nodes", measure, THROUGHPUT_REQUIRED.get(count)))
        if key:
            keyed_measure = partial(measure, encrypted=True)
            cases.append(Case(f"{count} nodes, a key", keyed_measure, THROUGHPUT_KEY_REQUIRED))
    run_cases("throughput", cases, compared=THROUGHPUT_COMPARED if key else (), **report)


@bench.command()
@click.option(
    "--records", "sizes", multiple=True, default=(100_000,), type=click.IntRange(1), help="Repeat it."
)
@reported
def catchup(sizes: tuple[int, ...], **report: Any) -> None:
    """Time until a fresh node holds what another holds, and what its clients notice meanwhile."""
    cases = [
        Case(f"{size:,} records", partial(measure_catchup, size), CATCHUP_REQUIRED.get(size))
        for size in sizes
    ]
    run_cases("catchup", cases, **report)


@bench.command()
@click.option("--nodes", default=2, show_default=True, type=click.IntRange(2))
@click.option(
    "--records", "sizes", multiple=True, default=(1_000, 100_000), type=click.IntRange(0), help="Repeat it."
)
@click.option("--seconds", default=30.0, show_default=True, type=click.FloatRange(1))
@reported
def idle(nodes: int, sizes: tuple[int, ...], seconds: float, **report: Any) -> None:
    """Bytes, CPU and memory of nodes that hold the same and have nothing to do.

    Runs in a network namespace of its own: as root, or where the kernel lets a user make one.
    """
    if not inside():
        try:
            restart_inside()
        except NotPermitted as error:
            click.echo(f"bench: {error}", err=True)
            sys.exit(EXIT_NOT_PERMITTED)
    enter()
    cases = [
        Case(f"{size:,} records", partial(measure_idle, nodes, size, seconds), idle_required(size))
        for size in sizes
    ]
    run_cases("idle", cases, **report)


@bench.command()
@click.option("--connections", default=64, show_default=True, type=click.IntRange(1))
@click.option("--posts", default=50, show_default=True, type=click.IntRange(1), help="On each connection.")
@reported
def durable(connections: int, posts: int, **report: Any) -> None:
    """What --data-dir costs a lone node: posts and batches with a journal and without."""
    cases = [
        Case(name, partial(measure_durable, connections, posts, journal=journal))
        for name, journal in (("memory", False), ("--data-dir", True))
    ]
    run_cases("durable", cases, **report)


@bench.command()
@click.option("--connections", default=64, show_default=True, type=click.IntRange(1, 64))
@click.option("--posts", default=10_000, show_default=True, type=click.IntRange(100, 200_000))
@reported
def http(connections: int, posts: int, **report: Any) -> None:
    """CPU of one POST /postNewData, beside stock frameworks that parse the same, answer and do nothing.

    The ratio is to stock quart-trio on hypercorn, in the same round.
    """
    cases = [
        Case("quart-trio, stock", partial(measure_stock, "quart", connections, posts)),
        Case("plain ASGI, stock", partial(measure_stock, "asgi", connections, posts)),
        Case("node, alone", partial(measure_node, 1, connections, posts)),
        Case("node, 2 peers", partial(measure_node, 3, connections, posts), POSTS_REQUIRED),
        Case(
            "the same, --data-dir",
            partial(measure_node, 3, connections, posts, data_dir=True),
            SAVED_POSTS_REQUIRED,
        ),
    ]
    run_cases("http", cases, compared=("cpu_us_per_request",), **report)


@bench.command()
@click.option(
    "--records",
    "sizes",
    multiple=True,
    default=(100_000, 1_000_000),
    type=click.IntRange(0, 1_000_000),
    help="Repeat it.",
)
@reported
def memory(sizes: tuple[int, ...], **report: Any) -> None:
    """Memory of a node that holds so many records of 150 bytes, and how late its loop ran as they came."""
    cases = [Case(f"{size:,} records", partial(measure_memory, size), MEMORY_REQUIRED) for size in sizes]
    run_cases("memory", cases, **report)


@bench.command()
@click.option(
    "--records",
    "sizes",
    multiple=True,
    default=(10_000, 100_000, 1_000_000),
    type=click.IntRange(100, 1_000_000),
    help="Repeat it.",
)
@reported
def store(sizes: tuple[int, ...], **report: Any) -> None:
    """CPU of the store's operations per record, and of the longest single call, in this process."""
    cases = [Case(f"{size:,} records", partial(measure_store, size), STORE_REQUIRED) for size in sizes]
    run_cases("store", cases, **report)


@bench.command()
@click.option("--records", default=100_000, show_default=True, type=click.IntRange(1, 500_000))
@click.option(
    "--readers", "counts", multiple=True, default=(1, 32), type=click.IntRange(1, 64), help="Repeat it."
)
@reported
def listing(records: int, counts: tuple[int, ...], **report: Any) -> None:
    """Memory of a node while clients list 1 KB records all at once, and how long others wait."""
    cases = [
        Case(f"{count} readers", partial(measure_listing, records, count), LISTING_REQUIRED)
        for count in counts
    ]
    run_cases("listing", cases, **report)


@bench.command()
@click.option("--records", default=1_000_000, show_default=True, type=click.IntRange(10_000, 2_000_000))
@reported
def reconcile(records: int, **report: Any) -> None:
    """Bytes and CPU of two engines with so many records each that find out what one of them lacks."""
    cases = [
        Case(what, partial(measure_reconcile, records, what), required)
        for what, required in RECONCILE_REQUIRED.items()
    ]
    run_cases("reconcile", cases, **report)


@bench.command()
@click.option(
    "--size", "sizes", multiple=True, default=(1_000, 100), type=click.IntRange(1, 10_000), help="Repeat it."
)
@click.option("--records", default=100_000, show_default=True, type=click.IntRange(1, 900_000))
@reported
def batch(sizes: tuple[int, ...], records: int, **report: Any) -> None:
    """CPU and time of a record that comes in an NDJSON batch, on a node that is alone."""
    cases = [
        Case(f"batches of {size:,}", partial(measure_batch, size, records), BATCH_REQUIRED.get(size))
        for size in sizes
    ]
    run_cases("batch", cases, **report)


@bench.command()
@click.option(
    "--subscribers", "counts", multiple=True, default=(100,), type=click.IntRange(2), help="Repeat it."
)
@click.option("--records", default=20_000, show_default=True, type=click.IntRange(100, 900_000))
@click.option(
    "--bare-records", default=1_000, show_default=True, type=click.IntRange(100), help="Of the bare server."
)
@reported
def fanout(counts: tuple[int, ...], records: int, bare_records: int, **report: Any) -> None:
    """CPU and time of a delivery to each of many WebSocket subscribers, beside a bare WebSocket server.

    Records come in batches of 1,000; in the last case, and to the bare server, `--bare-records` come singly.

    The ratio is to the bare server with as many subscribers as the first case, in the same round.
    """
    cases = [Case(f"bare, {counts[0]}", partial(measure_bare, counts[0], bare_records))]
    for count in counts:
        required = FANOUT_REQUIRED.get(count)
        measure = partial(measure_fanout, count, records)
        cases += [
            Case(f"by 500, {count}", partial(measure, 500, BATCH_RECORDS), required),
            Case(f"one a frame, {count}", partial(measure, 1, BATCH_RECORDS)),
            Case(f"raws, {count}", partial(measure, 0, BATCH_RECORDS)),
            Case(f"posted singly, {count}", partial(measure_fanout, count, bare_records, 1, 1)),
        ]
    run_cases("fanout", cases, compared=("cpu_us_per_delivery",), **report)


if __name__ == "__main__":
    bench(prog_name="bench.py")
