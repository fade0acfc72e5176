"""What is good, what is not, and what to do about it: facts in, findings out. Pure.

`node/doctor.py` gathers the facts.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from cluster.address import is_loopback

Level = Literal["good", "warning", "bad"]

CLOCK_WARN_MS = 5_000
"""Clocks that are kept by NTP agree within milliseconds; links are refused at 60 s."""

FULL_WARN = 0.9
"""Part of a store from which on it is worth a word."""

LAG_WARN_MS, LAG_BAD_MS = 250.0, 2_000.0
"""Event loop late: people notice the first; peers begin to suspect a node after 4 s of silence."""

CATCH_UP_MS = 60_000
"""How long a node may take to become ready: far longer than a million records take on a slow link."""

FIXES = {
    "cluster": "start both with the same --cluster, or remove the --join that leads from one to the other",
    "rules": "start all nodes with the same --ttl and the same checks of records",
    "clock": "set the clock of the machine that is wrong, and let NTP keep it",
    "certificate": "set the clock of the machine that is wrong, and let NTP keep it",
    "version": "install the same version of dayfly on both",
    "key": "give both nodes the same --key-file",
    "open": "give both nodes the same --key-file",
    "encrypted": "give both nodes the same --key-file",
}
"""By the code of a refusal (cluster/compatibility.py, cluster/tls.py, cluster/handshake.py)."""

REFUSAL_FIXES = {
    "auth-required": "give credentials that may read, with --user or --token",
    "forbidden": "give credentials that may read, with --user or --token",
    "bad-host": "ask by an address or localhost, or start the node with --http-host and this name",
}
"""By the code with which the node refuses to show itself."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: what, in one or two words. level: how it is. found: what was seen.
        fix: what to do, in one sentence; empty if all is well.
    """

    check: str
    level: Level
    found: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Dial:
    """What came of a TCP connection. `error`: why it did not come up; empty if it did."""

    address: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Join:
    """Where a `--join` leads. `error`: why it leads nowhere."""

    seed: str
    dials: list[Dial] = field(default_factory=list[Dial])
    error: str = ""


@dataclass(frozen=True, slots=True)
class Answers:
    """What the node said.

    Attributes:
        trouble: why it said nothing; empty if it did. refused: the code with which it would not tell us.
        node, peers: `/v1/node` and the list in `/v1/peers`.
        health, ready: status and text of `/healthz` and `/readyz`.
    """

    trouble: str
    node: dict[str, Any] | None = None
    peers: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    health: tuple[int, str] = (200, "")
    ready: tuple[int, str] = (200, "")
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen.

    Attributes:
        url: where a node should answer. answers: what it said.
        version, cluster, ttl_ms, open_meant: what is installed and set here.
        key_trouble: why the key file that is set cannot be used.
        group: the multicast group; empty if it is off. sent_on: interfaces a beacon went out on.
        heard_on: those of them it came back on.
        joins: what is set here. own: this node's own peer address. dialled: addresses of peers.
        free: ports that a node would listen on, and why not; only without a node.
    """

    url: str
    answers: Answers
    version: str
    cluster: str
    ttl_ms: int
    open_meant: bool
    key_trouble: str = ""
    group: str = ""
    sent_on: list[str] = field(default_factory=list[str])
    heard_on: list[str] = field(default_factory=list[str])
    joins: list[Join] = field(default_factory=list[Join])
    own: list[Dial] = field(default_factory=list[Dial])
    dialled: list[Dial] = field(default_factory=list[Dial])
    free: list[Dial] = field(default_factory=list[Dial])


def findings(facts: Facts) -> Iterator[Finding]:
    """Say what to make of the facts, one finding for each thing that was looked at."""
    if facts.answers.refused:
        fix = REFUSAL_FIXES.get(facts.answers.refused, "ask again in a moment, or look into the node's log")
        yield Finding("node", "bad", f"{facts.url}: {facts.answers.trouble}", fix)
    elif facts.answers.node is None:
        fix = "start one with: dayfly up, or say with --http where it is"
        yield Finding("node", "bad", facts.answers.trouble, fix)
        yield from _free_ports(facts)
    else:
        yield from _self(facts, facts.answers.node)
        yield from _own_ports(facts)
    if facts.key_trouble:
        yield Finding("key", "bad", facts.key_trouble, "make a key with: dayfly keygen -o FILE")
    yield from _multicast(facts)
    yield from _joins(facts)
    if facts.answers.node is not None:
        yield from _peers(facts)
        yield from _clocks(facts)
        yield _links(facts, facts.answers.node)
        yield _store(facts.answers.node)
        yield _journal(facts.answers.node)
        yield _lag(facts.answers.node)


