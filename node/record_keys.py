"""Draw the keys that records are signed with: a secret for all, or a publisher's own pair."""

import click

from node.commands import EXIT_USAGE, end

publisher_option = click.option("--publisher", metavar="NAME", help="A publisher's own pair, for ed25519.")
hmac_option = click.option("--hmac", is_flag=True, help="A secret for all who write, for hmac-sha256.")


def record_key_text(publisher: str | None) -> str:
    """Draw a key and lay it out as a file: for HMAC, or a publisher's with its public key in a comment."""
    from node.key_files import new_keys
    from validator.keys import publisher_name

    try:
        private, *public = new_keys(None if publisher is None else publisher_name(publisher))
    except ValueError as error:
        end(str(error), EXIT_USAGE)
    return "".join(f"# Nodes list this public key: {key.line}\n" for key in public) + f"{private.line}\n"
