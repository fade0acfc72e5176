"""Run simulated clusters under drawn faults, a seed each, and say whether every promise held.

Nothing here opens a socket or waits: the real engine, codec, outbox, admission and store of every node
run on one event heap in virtual time. A seed draws everything (docs/testing.md), so a seed that fails
fails again, event for event.

Try it:
  python scripts/simulate.py --seeds 1000
  python scripts/simulate.py --seed 48 --trace
  python scripts/simulate.py --seeds 0-99 --nodes 12 --loss 0.2 --json

Exit codes: 0 every seed held, 1 some did not (they are named), 2 usage.
"""

import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

# Run from a checkout, installed or not: the rooms lie next to this folder.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.benches.report import percentile
from tests.sim.faults import Options
from tests.sim.run import Report, run_seed

SEEDS_DEFAULT = "100"


def _seeds(context: click.Context, parameter: click.Parameter, text: str | None) -> range | None:
    """Read `COUNT` or `FROM-TO`, both ends included."""
    if text is None:
        return None
    first, dash, last = text.partition("-")
    try:
        found = range(int(first), int(last) + 1) if dash else range(int(first))
    except ValueError:
        raise click.BadParameter("not a count or FROM-TO", context, parameter) from None
    if not found:
        raise click.BadParameter("no seed is in it", context, parameter)
    return found


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seed", type=click.IntRange(0), help="One seed.")
@click.option("--seeds", callback=_seeds, metavar="COUNT|FROM-TO", help=f"Default: {SEEDS_DEFAULT}.")
@click.option("--nodes", type=click.IntRange(2, 60), help="Nodes, in place of what the seed draws.")
@click.option("--records", type=click.IntRange(1), help="Records posted.")
@click.option("--seconds", type=click.FloatRange(1), help="Virtual seconds of trouble.")
@click.option("--loss", type=click.FloatRange(0, 0.9), help="Share of frames lost, of every type.")
@click.option("--churn", type=click.FloatRange(0), help="How much likelier crashes and restarts are.")
@click.option("--trace", is_flag=True, help="Show every event on standard error.")
@click.option("--json", "as_json", is_flag=True, help="NDJSON: a line per seed, then one of all.")
def simulate(
    seed: int | None,
    seeds: range | None,
    nodes: int | None,
    records: int | None,
    seconds: float | None,
    loss: float | None,
    churn: float | None,
    trace: bool,
    as_json: bool,
) -> None:
    """Run the seeds; the module's docstring is the help."""
    if seed is not None and seeds is not None:
        raise click.UsageError("--seed and --seeds exclude each other")
    chosen = range(seed, seed + 1) if seed is not None else seeds or range(int(SEEDS_DEFAULT))
    options = Options(nodes, records, seconds, loss, churn)
    started_s = perf_counter()
    reports = _run(chosen, options, trace=trace, as_json=as_json)
    figures = _figures(reports, perf_counter() - started_s)
    failed = [r.seed for r in reports if r.failure]
    if as_json:
        click.echo(json.dumps(figures | {"failed": failed}))
    else:
        _show(figures)
        if len(reports) == 1:
            click.echo(f"hash {reports[0].hash}")
    if failed:
        click.echo(f"failed: {', '.join(map(str, failed))}", err=True)
        click.echo(f"again:  python scripts/simulate.py {_again(failed[0], options)} --trace", err=True)
        sys.exit(1)


def _run(chosen: range, options: Options, *, trace: bool, as_json: bool) -> list[Report]:
    """Run every seed; what fails is told at once, with all that its seed drew."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    reports: list[Report] = []
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("seeds", total=len(chosen))
        for seed in chosen:
            report = run_seed(seed, options, _show_line if trace else None)
            reports.append(report)
            progress.update(task, advance=1)
            if as_json:
                click.echo(json.dumps(_seed_line(report)))
            if report.failure:
                told = [f"seed {seed} failed {report.failure}", *report.plan.lines()]
                progress.stop() if trace else None
                click.echo("\n".join(told), err=True)
    return reports


def _show_line(line: str) -> None:
    click.echo(line, err=True)


def _again(seed: int, options: Options) -> str:
    """The arguments that run a seed again as it was run."""
    fixed = [f"--{name} {value}" for name, value in asdict(options).items() if value is not None]
    return " ".join([f"--seed {seed}", *fixed])


def _seed_line(report: Report) -> dict[str, object]:
    return {
        "seed": report.seed,
        "ok": report.failure is None,
        "failure": report.failure,
        "hash": report.hash,
        "events": report.events,
        "virtual_s": round(report.virtual_s, 3),
        "posted": report.posted,
        "link_s": round(report.link_s, 3),
        "agree_s": round(report.agree_s, 3),
    }


def _figures(reports: list[Report], wall_s: float) -> dict[str, float]:
    """What all seeds came to together. Delivery counts copies that are due at the end."""
    totals = Counter[str]()
    for report in reports:
        totals.update(report.totals)
    latencies_ms = [s * 1000 for r in reports for s in r.latencies_s]
    copies = sum(r.posted * len(r.plan.machines) for r in reports)
    due = sum(r.due for r in reports)
    figures: dict[str, float] = {
        "seeds": len(reports),
        "wall_s": wall_s,
        "virtual_s": sum(r.virtual_s for r in reports),
        "events": sum(r.events for r in reports),
        "records_posted": sum(r.posted for r in reports),
        "delivery_percent": 100 * sum(r.delivered for r in reports) / due if due else 100.0,
        "payloads_per_copy": totals["payloads"] / max(totals["stored from peers"], 1),
        "bytes_per_record_and_node": totals["bytes"] / max(copies, 1),
        "sync_rounds": totals["sync rounds"],
        "sync_bytes": totals["sync bytes"],
        "frames_lost": totals["frames lost"],
        "payloads_degraded": totals["degraded"],
        "garbage_refused": totals["garbage refused"],
    }
    for percent in (50, 90, 99, 100) if latencies_ms else ():
        name = "max" if percent == 100 else f"p{percent}"
        figures[f"latency_{name}_ms"] = percentile(latencies_ms, percent)
    faults = sorted(name for name in totals if name.startswith("fault "))
    figures |= {name.replace(" ", "_"): totals[name] for name in faults}
    figures["link_max_s"] = max(r.link_s for r in reports)
    figures["agree_max_s"] = max(r.agree_s for r in reports)
    return {name: round(value, 3) for name, value in figures.items()}


def _show(figures: dict[str, float]) -> None:
    table = Table(show_header=False, box=None)
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), f"{value:,.3f}" if value % 1 else f"{value:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    simulate(prog_name="simulate.py")