def exit_code(facts: Facts, found: list[Finding]) -> int:
    """Return 3 if no node answers, 1 if anything is bad, else 0."""
    if facts.answers.node is None and not facts.answers.refused:
        return 3
    return int(any(finding.level == "bad" for finding in found))


def _self(facts: Facts, node: dict[str, Any]) -> Iterator[Finding]:
    yield Finding("node", "good", f"{node['name']} of cluster {node['cluster']!r} answers at {facts.url}")
    if node["version"] != facts.version:
        found = f"it runs version {node['version']}, installed is {facts.version}"
        yield Finding("version", "warning", found, "restart the node")
    set_here = {"cluster": (facts.cluster, node["cluster"])}
    set_here["ttl"] = (f"{facts.ttl_ms} ms", f"{node['limits']['ttl_ms']} ms")
    for name, (here, there) in set_here.items():
        if here != there:
            found = f"{name} is {there} there, and set to {here} here"
            yield Finding("settings", "warning", found, f"give doctor the node's settings, such as --{name}")
    status, text = facts.answers.health
    if status != 200:
        yield Finding("health", "bad", f"/healthz says {status}: {text}", "look into the node's log")
    status, text = facts.answers.ready
    if status == 200:
        yield Finding("ready", "good", "it has caught up")
        return
    late = node["wall_ms"] - node["started_at"] > CATCH_UP_MS
    fix = "look at the peers below: it can reach none it could catch up with" if late else "wait a moment"
    yield Finding("ready", "bad" if late else "warning", f"/readyz says {status}: {text}", fix)


def _free_ports(facts: Facts) -> Iterator[Finding]:
    for port in facts.free:
        if port.error:
            fix = "end what listens there, or choose another port"
            yield Finding("port", "bad", f"{port.address} cannot be listened on: {port.error}", fix)
        else:
            yield Finding("port", "good", f"{port.address} is free")


def _own_ports(facts: Facts) -> Iterator[Finding]:
    for dial in facts.own:
        if dial.error:
            fix = "let the firewall pass this port, or choose another with --peer"
            yield Finding("peer port", "bad", f"{dial.address} does not answer: {dial.error}", fix)
        else:
            yield Finding("peer port", "good", f"{dial.address} answers")


def _multicast(facts: Facts) -> Iterator[Finding]:
    if not facts.group:
        yield Finding("multicast", "good", "off: peers are found by --join")
        return
    silent = [interface for interface in facts.sent_on if interface not in facts.heard_on]
    fix = f"let the firewall pass UDP to {facts.group}, or name a node with --join"
    if not facts.sent_on:
        yield Finding("multicast", "warning", f"no interface takes part in {facts.group}", fix)
    elif silent:
        found = f"a beacon to {facts.group} did not come back on {', '.join(silent)}"
        yield Finding("multicast", "warning", found, fix)
    else:
        yield Finding("multicast", "good", f"a beacon came back on {', '.join(facts.heard_on)}")
    if facts.answers.node is not None:
        on = facts.answers.node["announced_on"]
        if on:
            yield Finding("announced", "good", f"{facts.answers.node['peer']} on {', '.join(on)}")
        else:
            yield Finding("announced", "warning", "the node sends no beacons", fix)


def _joins(facts: Facts) -> Iterator[Finding]:
    alone: Level = "warning" if linked(facts.answers) else "bad"
    for join in facts.joins:
        answered = [dial.address for dial in join.dials if not dial.error]
        if join.error:
            fix = "correct the name, or the machine's DNS"
            yield Finding("join", alone, f"{join.seed} leads nowhere: {join.error}", fix)
        elif not answered:
            tried = ", ".join(f"{dial.address}: {dial.error}" for dial in join.dials)
            fix = "start a node there; its peer port is due, not its HTTP port"
            yield Finding("join", alone, f"{join.seed} does not answer ({tried})", fix)
        else:
            yield Finding("join", "good", f"{join.seed} answers at {', '.join(answered)}")


