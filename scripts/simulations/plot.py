"""Latency and redundancy against cluster size, as a picture.

matplotlib is for whoever draws, not for whoever runs: it is imported here alone, and only when asked for.
"""

# pyright: reportUnknownMemberType=false
# matplotlib types its own arguments, but not those it passes on.

from importlib.util import find_spec
from pathlib import Path

import click

SUFFIXES = (".svg", ".png")

_LATENCIES = {
    "p50_ms": ("half of the nodes have it", "-"),
    "p99_ms": ("99 of 100 have it", "-"),
    "last_max_ms": ("the last node, worst record", "-"),
    "flood_last_ms": ("the last node by flooding, mean", ":"),
}
_REDUNDANCIES = {"first_redundancy": "an origin's first record", "later_redundancy": "later records"}


def check_plot(path: Path | None) -> None:
    """See to it before anything runs that a picture can be drawn there.

    Raises:
        click.UsageError: it cannot, and why.
    """
    if path is None:
        return
    if path.suffix not in SUFFIXES:
        raise click.UsageError(f"--plot {path}: the name must end in {' or '.join(SUFFIXES)}")
    if not path.absolute().parent.is_dir():
        raise click.UsageError(f"--plot {path}: there is no folder {path.absolute().parent}")
    if find_spec("matplotlib") is None:
        raise click.UsageError(
            "--plot draws with matplotlib, which is not installed: pip install matplotlib"
            " (in a checkout: pip install -e '.[dev]')"
        )


def draw(path: Path, title: str, done: list[dict[str, float]]) -> None:
    """Draw a sweep to `path`, in the format its name ends in. The same figures give the same file."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "dayfly"
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    for name, (label, line) in _LATENCIES.items():
        prefix = "later_" if any(f"later_{name}" in figures for figures in done) else "first_"
        points = [(f["nodes"], f[prefix + name]) for f in done if prefix + name in f]
        if points:
            left.plot(*zip(*points, strict=True), line, marker="o", label=label)
    left.set_ylabel("ms from the post")
    for name, label in _REDUNDANCIES.items():
        points = [(f["nodes"], f[name]) for f in done if name in f]
        if points:
            right.plot(*zip(*points, strict=True), marker="o", label=label)
    right.set_ylabel("payloads per node beyond the first")
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xlabel("nodes")
        axes.set_ylim(bottom=0)
        axes.set_xticks([f["nodes"] for f in done], [f"{f['nodes']:,.0f}" for f in done])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
