"""Cases, rounds, and how their figures are shown. Knows nothing of what is measured.

A measurement is a function that runs one round and returns figures by name, units last in the names.
Cases take turns round by round, because on a shared machine figures compare only within one run.
"""

import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from scripts.benches.machine import others_since, usage

Figures = Mapping[str, float]
Step = Callable[[str, float], None]
"""Tells what a round is doing and how far it has come, 0 to 1."""

Measure = Callable[[Step], Figures]
EXIT_MISSED = 1


@dataclass
class Case:
    """One column: how to measure it once, and the most some figures may be."""

    name: str
    measure: Measure
    required: Mapping[str, float] | None = None
    rounds: list[Figures] = field(default_factory=list[Figures])

    def median(self, figure: str) -> float:
        """Return the median over the rounds."""
        return statistics.median(r[figure] for r in self.rounds)

    def held(self, figure: str) -> bool | None:
        """Whether the median keeps what is required of it; None when nothing is."""
        limit = (self.required or {}).get(figure)
        return None if limit is None else self.median(figure) <= limit


def percentile(values: list[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of all do not pass (nearest rank)."""
    rank = max(-(-len(values) * percent // 100), 1)
    return sorted(values)[int(rank) - 1]


def run_cases(
    bench: str,
    cases: list[Case],
    *,
    rounds: int,
    as_json: bool,
    strict: bool,
    compared: Sequence[str] = (),
) -> None:
    """Measure every case `rounds` times in turns and show the figures; may end the process (`strict`).

    Args:
        compared: figures that are also told as `<figure>_ratio`, to that of the same round's first case.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    quiet = not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as progress:
        task = progress.add_task(bench, total=rounds * len(cases))
        for number in range(rounds):
            for place, case in enumerate(cases):
                done = number * len(cases) + place

                def step(what: str, part: float, case: Case = case, done: int = done) -> None:
                    progress.update(task, description=f"{case.name}: {what}", completed=done + part)

                before = usage()
                figures = {**case.measure(step), **others_since(before)}
                first = cases[0].rounds[number] if place else figures
                figures = {**{f"{c}_ratio": figures[c] / first[c] for c in compared}, **figures}
                case.rounds.append(figures)
                if as_json:
                    _echo_json({"bench": bench, "case": case.name, "round": number + 1, **case.rounds[-1]})
    if as_json:
        for case in cases:
            _echo_json(_summary(bench, case))
    else:
        Console().print(_table(bench, cases))
    missed = [f for case in cases for f in case.required or {} if case.held(f) is False]
    if strict and missed:
        click.echo(f"bench: missed: {', '.join(dict.fromkeys(missed))}", err=True)
        sys.exit(EXIT_MISSED)


def _summary(bench: str, case: Case) -> dict[str, Any]:
    """Put a case's medians, best rounds and promises into one JSON object."""
    names = list(case.rounds[0])
    return {
        "bench": bench,
        "case": case.name,
        "rounds": len(case.rounds),
        "median": {f: case.median(f) for f in names},
        "lowest": {f: min(r[f] for r in case.rounds) for f in names},
        "required": case.required or {},
        "held": {f: case.held(f) for f in case.required or {}},
    }


def _table(bench: str, cases: list[Case]) -> Table:
    rounds = len(cases[0].rounds)
    title = f"{bench}: median of {rounds} rounds (lowest to highest)" if rounds > 1 else bench
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("figure", no_wrap=True)
    for case in cases:
        table.add_column(case.name)
    for figure in cases[0].rounds[0]:
        table.add_row(figure, *(_cell(case, figure) for case in cases))
    return table


def _cell(case: Case, figure: str) -> str:
    text = number(case.median(figure))
    values = [r[figure] for r in case.rounds]
    if len(values) > 1:
        text += f" ({number(min(values))} to {number(max(values))})"
    held = case.held(figure)
    if held is not None:
        limit = number((case.required or {})[figure])
        text += f" [green]<= {limit}[/]" if held else f" [red]missed: <= {limit}[/]"
    return text


def number(value: float) -> str:
    """Write a figure with about three digits that mean something."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 or value == int(value) else f"{value:.{1 if size >= 10 else 2}f}"


def _echo_json(value: Mapping[str, Any]) -> None:
    click.echo(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in value.items()}))