def _peers(facts: Facts) -> Iterator[Finding]:
    peers = linked(facts.answers)
    closed = {dial.address: dial.error for dial in facts.dialled if dial.error}
    shown = ", ".join(peer["name"] for peer in peers[:8]) + (", …" if len(peers) > 8 else "")
    yield Finding("peers", "good", f"{len(peers)} linked: {shown}" if peers else "no other node is linked")
    for peer in peers:
        if peer["address"] in closed:
            found = f"{peer['name']} is linked, but {peer['address']} does not answer from here"
            fix = "let the firewall there pass this port, or only it can make the link"
            yield Finding("peer", "warning", f"{found}: {closed[peer['address']]}", fix)
    for peer in facts.answers.peers:
        if peer["state"] != "lost":
            continue
        code = peer.get("code", "")
        found = f"{peer['address']} is not linked: {peer['error']}"
        if code:
            yield Finding(code, "bad", found, FIXES.get(code, "look into the logs of both nodes"))
        else:
            fix = "start the node there, or let the firewall pass this port"
            yield Finding("peer", "warning" if peers else "bad", found, fix)


def _clocks(facts: Facts) -> Iterator[Finding]:
    offsets = [(p["name"], p["offset_ms"]) for p in linked(facts.answers) if p["offset_ms"] is not None]
    far = [(name, ms) for name, ms in offsets if abs(ms) > CLOCK_WARN_MS]
    for name, ms in far:
        side = "ahead of" if ms > 0 else "behind"
        found = f"the clock of {name} is {abs(ms) / 1000:.1f} s {side} ours; links end at 60 s"
        yield Finding("clock", "warning", found, FIXES["clock"])
    if offsets and not far:
        most = max(abs(ms) for _, ms in offsets)
        yield Finding("clock", "good", f"all linked clocks are within {most} ms of ours")


def _links(facts: Facts, node: dict[str, Any]) -> Finding:
    if node["links"] != "open":
        return Finding("links", "good", node["links"])
    reached = [on for on in [*node["announced_on"], node["peer"]] if not is_loopback(on)]
    if not reached or facts.open_meant:
        return Finding("links", "good", "open, and reached from this machine only" if not reached else "open")
    fix = "make a key with dayfly keygen and start every node with --key-file; or say --open if it is meant"
    return Finding("links", "warning", "open: whoever reaches the peer port can read and post", fix)


def _store(node: dict[str, Any]) -> Finding:
    limits = node["limits"]
    records, records_max = node["records"], limits["records_max"]
    size, size_max = node["bytes"], limits["bytes_max"]
    room = min(limits["raw_bytes_max"], size_max // 100)  # for one more of the largest, or of a small store
    found = f"{records} of {records_max} records, {size / 2**20:.1f} of {size_max / 2**20:.0f} MiB"
    fix = "start it with larger --records-max and --bytes-max, or wait until records expire"
    if records >= records_max or size + room > size_max:
        return Finding("store", "bad", f"full: {found}; posts are refused", fix)
    if max(records / records_max, size / size_max) >= FULL_WARN:
        return Finding("store", "warning", f"nearly full: {found}", fix)
    return Finding("store", "good", found)


def _journal(node: dict[str, Any]) -> Finding:
    journal = node["journal"]
    if journal is None:
        return Finding("journal", "good", "none: records are kept in memory only")
    if journal["trouble"]:
        fix = f"make room on the disk of {journal['path']}, or repair it"
        return Finding("journal", "bad", journal["trouble"], fix)
    if journal["set_aside"]:
        aside = journal["set_aside"]
        found = f"it was damaged at the start, and set aside as {aside}"
        fix = f"look at the disk, then remove that file and its log, {aside}-wal, as far as they are there"
        return Finding("journal", "warning", found, fix)
    return Finding("journal", "good", f"{journal['path']}, {journal['waiting']} records waiting")


def _lag(node: dict[str, Any]) -> Finding:
    recent_ms = node["loop_lag"]["recent_ms"]
    found = f"the event loop was late by {recent_ms:.0f} ms at most in the last 20 s"
    if recent_ms < LAG_WARN_MS:
        return Finding("loop lag", "good", found)
    fix = "give the node more CPU, or post less to it"
    return Finding("loop lag", "bad" if recent_ms >= LAG_BAD_MS else "warning", found, fix)


def linked(answers: Answers) -> list[dict[str, Any]]:
    """Return the peers that the node has a link with."""
    return [peer for peer in answers.peers if peer["state"] in ("up", "suspect")]
