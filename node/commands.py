"""The commands that talk to a node over HTTP: `post`, `list`, `peers`."""

import json
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlencode

import click
import msgspec

from node.client import Client, NodeRefused, NodeUnreachable, Receipt
from node.connect import BadOption, NodeAddress, node_options
from node.request import JSON, NDJSON, OCTETS, Answer

COLUMN_GAP, LAST_COLUMN_MIN, OTHER_COLUMNS_MAX = 3, 12, 40
"""Cells of a table: between columns, of the last one at least, of any other at most."""

EXIT_REFUSED, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_PARTIAL, EXIT_INTERRUPTED = 1, 2, 3, 4, 130

_json = click.option("--json", "as_json", is_flag=True, help="NDJSON also on a terminal.")


def sendable(_ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Check a text that a node is to be sent; click's callback. An id is not empty.

    Bytes of the command line that are no UTF-8 come as lone surrogates.
    """
    if value == "" and param.name == "id":
        raise click.BadParameter("it is empty")
    if any("\ud800" <= c <= "\udfff" for c in value or ""):
        raise click.BadParameter("it is not UTF-8")
    return value


def register(group: click.Group) -> None:
    """Add the commands to `group`."""
    for command in (post, list_records, peers):
        group.add_command(command)


@click.command()
@click.argument("raw", required=False)
@click.option(
    "--id",
    callback=sendable,
    metavar="ID",
    help="Id to post under; the node makes one if there is none.",
)
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Post a file.")
@click.option("--sign", "key_file", type=click.Path(path_type=Path), help="Sign with the key in this file.")
@click.option("--wait", metavar="all|N", help="Until all nodes, or N of them, hold it; else end with 4.")
@click.option("--timeout", metavar="TIME", help="How long to wait, up to 60s.  [default: 2s]")
@node_options
@_json
def post(
    raw: str | None,
    id: str | None,
    file: Path | None,
    key_file: Path | None,
    wait: str | None,
    timeout: str | None,
    node: NodeAddress,
    as_json: bool,
) -> None:
    """Post RAW, a file, or standard input as one record.

    \b
    dayfly post hello
    dayfly post --id alerts/door "the door is open"
    date | dayfly post
    dayfly post --wait all hello
    """
    if raw is not None and file is not None:
        end("give RAW or --file, not both", EXIT_USAGE)
    if timeout is not None and wait is None:
        end("--timeout says how long --wait may take; give both", EXIT_USAGE)
    if raw is not None:
        body = raw.encode("utf-8", "surrogateescape")
    elif file is not None:
        body = file.read_bytes()
    else:
        body = sys.stdin.buffer.read()
    path = "/v1/records" if id is None else f"/v1/records/{quote(id, safe='')}"
    method, kind = "POST" if id is None else "PUT", OCTETS
    if key_file is not None:
        method, path, kind, body = "POST", "/v1/records", JSON, _signed(key_file, id, body)
    query = urlencode({k: v for k, v in (("wait", wait), ("timeout", timeout)) if v is not None})
    with _ask(node, method, f"{path}?{query}".rstrip("?"), body, content_type=kind) as answer:
        shown, receipt = answer.decode(dict[str, Any]), answer.decode(Receipt)
    reach = receipt.reach
    if _as_json(as_json):
        click.echo(json.dumps(shown))
    else:
        again = " (it was there already)" if receipt.result == "exists" else ""
        until = datetime.fromtimestamp(receipt.expires_at / 1000).strftime("%a %H:%M:%S")
        held = "" if reach is None else f", held by {reach.ok}/{reach.of} after {reach.ms} ms"
        click.echo(f"{plain(receipt.id)}  {receipt.size} bytes, until {until}{again}{held}")
    if reach is not None and answer.status == 202:
        if reach.ok == reach.of:
            end(f"all {reach.of} nodes hold it; {wait} were waited for", EXIT_PARTIAL)
        end(f"only {reach.ok} of {reach.of} nodes hold it so far; it spreads further", EXIT_PARTIAL)


@click.command("list")
@click.option(
    "--since",
    callback=sendable,
    metavar="WHEN",
    help="Only from a cursor, a time back (10m) or a Unix time on.",
)
@click.option("--prefix", callback=sendable, metavar="TEXT", help="Only ids that begin with this.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many.")
@node_options
@_json
def list_records(
    since: str | None, prefix: str | None, limit: int | None, node: NodeAddress, as_json: bool
) -> None:
    """List living records, in the order they arrived at the node."""
    given = {"since": since, "prefix": prefix, "limit": limit}
    query = urlencode({k: v for k, v in given.items() if v is not None})
    with _ask(node, "GET", f"/v1/records?{query}", accept=NDJSON) as answer:
        if _as_json(as_json):
            for line, _ in answer.records():
                # What is no ASCII could be a control character to a terminal; a pipe gets the node's bytes.
                click.echo(json.dumps(json.loads(line)) if sys.stdout.isatty() else line)
            return
        rows = [record for _, record in answer.records()]
    _table(
        ["id", "age", "left", "size", "raw"],
        [
            [
                plain(r.id),
                _span(_now_ms() - r.time_stamp),
                _span(r.expires_at - _now_ms()),
                str(r.size),
                plain(r.raw[:200]),
            ]
            for r in rows
        ],
        "no records",
    )


class _Peer(msgspec.Struct):
    """What the table shows of a peer."""

    name: str
    address: str
    http: str
    state: str
    key: str
    in_sync: bool | None
    records: int | None
    rtt_ms: float | None
    offset_ms: int | None
    error: str


class _Peers(msgspec.Struct):
    peers: list[_Peer]
    links: str


@click.command()
@node_options
@_json
def peers(node: NodeAddress, as_json: bool) -> None:
    """Show whom a node is linked with, and whom it cannot reach and why."""
    with _ask(node, "GET", "/v1/peers") as answer:
        shown, found = answer.decode(dict[str, Any]), answer.decode(_Peers)
    if _as_json(as_json):
        for peer in shown["peers"]:
            click.echo(json.dumps(peer))
        return
    _table(
        ["name", "address", "http", "state", "key", "in sync", "records", "rtt", "clock", "trouble"],
        [
            [
                plain(p.name),
                plain(p.address),
                plain(p.http),
                plain(p.state),
                plain(p.key) or "-",
                {True: "yes", False: "no", None: "-"}[p.in_sync],
                "-" if p.records is None else str(p.records),
                "-" if p.rtt_ms is None else f"{p.rtt_ms:.1f} ms",
                "-" if p.offset_ms is None else f"{p.offset_ms:+d} ms",
                plain(p.error),
            ]
            for p in found.peers
        ],
        "no peers",
    )
    click.echo(f"links: {plain(found.links)}")


def _signed(key_file: Path, id: str | None, body: bytes) -> bytes:
    """Sign a record with the key in a file; return it as JSON. The id is signed too, so it is made here."""
    from node.ids import new_id
    from node.key_files import KeyFileError, read_signer

    try:
        signer = read_signer(key_file)
        id = signer.prefix + new_id(_now_ms()) if id is None else id
        raw = body.decode()
        record = {"id": id, "raw": raw, "signature": signer.sign(id, raw)}
    except KeyFileError as error:
        end(str(error), EXIT_USAGE)
    except UnicodeError:
        end("only a record of UTF-8 text can be signed; encode binary data, for example base64", EXIT_USAGE)
    if not id.startswith(signer.prefix):
        end(f"ids that this key signs begin with {signer.prefix!r}", EXIT_USAGE)
    return json.dumps(record).encode()


# --- talking to a node ----------------------------------------------------------------------------------


@contextmanager
def _ask(
    node: NodeAddress,
    method: str,
    path: str,
    body: bytes | None = None,
    accept: str = JSON,
    content_type: str = OCTETS,
) -> Generator[Answer, None, None]:
    """Send one request and give its successful answer; any other outcome ends the process with a reason."""
    with ending(), client_of(node).ask(method, path, body, accept, content_type) as answer:
        yield answer


def client_of(node: NodeAddress, timeout_s: float | None = None) -> Client:
    """Make the client that a command was told of: of one node, or of several separated by commas."""
    nodes = [each.strip() for each in node.node.split(",") if each.strip()] or [node.node]
    return Client(*nodes, user=node.user, token=node.token, ca=node.ca, timeout_s=timeout_s)


@contextmanager
def ending() -> Generator[None, None, None]:
    """End the process with a reason and its code when a node cannot be asked or does not do it."""
    try:
        yield
    except BadOption as error:
        end(str(error), EXIT_USAGE)
    except NodeRefused as error:
        end(str(error), EXIT_REFUSED)
    except NodeUnreachable as error:
        end(str(error), EXIT_UNREACHABLE)


def end(message: str, code: int) -> NoReturn:
    """Say why on standard error and end the process with `code`."""
    shown = "\n".join(map(plain, message.split("\n")))  # it may quote what another program said
    try:
        click.echo(f"dayfly: {shown}", err=True)
    except OSError:  # a full disk, a reader that is gone; the exit code still tells
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # or Python complains at exit
    sys.exit(code)


# --- showing --------------------------------------------------------------------------------------------


def _as_json(asked: bool) -> bool:
    return asked or not sys.stdout.isatty()


def _table(header: list[str], rows: list[list[str]], empty: str) -> None:
    """Show rows on a terminal; the last column takes what room the others leave."""
    if not rows:
        click.echo(empty)
        return
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    rows = [[plain(cell) for cell in row] for row in rows]
    others = [max(cell_len(r[i]) for r in [header, *rows]) for i in range(len(header) - 1)]
    others = [min(width, OTHER_COLUMNS_MAX) for width in others]
    last = max(console.width - sum(others) - COLUMN_GAP * len(header), LAST_COLUMN_MIN)
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for name, width in zip(header, [*others, last], strict=True):
        table.add_column(name, width=width, overflow="ellipsis", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    # A terminal too narrow for all columns wraps the lines; rich would drop columns without a word.
    console.print(table, width=max(console.width, sum(others) + last + COLUMN_GAP * len(header)), crop=False)


def plain(text: str) -> str:
    """Make a text from elsewhere safe to show: one line, no control or direction-changing characters."""
    return "".join(c if c.isprintable() else "\N{MIDDLE DOT}" for c in text)


def _span(ms: int) -> str:
    """Word a span of time in its largest fitting unit."""
    seconds = max(ms, 0) // 1000
    for unit, length in (("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _now_ms() -> int:
    return int(datetime.now().timestamp() * 1000)
