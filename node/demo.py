"""`dayfly demo`: a few nodes on this machine, to look at, to kill and to bring back.

One process supervises N ordinary `dayfly up` processes on loopback and shows what they say of themselves.
Ports are found free, upward, and kept for the whole demo, so that a node which was killed comes back as
itself. This file reads the command line and plans; `demo_run` runs the plan, `demo_nodes` holds the
processes (each a `demo_node`), `demo_story` turns what is seen into words, `demo_display` shows them.
"""

import os
import shlex
import socket
import sys
import tempfile
from pathlib import Path

import click

from node.commands import EXIT_REFUSED, EXIT_USAGE, end
from node.config import ConfigError, gather, load
from node.demo_node import LOOPBACK, ROOT, DemoNode
from node.demo_story import Plan
from node.key_files import KeyFileError
from node.keys import read_cluster_keys

_NAMES = (
    "amber birch cedar dune ember fjord grove heath iris juniper kelp larch maple nettle opal pine "
    "quartz reed sage thistle umber vale willow xenon yarrow zinnia aspen basalt clover drift elm fern"
)
NAMES = tuple(_NAMES.split())
"""One per node; their number is the most nodes a demo has. 32 processes of 45 MB fit a laptop."""

PEER_PORT_OFFSET = 10_000
"""Peer ports are looked for this far above the first HTTP port (below it when there is no room): outside
the range from which systems draw ports for outgoing connections, so that a dead node's port stays free."""

PEER_PORTS_SPARE = 500
"""Room the search for peer ports wants above it; the most nodes and many taken ports fit."""

PORT_MAX = 65_535


@click.command()
@click.option("-n", "count", type=click.IntRange(1, len(NAMES)), default=3, show_default=True, help="Nodes.")
@click.option(
    "--http-port",
    type=click.IntRange(1, PORT_MAX),
    default=8080,
    show_default=True,
    help="First port for clients; taken ones are skipped.",
)
@click.option("--ttl", metavar="DURATION", help="How long a record lives.  [DAYFLY_TTL; default: 24h]")
@click.option("--cluster", metavar="NAME", help="Name of the cluster.  [default: demo-<first port>]")
@click.option("--sync-interval", metavar="DURATION", help="Longest time until loss is repaired.")
@click.option("--multicast", metavar="GROUP:PORT", help="Group for beacons; off: none.")
@click.option("--data-dir", metavar="PATH", help="Directory that keeps records; each node has its own there.")
@click.option("--key-file", metavar="FILE", help="File with a cluster key: links are encrypted.")
@click.option("--json", "as_json", is_flag=True, help="Events as NDJSON, also on a terminal.")
@click.option("--plain", is_flag=True, help="Events as lines, also on a terminal.")
def demo(
    count: int,
    http_port: int,
    ttl: str | None,
    cluster: str | None,
    sync_interval: str | None,
    multicast: str | None,
    data_dir: str | None,
    key_file: str | None,
    as_json: bool,
    plain: bool,
) -> None:
    """Run a few nodes on this machine, on loopback only, and watch them.

    On a terminal a live table; keys kill nodes and restart them. Elsewhere a line per event, with the
    commands to kill a node and to bring it back by hand. Ctrl-C stops all nodes.
    """
    try:
        http_ports, skipped = free_ports(http_port, count)
        up = http_ports[0] + PEER_PORT_OFFSET + PEER_PORTS_SPARE <= PORT_MAX
        peer_ports, _ = free_ports(http_ports[0] + (PEER_PORT_OFFSET if up else -PEER_PORT_OFFSET), count)
    except ValueError as error:
        end(f"--http-port {http_port}: {error}", EXIT_USAGE)
    given = {
        "ttl": ttl,
        "sync_interval": sync_interval,
        "multicast": multicast,
        "cluster": f"demo-{http_ports[0]}" if cluster is None else cluster,
        "data_dir": data_dir,
        "key_file": key_file,
    }
    try:
        gathered = gather({key: [text] for key, text in given.items() if text is not None}, os.environ, None)
        config = load(gathered)
        keys = read_cluster_keys(config)
    except (ConfigError, KeyFileError) as error:
        end(str(error), EXIT_USAGE)
    for name, given_here in (("read-token", config.read_token), ("http-cert", config.http_cert)):
        if given_here is not None:
            end(f"a demo's nodes are read in clear and by all; unset {name}", EXIT_USAGE)
    shared = {key: text for key in given if key != "data_dir" and (text := gathered[key][-1].text)}
    logs = Path(tempfile.mkdtemp(prefix="dayfly-demo-"))
    nodes = [_node(i, http_ports, peer_ports, shared, logs, config.data_dir) for i in range(count)]
    for node in nodes:
        (logs / f"{node.name}.sh").write_text(f"exec {node.command}\n")
    links = f"encrypted, key {keys[0].fingerprint}" if keys else "open"
    plan = Plan(count, shared["ttl"], shared["cluster"], _command(short=True), logs, links, tuple(skipped))
    from node.demo_run import run

    failed = run(nodes, plan, plain=plain, as_json=as_json)
    if failed is not None:
        end(f"{failed.name} did not start; the end of {failed.log}:\n{failed.log_tail()}", EXIT_REFUSED)


def register(group: click.Group) -> None:
    """Add the command to `group`."""
    group.add_command(demo)


# --- what to run ----------------------------------------------------------------------------------------


def free_ports(first: int, count: int) -> tuple[list[int], list[int]]:
    """Find TCP ports on loopback that nobody listens on.

    Returns:
        The `count` lowest free ports from `first` upward, and those below the last that are taken.

    Raises:
        ValueError: there are not so many (whoever chose `first` is to choose a lower one).
    """
    free: list[int] = []
    taken: list[int] = []
    for port in range(first, PORT_MAX + 1):
        (free if _is_free(port) else taken).append(port)
        if len(free) == count:
            return free, taken
    raise ValueError(f"there are only {len(free)} free ports from {first} upward, not {count}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:  # taken, or not ours to take (below 1024)
            return False
    return True


def _node(
    i: int,
    http_ports: list[int],
    peer_ports: list[int],
    shared: dict[str, str],
    logs: Path,
    data_dir: Path | None,
) -> DemoNode:
    """Describe one node. It joins the first (the first joins the second), beside hearing beacons."""
    arguments = ["--name", NAMES[i], "--http", f"{LOOPBACK}:{http_ports[i]}"]
    arguments += ["--peer", f"{LOOPBACK}:{peer_ports[i]}", "--no-lan"]
    if len(peer_ports) > 1:
        arguments += ["--join", f"{LOOPBACK}:{peer_ports[0 if i else 1]}"]
    for key, text in shared.items():
        arguments += [f"--{key.replace('_', '-')}", text]
    if data_dir is not None:
        arguments += ["--data-dir", str(data_dir.absolute() / NAMES[i])]
    return DemoNode(
        name=NAMES[i],
        cluster=shared["cluster"],
        http_port=http_ports[i],
        peer_port=peer_ports[i],
        arguments=tuple(arguments),
        command=shlex.join([*_command(short=False), "up", *arguments]),
        log=logs / f"{NAMES[i]}.log",
    )


def _command(*, short: bool) -> tuple[str, ...]:
    """Return the words that start `dayfly` here. `short`: as seen from the current folder, if that helps."""
    script = ROOT / "scripts" / "dayfly"
    if script.is_file():
        return ("./scripts/dayfly",) if short and Path.cwd() == ROOT else (str(script),)
    return ("dayfly",) if Path(sys.argv[0]).name == "dayfly" else (sys.executable, "-m", "node")
