"""`dayfly doctor`: healthy, alone, refused, full, or no node at all; and whatever is wrong has its fix."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cluster.key import ClusterKey
from node.findings import (
    CLOCK_WARN_MS,
    LAG_BAD_MS,
    LAG_WARN_MS,
    Answers,
    Dial,
    Facts,
    Finding,
    exit_code,
    findings,
)
from tests.api.nodes import lone_node
from tests.certificates import make_certificate
from tests.node.commands import Result, answering, dayfly, on_terminal
from tests.processes import ROOT, NodeProcess, cluster, free_port, wait_until

AHEAD = "import time\n_now = time.time_ns\ntime.time_ns = lambda: _now() + 300 * 10**9\n"
"""Run at the start of a Python process: its wall clock is five minutes ahead."""


def doctor(node: NodeProcess, *options: str) -> Result:
    """Look at a node, with the settings it was started with."""
    return dayfly("doctor", *node.arguments, *options)


def refused(node: NodeProcess) -> bool:
    """Whether a node has been told that it does not fit."""
    with contextlib.suppress(OSError):
        return any(peer["code"] for peer in node.get("/v1/peers")["peers"])
    return False


def level(result: Result) -> dict[str, set[str]]:
    """The checks by level."""
    found: dict[str, set[str]] = {}
    for line in result.lines:
        assert bool(line["fix"]) == (line["level"] != "good"), line
        found.setdefault(line["level"], set()).add(line["check"])
    return found


# --- real nodes -----------------------------------------------------------------------------------------


def test_two_nodes_that_are_well_are_found_well() -> None:
    """Every check is good and the end is 0; quiet says nothing at all, a terminal gets lines."""
    with cluster() as c:
        first, _ = c.start(2)
        result = doctor(first)
        assert (result.code, result.err) == (0, "")
        assert level(result) == {
            "good": {
                *("node", "ready", "peer port", "multicast", "announced", "peers", "clock", "links"),
                *("store", "journal", "loop lag"),
            }
        }
        quiet = doctor(first, "--quiet")
        assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
        shown = on_terminal("doctor", *first.arguments, "--http", first.url)
        assert "good     multicast  a beacon came back on 127.0.0.1" in shown


def test_whoever_does_not_fit_is_told_so_with_the_way_out(tmp_path: Path) -> None:
    """Another cluster's name, another key, a clock of the future; and a store that is full."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(ClusterKey(name.ljust(32).encode()).line)
        (tmp_path / name).chmod(0o600)
    (tmp_path / "sitecustomize.py").write_text(AHEAD)
    key, other_key = (("--key-file", str(tmp_path / name)) for name in ("one", "two"))
    with cluster() as c:
        node = c.add("--records-max", "3", *key, multicast=False).wait_ready()
        for i in range(3):
            node.post(f"raw {i}")
        join = ("--join", node.get("/v1/node")["peer"])
        late = NodeProcess(["--cluster", c.name, "--multicast", "off", *key, *join], free_port())
        late.arguments += ["--http", f"127.0.0.1:{late.port}"]
        late.prefix = ("env", f"PYTHONPATH={tmp_path}:{ROOT}")
        c.nodes.append(late.start())
        misfits = {
            "cluster": c.add("--cluster", "another", *join, *key, multicast=False),
            "key": c.add(*other_key, *join, multicast=False),
            "clock": late,
        }
        fixes = {"cluster": "--cluster", "key": "--key-file", "clock": "NTP"}
        for code, misfit in misfits.items():
            wait_until(partial(refused, misfit), f"it is told of its {code}")
            result = doctor(misfit)
            assert (result.code, level(result)["bad"] - {"join"}) == (1, {code})
            (line,) = [line for line in result.lines if line["check"] == code]
            assert fixes[code] in line["fix"]
        full = doctor(node)
        assert full.code == 1
        assert [x["found"] for x in full.lines if x["check"] == "store"] == [
            "full: 3 of 3 records, 0.0 of 512 MiB; posts are refused"
        ]


