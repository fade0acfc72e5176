"""Look at the node that runs here and at the machine: the facts that `node/findings.py` judges.

Everything is looked at at once and for `PATIENCE_S` at most; nothing is changed. Peers see a connection
that says nothing and ends.
"""

import json
import secrets
import socket
import sys
from dataclasses import asdict
from typing import Any

import click
import trio

from cluster.address import format_address, parse_address
from cluster.beacon import Beacon, BeaconCodec
from cluster.discovery import LOOPBACK, Discovery
from cluster.transport import LinkError, dial, resolve
from node.client import Client, NodeRefused, NodeUnreachable
from node.commands import client_of, ending, plain
from node.config import Config
from node.connect import NodeAddress
from node.findings import Answers, Dial, Facts, Finding, Join, exit_code, findings, linked
from node.key_files import KeyFileError, read_signature
from node.keys import read_cluster_keys
from node.logs import logging_to_stderr
from node.version import VERSION

HTTP_PATIENCE_S = 5.0
"""For the node's own answers: its loop may be late."""

PATIENCE_S = 2.0
"""For each thing that may not answer: a TCP connection, a name, a beacon."""

DIALS_MAX = 64
"""Peers whose port is tried; in larger clusters the others are left out."""

WILDCARDS = {"": LOOPBACK, "0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 - names them, binds nothing


def url_of(config: Config) -> str:
    """Return where a node with these settings answers on this machine."""
    host, port = config.http
    scheme = "http" if config.http_cert is None else "https"
    return f"{scheme}://{format_address(WILDCARDS.get(host, host), port)}"


def check_up(config: Config, address: NodeAddress, *, quiet: bool, as_json: bool) -> int:
    """Look, show what was found unless `quiet`, and return the exit code."""
    # What the parts log while they are tried is found anyway.
    with ending(), logging_to_stderr("text", "error"):
        facts = trio.run(examine, config, client_of(address, HTTP_PATIENCE_S))
    found = list(findings(facts))
    if not quiet:
        for finding in found:
            _show(finding, as_json or not sys.stdout.isatty())
    return exit_code(facts, found)


def _show(finding: Finding, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(finding)))
        return
    click.echo(plain(f"{finding.level:8} {finding.check:10} {finding.found}"))
    if finding.fix:
        click.echo(plain(f"{'':8} {'':10} fix: {finding.fix}"))


async def examine(config: Config, client: Client) -> Facts:
    """Gather all facts.

    Args:
        config: as a node here would use it.
        client: of that node alone.

    Raises:
        BadOption: the node's address or a credential cannot be used.
    """
    answers = await trio.to_thread.run_sync(_ask, client)
    facts = Facts(
        url=client.addresses[0].node,
        version=VERSION,
        cluster=config.cluster,
        ttl_ms=config.ttl_ms,
        open_meant=config.open,
        key_trouble=_key_trouble(config),
        group="" if config.multicast is None else format_address(*config.multicast),
        answers=answers,
        free=[]
        if answers.node or answers.refused
        else [_free(*port) for port in (config.http, config.peer) if port[1]],
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_probe, config, facts)
        for seed in config.join:
            nursery.start_soon(_look_up, seed, facts.joins)
        if answers.node is not None:
            for peer in linked(answers)[:DIALS_MAX]:
                nursery.start_soon(_try, peer["address"], facts.dialled)
            for address in _own_addresses(answers.node):
                nursery.start_soon(_try, address, facts.own)
    return facts


def _ask(client: Client) -> Answers:
    """Read what the node shows; no answer is a fact too."""
    try:
        node = client.show("/v1/node")
        if "limits" in node:
            peers: list[dict[str, Any]] = client.show("/v1/peers")["peers"]
            return Answers("", node, peers, _text(client, "/healthz"), _text(client, "/readyz"))
        why = "other JSON"
    except NodeRefused as refused:
        if refused.code:
            return Answers(str(refused), refused=refused.code)
        why = f"status {refused.status}"
    except NodeUnreachable as error:
        return Answers(str(error).partition("; start")[0])
    return Answers(f"what answers at {client.addresses[0].node} is no dayfly node ({why})")


def _text(client: Client, path: str) -> tuple[int, str]:
    try:
        with client.ask("GET", path) as answer:
            return answer.status, answer.text(1000).strip()
    except NodeRefused as refused:
        return refused.status, str(refused)


def _key_trouble(config: Config) -> str:
    try:
        read_cluster_keys(config)
        read_signature(config.validator, config.validator_key_file)
    except KeyFileError as error:
        return str(error)
    return ""


def _own_addresses(node: dict[str, Any]) -> list[str]:
    """Where others are told that this node is."""
    host, port = parse_address(node["peer"])
    hosts = node["announced_on"] or [LOOPBACK] if host in WILDCARDS else [host]
    return [format_address(each, port) for each in hosts]


def _free(host: str, port: int) -> Dial:
    """Try to listen, as a node would."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return Dial(format_address(host, port), error.strerror or str(error))
    return Dial(format_address(host, port))


async def _probe(config: Config, facts: Facts) -> None:
    """Send a beacon of nobody's cluster on every interface that a node would use, and see it come back."""
    if config.multicast is None:
        return
    codec = BeaconCodec([secrets.token_bytes(32)])  # a key that nobody has: nodes pass it over
    discovery = Discovery(*config.multicast, lan=config.lan, codec=codec)
    ours, back = secrets.token_bytes(16), trio.Event()

    def heard(beacon: Beacon, source: str) -> None:
        if beacon.node_id == ours and source not in facts.heard_on:
            facts.heard_on.append(source)
            if set(discovery.interfaces) <= set(facts.heard_on):
                back.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(discovery.run, heard)
        facts.sent_on.extend(discovery.interfaces)
        if discovery.interfaces:
            discovery.announce(Beacon(ours, 1, 0))
            with trio.move_on_after(PATIENCE_S):
                await back.wait()
        nursery.cancel_scope.cancel()


async def _look_up(seed: str, joins: list[Join]) -> None:
    """Resolve a `--join`, and try every address behind it."""
    join = Join(seed)
    try:
        with trio.fail_after(PATIENCE_S):
            addresses = await resolve(seed)
    except LinkError as error:
        joins.append(Join(seed, error=str(error)))
        return
    except trio.TooSlowError:
        joins.append(Join(seed, error=f"no answer to the name within {PATIENCE_S:.0f} s"))
        return
    async with trio.open_nursery() as nursery:
        for address in addresses:
            nursery.start_soon(_try, address, join.dials)
    joins.append(join)


async def _try(address: str, dials: list[Dial]) -> None:
    """Connect, and leave at once."""
    try:
        with trio.fail_after(PATIENCE_S):
            stream = await dial(address)
        await trio.aclose_forcefully(stream)
        dials.append(Dial(address))
    except LinkError as error:
        dials.append(Dial(address, str(error)))
    except trio.TooSlowError:
        dials.append(Dial(address, f"no answer within {PATIENCE_S:.0f} s"))
