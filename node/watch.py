"""`dayfly watch`: show records as they come, or run a command for each."""

import shutil
import signal
import sys
from pathlib import Path

import click
import msgspec

from node.commands import EXIT_INTERRUPTED, EXIT_REFUSED, EXIT_USAGE, client_of, end, ending, sendable
from node.connect import NodeAddress, node_options
from node.following import Progress, WatchState

STATE_BYTES_MAX = 1 << 20
"""Largest state read: twice what `SAVED_MAX` records and a hundred nodes come to."""


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--prefix", callback=sendable, default="", metavar="TEXT", help="Only ids that begin with this."
)
@click.option(
    "--since",
    callback=sendable,
    default="now",
    metavar="WHEN",
    help="now, all, a time back (10m), a Unix time.",
)
@click.option("--state", type=click.Path(dir_okay=False, path_type=Path), help="Go on where this file says.")
@click.option("--parallel", type=click.IntRange(1, 64), default=1, help="Commands at once.  [default: 1]")
@click.option("--retries", type=click.IntRange(0), default=3, help="Of a failed command.  [default: 3]")
@node_options
@click.option("--json", "as_json", is_flag=True, help="NDJSON also on a terminal.")
def watch(
    command: tuple[str, ...],
    prefix: str,
    since: str,
    state: Path | None,
    parallel: int,
    retries: int,
    node: NodeAddress,
    as_json: bool,
) -> None:
    """Show records as they come, or run COMMAND for each.

    \b
    dayfly watch --prefix alerts/
    dayfly watch --node http://a:8080,http://b:8080       # moves to b when a goes away
    dayfly watch --state seen.json -- ./on-record   # raw on standard input, DAYFLY_ID, ...

    No shell is involved. A command that fails is run again after 1, 2, 4, ... seconds; after --retries its
    record is passed over and reported. With --state each record is dealt with at least once over restarts.
    """
    if command and shutil.which(command[0]) is None:
        end(f"there is no command {command[0]!r}", EXIT_USAGE)
    try:
        resume = None if state is None else _read_state(state)
    except (OSError, ValueError) as error:
        end(f"{state} is not the state of a watch ({error}); remove it to begin anew", EXIT_REFUSED)
    from node.hooks import Hook
    from node.watch_run import run

    hook = Hook(command, parallel, retries) if command else None
    following = client_of(node).watch(since=since, prefix=prefix, resume=resume)
    with ending():
        stopped_by = run(following, Progress(resume), state, hook, as_json=as_json or not sys.stdout.isatty())
    if stopped_by == signal.SIGINT:
        sys.exit(EXIT_INTERRUPTED)


def register(group: click.Group) -> None:
    """Add the command to `group`."""
    group.add_command(watch)


def _read_state(path: Path) -> WatchState | None:
    """Read a state; None if there is no file yet. Raises OSError, ValueError."""
    try:
        with path.open("rb") as file:
            data = file.read(STATE_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    if len(data) > STATE_BYTES_MAX:
        raise ValueError("it is too large")
    state = msgspec.json.decode(data, type=WatchState)
    Progress(state)  # finds damage
    return state
