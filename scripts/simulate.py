"""Run simulated clusters in virtual time: small ones under drawn faults, or large ones through a scenario.

Nothing here opens a socket or waits: the real engine, codec, outbox, admission and store of every node
run on one event heap. A seed draws everything, so what happened happens again, event for event.

Without --scenario each seed is a cluster of its own with its own faults, and says whether every promise
held (docs/testing.md). --nodes, --records, --seconds and --loss then replace what the seed draws, and
--churn says how many times likelier crashes and restarts are.

With --scenario one cluster starts through a seed list, settles, and is measured (docs/scale.md):

\b
  steady       records, and nothing else
  crash        3 nodes of 10 are killed at one instant; then an origin posts
  origin-dies  origins are killed while they send, --records of them, one record each
  partition    halves are cut off for --seconds while both post, and heal
  churn        nodes are killed and replaced, --churn of all a minute, while origins post

--nodes may be given several times then, for a table of several sizes, or a picture (--plot).

\b
Try it:
  python scripts/simulate.py --seeds 1000
  python scripts/simulate.py --seed 48 --trace
  python scripts/simulate.py --seeds 0-99 --nodes 12 --loss 0.2 --json
  python scripts/simulate.py --scenario steady --nodes 1000
  python scripts/simulate.py --scenario crash --nodes 64 --nodes 300 --link-ms 20 --json
  python scripts/simulate.py --scenario steady --nodes 10 --nodes 100 --nodes 1000 --plot scale.svg

\b
Exit codes: 0 all held, 1 something did not (it is named), 2 usage.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import click

# Run from a checkout, installed or not: the rooms lie next to this folder.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.simulations.plot import check_plot, draw
from scripts.simulations.seeds import again, run_seeds, show_summary, summary
from scripts.simulations.sweep import SCENARIOS, held, run_sweep, show_sweep
from tests.sim.plan import Options
from tests.sim.scale import Setup
from tests.sim.scale_members import SHARED_FROM
from tests.sim.world import Violation

SEEDS_DEFAULT = "100"
DRAWN_NODES_MAX = 60
"""A drawn cluster is checked in every store at every second: beyond this it takes minutes."""

NODES_DEFAULT = 100
NODES_MAX = 20_000
"""Ten thousand nodes take gigabytes and minutes; more than twice as many are most likely a slip of a key."""

CHURN_DEFAULT = 0.5
"""Share of the nodes that is replaced a minute in `churn`."""


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
@click.option("--seed", type=click.IntRange(0), help="One seed; with --scenario 0 if not given.")
@click.option("--seeds", callback=_seeds, metavar="COUNT|FROM-TO", help=f"Default: {SEEDS_DEFAULT}.")
@click.option("--scenario", type=click.Choice(list(SCENARIOS)), help="Measure a large cluster instead.")
@click.option(
    "--nodes",
    type=click.IntRange(2, NODES_MAX),
    multiple=True,
    help=f"Nodes: 2 to {DRAWN_NODES_MAX} for seeds; several times with --scenario [{NODES_DEFAULT}].",
)
@click.option("--records", type=click.IntRange(1), help="Records posted; for origin-dies: origins killed.")
@click.option("--origins", type=click.IntRange(1), help="With --scenario: nodes that post, by turns [1].")
@click.option("--seconds", type=click.FloatRange(1), help="Virtual seconds of trouble, or of posting.")
@click.option("--loss", type=click.FloatRange(0, 0.9), help="Share of frames lost, of every type.")
@click.option("--churn", type=click.FloatRange(0), help="Crashes and restarts: see above.")
@click.option(
    "--link-ms", type=click.FloatRange(0.001, 10_000), help="With --scenario: a link's mean delay [1]."
)
@click.option(
    "--member-list",
    type=click.Choice(["gossiped", "shared"]),
    help=f"With --scenario: as the product does it, or given [gossiped below {SHARED_FROM} nodes].",
)
@click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), help="With --scenario: draw to .svg or .png."
)
@click.option("--trace", is_flag=True, help="Show every event on standard error.")
@click.option(
    "--json", "as_json", is_flag=True, help="NDJSON: a line per seed, then one of all; or one per size."
)
def simulate(
    seed: int | None,
    seeds: range | None,
    scenario: str | None,
    nodes: tuple[int, ...],
    records: int | None,
    origins: int | None,
    seconds: float | None,
    loss: float | None,
    churn: float | None,
    link_ms: float | None,
    member_list: str | None,
    plot: Path | None,
    trace: bool,
    as_json: bool,
) -> None:
    """Run what is asked for; the module's docstring is the help."""
    if seed is not None and seeds is not None:
        raise click.UsageError("--seed and --seeds exclude each other")
    if scenario is None:
        only = {"--origins": origins, "--link-ms": link_ms, "--member-list": member_list, "--plot": plot}
        for name in (name for name, value in only.items() if value is not None):
            raise click.UsageError(f"{name} needs --scenario")
        if len(nodes) > 1:
            raise click.UsageError("--nodes several times needs --scenario")
        if nodes and nodes[0] > DRAWN_NODES_MAX:
            raise click.UsageError(f"more than {DRAWN_NODES_MAX} nodes need --scenario")
        chosen = range(seed, seed + 1) if seed is not None else seeds or range(int(SEEDS_DEFAULT))
        options = Options(nodes[0] if nodes else None, records, seconds, loss, churn)
        _seeds_in_turn(chosen, options, trace=trace, as_json=as_json)
        return
    if seeds is not None:
        raise click.UsageError("--seeds and --scenario exclude each other; --seed chooses one")
    check_plot(plot)
    usual = SCENARIOS[scenario]
    setup = Setup(
        records=records or usual.records,
        seconds=seconds or usual.seconds,
        origins=origins or 1,
        loss=loss or 0.0,
        churn=CHURN_DEFAULT if churn is None else churn,
        link_ms=link_ms or 1.0,
        seed=seed or 0,
        shared=None if member_list is None else member_list == "shared",
    )
    _sizes_in_turn(scenario, setup, nodes or (NODES_DEFAULT,), plot, trace=trace, as_json=as_json)


