"""Drawn clusters, a seed each: run them, tell at once what fails, and sum up the rest."""

import json
from collections import Counter
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table

from scripts.benches.report import percentile
from scripts.simulations.show import progress_bar, show_line
from tests.sim.plan import Options
from tests.sim.run import Report, run_seed


def run_seeds(chosen: range, options: Options, *, trace: bool, as_json: bool) -> list[Report]:
    """Run every seed; what fails is told at once, with all that its seed drew."""
    reports: list[Report] = []
    with progress_bar() as progress:
        task = progress.add_task("seeds", total=len(chosen))
        for seed in chosen:
            report = run_seed(seed, options, show_line if trace else None)
            reports.append(report)
            progress.update(task, advance=1)
            if as_json:
                click.echo(json.dumps(_seed_line(report)))
            if report.failure:
                told = [f"seed {seed} failed {report.failure}", *report.plan.lines()]
                progress.stop() if trace else None
                click.echo("\n".join(told), err=True)
    return reports


def again(seed: int, options: Options) -> str:
    """Return the arguments that run a seed again as it was run."""
    fixed = [f"--{name} {value}" for name, value in asdict(options).items() if value is not None]
    return " ".join([f"--seed {seed}", *fixed])


def summary(reports: list[Report], wall_s: float) -> dict[str, float]:
    """Return what all seeds came to together. Delivery counts copies that are due at the end."""
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


def show_summary(figures: dict[str, float]) -> None:
    """Show the sums as a table."""
    table = Table(show_header=False, box=None)
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), f"{value:,.3f}" if value % 1 else f"{value:,.0f}")
    Console().print(table)


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
