"""Draw the keys that records are signed with: a secret for all, or a publisher's own pair."""

import sys

import click

from node.client import EXIT_USAGE, end

publisher_option = click.option("--publisher", metavar="NAME", help="A publisher's own pair, for ed25519.")
hmac_option = click.option("--hmac", is_flag=True, help="A secret for all who write, for hmac-sha256.")


def register(group: click.Group) -> None:
    """Add the command to `group`."""
    group.add_command(keygen)


@click.command()
@publisher_option
@hmac_option
def keygen(publisher: str | None, hmac: bool) -> None:
    """Draw a key and print it as a file.

    \b
    (umask 077; dayfly keygen --hmac > records.key)
    (umask 077; dayfly keygen --publisher alerts > alerts.key)
    grep -o dayfly-public1:.* alerts.key >> publishers.txt
    """
    if hmac == (publisher is not None):
        end("say which key: --hmac or --publisher NAME", EXIT_USAGE)
    print_record_key(publisher)


def print_record_key(publisher: str | None) -> None:
    """Print a new key file: a publisher's, whose public key stands in a comment, or one for HMAC."""
    from node.key_files import new_keys
    from validator.keys import publisher_name

    try:
        keys = new_keys(None if publisher is None else publisher_name(publisher))
    except ValueError as error:
        end(str(error), EXIT_USAGE)
    if publisher is not None:
        click.echo(f"# Nodes list this public key: {keys[1].line}")
    click.echo(keys[0].line)
    if sys.stdout.isatty():
        click.echo("dayfly: this is a secret; keep it in a file of mode 600", err=True)
