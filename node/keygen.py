"""`dayfly keygen`: make a cluster key, or a key that records are signed with."""

import os
import secrets
from pathlib import Path

import click

from cluster.key import SECRET_BYTES, ClusterKey
from node.commands import EXIT_REFUSED, EXIT_USAGE, end


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write a new file.")
@click.option("--publisher", metavar="NAME", help="A publisher's own pair, for ed25519.")
@click.option("--hmac", is_flag=True, help="A secret for all who write, for hmac-sha256.")
def keygen(output: Path | None, publisher: str | None, hmac: bool) -> None:
    """Make a cluster key: one line, to be given to every node with --key-file or DAYFLY_KEY.

    With --hmac or --publisher: a key that records are signed with (docs/validators.md).

    \b
    dayfly keygen -o cluster.key      # a new file that only you can read
    dayfly keygen >> cluster.key      # one more key, to replace the first (docs/keys.md)
    """
    if hmac and publisher is not None:
        end("give --hmac or --publisher, not both", EXIT_USAGE)
    key = ClusterKey(secrets.token_bytes(SECRET_BYTES))
    of_records = hmac or publisher is not None
    text = _record_key_text(publisher) if of_records else key.line + "\n"
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        _write(output, text)
    except FileExistsError:
        end(f"{output} exists and was left as it is; to add a key: dayfly keygen >> {output}", EXIT_REFUSED)
    except OSError as error:
        end(f"{output}: {error.strerror}", EXIT_REFUSED)
    if of_records:
        return
    click.echo(f"key {key.fingerprint} is in {output}; copy it to every node and start each with", err=True)
    click.echo(f"  dayfly up --key-file {output}", err=True)


def _write(output: Path, text: str) -> None:
    """Make a file for its user alone; what cannot be written whole is removed. Raises OSError."""
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w") as file:
            file.write(text)
    except BaseException:  # an interrupt too: half a key would be in the way of the next try
        output.unlink()
        raise


def _record_key_text(publisher: str | None) -> str:
    """Draw a key and lay it out as a file: for HMAC, or a publisher's with its public key in a comment."""
    from node.key_files import new_keys
    from validator.keys import publisher_name

    try:
        private, *public = new_keys(None if publisher is None else publisher_name(publisher))
    except ValueError as error:
        end(str(error), EXIT_USAGE)
    return "".join(f"# Nodes list this public key: {key.line}\n" for key in public) + f"{private.line}\n"


def register(group: click.Group) -> None:
    """Add the command to `group`."""
    group.add_command(keygen)
