"""The command `dayfly`: run a node, run a few, and talk to one.

Answers go to standard output, everything else to standard error. Lists are tables on a terminal and
NDJSON when piped or with `--json`. Exit codes: 0 done, 1 refused, 2 wrong usage, 3 nobody answered,
4 fewer nodes hold a record than were waited for, 130 interrupted.
"""

import errno
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import click

from cluster.address import format_address
from node import commands, demo, keygen, watch
from node.commands import EXIT_INTERRUPTED, EXIT_REFUSED, EXIT_USAGE, end
from node.config import Config, ConfigError, Origin, gather, load
from node.connect import NODE_DEFAULT, NodeAddress, node_options
from node.settings import SETTINGS, Setting
from node.version import VERSION

HIDDEN = '"***"'
"""What is shown in place of a secret."""

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; ends the process."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by who started us (`>&-`): else a socket gets its number
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - for as long as the process lives
    arguments = _modernise(list(sys.argv[1:] if argv is None else argv))
    cli.main(arguments, prog_name="dayfly")
    sys.exit(0)


def _modernise(arguments: list[str]) -> list[str]:
    """Accept the original's way of starting: `-httpport=8080` alone starts a node."""
    if arguments and arguments[0].isalpha() and arguments[0] != "up":
        return arguments  # what another command is given may look like it and mean something else
    renamed = [re.sub(r"^--?httpport(=|$)", r"--http\1", a) for a in arguments]
    seed_style = renamed != arguments and not renamed[0].isalpha()
    return ["up", *renamed] if seed_style else renamed


class _Commands(click.Group):
    """The group of all commands, which ends well when its output is no longer wanted."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Click itself would end with 1, and only after us."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(EXIT_INTERRUPTED)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.ENOSPC):
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at exit
            if error.errno == errno.ENOSPC:
                end(f"the output cannot be written: {error.strerror}", EXIT_REFUSED)
            ctx.exit(0)  # whoever read our output has enough (`dayfly list | head`)


@click.group(cls=_Commands, context_settings=_CONTEXT)
@click.version_option(VERSION, prog_name="dayfly")
def cli() -> None:
    """Post it once, anywhere; it is everywhere; it is gone after 24 hours.

    \b
    Try it:      dayfly demo
    One node:    dayfly up
    Post, read:  dayfly post hello; dayfly list
    """


def _setting_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add one option per row of the settings table."""
    for setting in reversed([s for s in SETTINGS if s.flag]):
        shown = f"[{setting.env}; default: {setting.default or 'none'}]"
        if setting.metavar:
            option = click.option(
                f"--{setting.name}",
                setting.key,
                multiple=True,
                metavar=setting.metavar,
                help=f"{setting.help}  {shown}",
            )
        else:
            option = click.option(
                f"--{setting.name}/--no-{setting.name}",
                setting.key,
                default=None,
                help=f"{setting.help}  {shown}",
            )
        command = option(command)
    return command


def _flags(options: dict[str, Any]) -> dict[str, Sequence[str]]:
    """Turn click's values into texts by key; what was not given is left out."""
    flags: dict[str, Sequence[str]] = {}
    for key, value in options.items():
        if isinstance(value, bool):
            flags[key] = [str(value).lower()]
        elif value:
            flags[key] = value
    return flags


@cli.command(context_settings=_CONTEXT)
@_setting_options
@click.option("--no-multicast", is_flag=True, help="Send and hear no beacons; find peers by --join only.")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Read this file, not dayfly.toml.")
@click.option("--print-config", is_flag=True, help="Show every setting, its value and its origin, and end.")
@click.option("--parent-pipe", type=int, hidden=True, help="End when this descriptor reaches its end.")
def up(
    no_multicast: bool, file: Path | None, print_config: bool, parent_pipe: int | None, **options: Any
) -> None:
    """Run a node until it is told to stop (Ctrl-C).

    Alone on loopback unless told otherwise: nothing leaves this machine without --lan or an address that
    says so. Settings come from flags, then DAYFLY_* variables, then dayfly.toml, then defaults. A key may
    also stand in DAYFLY_KEY itself; it is no flag, because command lines are seen by everybody.
    """
    if no_multicast:
        options["multicast"] = ("off",)
    try:
        gathered = gather(_flags(options), os.environ, file)
        config = load(gathered)
    except ConfigError as error:
        end(str(error), EXIT_USAGE)
    if print_config:
        _print_config(gathered, config)
        return
    import trio

    from node.key_files import KeyFileError
    from node.logs import logging_to_stderr
    from node.serve import StartError, first_message, serve_node

    refusal = ""
    try:
        with logging_to_stderr(config.log_format, config.log_level):
            trio.run(partial(serve_node, config, parent_pipe=parent_pipe))
    except* (StartError, KeyFileError) as errors:
        refusal = first_message(errors)
    if refusal:
        end(refusal, EXIT_REFUSED)


def _print_config(gathered: dict[str, list[Origin]], config: Config) -> None:
    """Show what `up` would use, as lines of a `dayfly.toml` with the origin as a comment."""
    # Their hosts depend on --lan and may be left out, so these two are shown as they came out.
    resolved = {"http": format_address(*config.http), "peer": format_address(*config.peer)}
    for setting in SETTINGS:
        origins = gathered[setting.key]
        texts = [_shown(setting, resolved.get(setting.key, o.text)) for o in origins]
        value = f"[{', '.join(texts)}]" if setting.many else texts[-1]
        source = origins[-1].source if origins else "default"
        hidden = "# " if setting.secret and value == HIDDEN else ""  # or it would be read back as the secret
        click.echo(f"{hidden + setting.key + ' = ' + value:48} # {source}")


def _shown(setting: Setting, text: str) -> str:
    """Return a setting's text as TOML that others may see: where a secret is read from, not the secret."""
    return HIDDEN if setting.secret and text and not text.startswith("file:") else _toml(text)


def _toml(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@cli.command(context_settings=_CONTEXT)
@_setting_options
@node_options
@click.option("--no-multicast", is_flag=True, help="As for `up`.")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Read this file, not dayfly.toml.")
@click.option("--quiet", is_flag=True, help="Show nothing; only the exit code tells.")
@click.option("--json", "as_json", is_flag=True, help="NDJSON also on a terminal.")
def doctor(
    no_multicast: bool, file: Path | None, node: NodeAddress, quiet: bool, as_json: bool, **options: Any
) -> None:
    """Look at the node that runs here and at the machine, and say what is wrong and how to mend it.

    Takes the settings of `up`, from the same places: they say where the node is (--http also takes a URL)
    and what it would find here. Ends with 0 if nothing is bad, 1 if something is, 3 if no node answers.
    """
    if no_multicast:
        options["multicast"] = ("off",)
    last: str = options["http"][-1] if options["http"] else ""
    url = last if "://" in last else ""
    try:
        if url:
            options["http"] = (urlsplit(url).netloc,)
        config = load(gather(_flags(options), os.environ, file))
    except (ConfigError, ValueError) as error:  # of a URL too: a bracket that does not close
        end(str(error), EXIT_USAGE)
    from node.doctor import check_up, url_of

    if node.node == NODE_DEFAULT:
        node = replace(node, node=url or url_of(config))
    node = replace(node, node=node.node.partition(",")[0])
    sys.exit(check_up(config, node, quiet=quiet, as_json=as_json))


commands.register(cli)
watch.register(cli)
keygen.register(cli)
demo.register(cli)

if __name__ == "__main__":
    main()