def test_a_join_that_nobody_answers_is_bad_for_a_node_that_is_alone() -> None:
    """The node says so itself, and so does a look from outside; a name that is none is told apart."""
    nowhere = f"127.0.0.1:{free_port()}"
    with lone_node("--join", nowhere) as node:
        wait_until(lambda: bool(node.get("/v1/peers")["peers"]), "the node has tried")
        result = doctor(node, "--join", "no.such.name.invalid:1")
    assert result.code == 1
    assert {"join", "peer"} <= level(result)["bad"]
    joins = [line["found"] for line in result.lines if line["check"] == "join"]
    assert any(found.startswith(f"{nowhere} does not answer") for found in joins)
    assert any(found.startswith("no.such.name.invalid:1 leads nowhere") for found in joins)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_without_a_node_it_looks_at_what_a_start_would_meet(tmp_path: Path, answer: bytes) -> None:
    """Ends with 3, whether the port is free or taken by something that is no node."""
    free = dayfly("doctor", "--http", f"http://127.0.0.1:{free_port()}", cwd=tmp_path)
    assert free.code == 3
    assert level(free) == {"bad": {"node"}, "good": {"port", "multicast"}}
    missing = str(tmp_path / "no.key")
    with answering(answer) as url:
        busy = dayfly("doctor", "--http", url, "--no-multicast", "--key-file", missing, cwd=tmp_path)
    assert busy.code == 3
    assert level(busy) == {"bad": {"node", "port", "key"}, "good": {"multicast"}}
    assert "--http" in busy.lines[0]["fix"]
    assert dayfly("doctor", "--ttl", "never", cwd=tmp_path).code == 2


def test_a_node_with_https_is_found_there(tmp_path: Path) -> None:
    """By its settings alone; who does not trust its certificate hears of that."""
    certificate, key = make_certificate(tmp_path)
    https = ("--http-cert", str(certificate), "--http-key", str(key))
    with lone_node(*https, tls=True) as node:
        assert dayfly("doctor", "--quiet", *node.arguments, "--ca", str(certificate)).code == 0
        stranger = doctor(node)
        assert (stranger.code, "is not trusted" in stranger.lines[0]["found"]) == (3, True)


# --- facts to findings ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shown() -> Iterator[dict[str, Any]]:
    """What a real node shows of itself."""
    with lone_node() as node:
        yield node.get("/v1/node")


def facts(shown: dict[str, Any], *peers: dict[str, Any], **changed: Any) -> Facts:
    """Facts of a node that is well, with some of what it shows changed."""
    ttl_ms = shown["limits"]["ttl_ms"]
    answers = Answers("", shown | changed, list(peers))
    return Facts("http://x", answers, shown["version"], shown["cluster"], ttl_ms, open_meant=False)


def peer(**changed: Any) -> dict[str, Any]:
    """A linked peer."""
    return {"name": "birch", "address": "10.0.0.2:7", "state": "up", "offset_ms": 0, "error": ""} | changed


def of(check: str, facts: Facts) -> list[tuple[str, str]]:
    """Level and fix of each finding of this kind; all that is not good has a fix."""
    found = list(findings(facts))
    assert all(bool(f.fix) == (f.level != "good") for f in found)
    return [(f.level, f.fix) for f in found if f.check == check]


def test_levels_change_at_their_limits(shown: dict[str, Any]) -> None:
    """Just below is still well; at the limit it is not."""

    def lag(ms: float) -> str:
        return of("loop lag", facts(shown, loop_lag={"recent_ms": ms}))[0][0]

    assert [lag(ms) for ms in (LAG_WARN_MS - 1, LAG_WARN_MS, LAG_BAD_MS - 1, LAG_BAD_MS)] == [
        *("good", "warning", "warning", "bad")
    ]
    clocks = [of("clock", facts(shown, peer(offset_ms=-CLOCK_WARN_MS - i)))[0][0] for i in (0, 1)]
    assert clocks == ["good", "warning"]

    def store(records: int, size: int) -> str:
        limits = shown["limits"] | {"records_max": 10, "bytes_max": 1 << 30}
        return of("store", facts(shown, records=records, bytes=size, limits=limits))[0][0]

    mib = 1 << 20
    assert [store(n, 0) for n in (8, 9, 10)] == ["good", "warning", "bad"]
    assert [store(0, size) for size in (0, 1023 * mib, 1023 * mib + 1)] == ["good", "warning", "bad"]