def _seeds_in_turn(chosen: range, options: Options, *, trace: bool, as_json: bool) -> None:
    """Run seeds and show what they came to; ends the process with 1 when one failed."""
    started_s = perf_counter()
    reports = run_seeds(chosen, options, trace=trace, as_json=as_json)
    figures = summary(reports, perf_counter() - started_s)
    failed = [r.seed for r in reports if r.failure]
    if as_json:
        click.echo(json.dumps(figures | {"failed": failed}))
    else:
        show_summary(figures)
        if len(reports) == 1:
            click.echo(f"hash {reports[0].hash}")
    if failed:
        click.echo(f"failed: {', '.join(map(str, failed))}", err=True)
        click.echo(f"again:  python scripts/simulate.py {again(failed[0], options)} --trace", err=True)
        sys.exit(1)


def _sizes_in_turn(
    scenario: str, setup: Setup, nodes: tuple[int, ...], plot: Path | None, *, trace: bool, as_json: bool
) -> None:
    """Run a scenario at each size and show it; ends the process with 1 when a promise was broken."""
    try:
        setups = [replace(setup, nodes=count) for count in nodes]
        done = run_sweep(scenario, setups, trace=trace, as_json=as_json)
    except Violation as violation:
        click.echo(f"failed: {violation}", err=True)
        sys.exit(1)
    if not as_json:
        show_sweep(scenario, done)
    if plot is not None:
        draw(plot, f"{scenario}, links of {setup.link_ms:g} ms", done)
    failed = [f"{figures['nodes']:,.0f}" for figures in done if not held(figures)]
    if failed:
        click.echo(f"failed: not everything reached every node, of {' and of '.join(failed)} nodes", err=True)
        sys.exit(1)


if __name__ == "__main__":
    simulate(prog_name="simulate.py")
