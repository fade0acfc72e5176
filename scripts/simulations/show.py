"""What runs of all kinds show while they go on: a bar on a terminal, the trace on request."""

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def progress_bar(*, counts: bool = True) -> Progress:
    """Return a bar on standard error that shows only on a terminal.

    Args:
        counts: whether what is done is counted; else it is a share, and only the time is shown.
    """
    console = Console(stderr=True)
    last: tuple[ProgressColumn, ...] = (
        (MofNCompleteColumn(), TimeRemainingColumn()) if counts else (TimeElapsedColumn(),)
    )
    columns = (TextColumn("{task.description}"), BarColumn(), *last)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def show_line(line: str) -> None:
    """Show a line of the trace."""
    click.echo(line, err=True)
