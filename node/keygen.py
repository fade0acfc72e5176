"""`dayfly keygen`: make a cluster key."""

import os
import secrets
from pathlib import Path

import click

from cluster.key import SECRET_BYTES, ClusterKey
from node.client import EXIT_REFUSED, end


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write a new file.")
def keygen(output: Path | None) -> None:
    """Make a cluster key: one line, to be given to every node with --key-file or DAYFLY_KEY.

    \b
    dayfly keygen -o cluster.key      # a new file that only you can read
    dayfly keygen >> cluster.key      # one more key, to replace the first (docs/keys.md)
    """
    key = ClusterKey(secrets.token_bytes(SECRET_BYTES))
    if output is None:
        click.echo(key.line)
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w") as file:
            file.write(key.line + "\n")
    except FileExistsError:
        end(f"{output} exists and was left as it is; to add a key: dayfly keygen >> {output}", EXIT_REFUSED)
    except OSError as error:
        end(f"{output}: {error.strerror}", EXIT_REFUSED)
    click.echo(f"key {key.fingerprint} is in {output}; copy it to every node and start each with", err=True)
    click.echo(f"  dayfly up --key-file {output}", err=True)


def register(group: click.Group) -> None:
    """Add the command to `group`."""
    group.add_command(keygen)