def test_an_open_cluster_that_others_reach_is_warned_of_unless_it_is_meant(shown: dict[str, Any]) -> None:
    """Loopback is nobody's business; --open is an answer; a key is another."""
    reached = facts(shown, peer="192.0.2.7:7946")
    assert of("links", facts(shown))[0][0] == "good"
    assert of("links", reached)[0][0] == "warning"
    assert "keygen" in of("links", reached)[0][1]
    assert of("links", replace(reached, open_meant=True))[0][0] == "good"
    assert of("links", facts(shown, peer="192.0.2.7:7946", links="encrypted, key 1"))[0][0] == "good"


def test_trouble_with_the_journal_is_bad_and_a_damaged_one_a_warning(shown: dict[str, Any]) -> None:
    """Posts are refused in the first case; in the second the node lives and somebody should look."""
    well = {"path": "/d", "restored": 0, "waiting": 0, "trouble": "", "set_aside": ""}
    assert of("journal", facts(shown, journal=well))[0][0] == "good"
    assert of("journal", facts(shown, journal=well | {"trouble": "the disk is full"}))[0][0] == "bad"
    aside = "/d/journal-damaged-20261121T120000.sqlite"
    damaged = facts(shown, journal=well | {"set_aside": aside})
    fix = f"look at the disk, then remove that file and its log, {aside}-wal, as far as they are there"
    assert of("journal", damaged) == [("warning", fix)]


def test_silent_multicast_closed_ports_and_other_settings_are_told(shown: dict[str, Any]) -> None:
    """What a firewall or a stale configuration does shows before anybody misses a record."""
    base = facts(shown, peer())
    silent = replace(base, group="239.1.1.1:7", sent_on=["127.0.0.1", "10.0.0.1"], heard_on=["127.0.0.1"])
    (multicast,) = [f for f in findings(silent) if f.check == "multicast"]
    assert (multicast.level, "did not come back on 10.0.0.1" in multicast.found) == ("warning", True)
    assert of("peer", replace(base, dialled=[Dial("10.0.0.2:7", "refused")]))[0][0] == "warning"
    assert of("peer port", replace(base, own=[Dial("127.0.0.1:7", "refused")]))[0][0] == "bad"
    assert of("version", replace(base, version="9"))[0][0] == "warning"
    assert of("settings", replace(base, cluster="other"))[0][0] == "warning"
    lost = peer(state="lost", error="Connection refused", code="")
    assert of("peer", facts(shown, lost))[0][0] == "bad"
    assert of("peer", facts(shown, lost, peer()))[0][0] == "warning"


def test_only_what_is_bad_ends_with_1(shown: dict[str, Any]) -> None:
    """A warning is no reason to restart a container."""
    base = facts(shown)
    assert exit_code(base, [Finding("x", "warning", "y", "z")]) == 0
    assert exit_code(base, [Finding("x", "bad", "y", "z")]) == 1
    assert exit_code(replace(base, answers=Answers("nobody")), []) == 3


def test_a_node_that_wants_credentials_is_told_from_one_that_is_not_there() -> None:
    """The way out is another one: it is given the token, and then all is well."""
    with lone_node("--read-token", "secret") as node:
        without = dayfly("doctor", *node.arguments)
        assert (without.code, level(without)["bad"]) == (1, {"node"})
        assert "--token" in without.lines[0]["fix"]
        assert dayfly("doctor", *node.arguments, "--token", "secret", "--quiet").code == 0
