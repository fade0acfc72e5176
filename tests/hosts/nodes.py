"""Nodes on hosts: each in its host's namespace, reached from there over its loopback.

So the test asks a node and posts to it however bad the wire is; what is under test is what the nodes do
about the wire. Every node dies with this process (`setpriv --pdeathsig`), even if that is killed.
"""

import contextlib
import http.client
import json
import os
import signal
import time
from collections.abc import Generator
from functools import partial
from pathlib import Path

from tests.hosts.ledger import Ledger
from tests.hosts.network import Host
from tests.processes import Answer, Cluster, NodeProcess, wait_until

LONG = os.environ.get("DAYFLY_TEST_LONG", "") not in ("", "0")
"""Whether the scenarios run as long as their descriptions say, and not just as long as shows the point."""

HTTP_PORT, PEER_PORT = 8080, 7946


def seconds(short: float, long: float) -> float:
    """Choose how long something lasts: in the normal run, and in the long one."""
    return long if LONG else short


class HostNode(NodeProcess):
    """One node on a host. `names`: a file that is the host's /etc/hosts, or None for the machine's.

    Start it from the main thread: it is killed when the thread that started it ends.
    """

    def __init__(self, host: Host, arguments: list[str], port: int, names: Path | None) -> None:
        prefix = ["setpriv", "--pdeathsig", "KILL"]
        if names is not None:
            bind = 'mount --bind "$0" /etc/hosts && exec "$@"'
            prefix += ["unshare", "--mount", "sh", "-c", bind, str(names)]
        super().__init__(arguments, port, tuple(prefix))
        self.host = host

    def start(self) -> "HostNode":
        """Start the process on its host; does not wait for it."""
        with self.host.space.entered():
            super().start()
        return self

    def ask(self, method: str, path: str, body: bytes | str | None = None, **headers: str) -> Answer:
        """Send one request, from the node's own host."""
        with self.host.space.entered():
            return super().ask(method, path, body, **headers)

    @property
    def up(self) -> list[str]:
        """Node ids of the peers that it says are up."""
        return [p["id"] for p in self.get("/v1/peers")["peers"] if p["state"] == "up"]

    @property
    def listens(self) -> bool:
        """Whether it answers at all; it must not have ended by itself."""
        assert self.process is not None
        assert self.process.poll() in (None, -signal.SIGKILL), f"the node ended: {self.log.read_text()}"
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.ask("GET", "/healthz").status == 200
        return False

    def logged(self, event: str) -> int:
        """Count the lines of its log that tell of an event."""
        return sum(f'"event": "{event}"' in line for line in self.log.read_text().splitlines())


class HostCluster(Cluster):
    """Nodes on hosts, and the ledger of what they were given."""

    def __init__(self, *options: str) -> None:
        super().__init__(*options)
        self.hosted: list[HostNode] = []
        self.ledger = Ledger()

    def add_on(
        self,
        host: Host,
        *options: str,
        multicast: bool = True,
        names: Path | None = None,
        ports: tuple[int, int] = (HTTP_PORT, PEER_PORT),
    ) -> HostNode:
        """Start a node on a host. `ports`: for HTTP and for peers."""
        arguments = ["--lan", "--http", f"0.0.0.0:{ports[0]}", "--peer", f"0.0.0.0:{ports[1]}"]
        arguments += ["--cluster", self.name, "--name", f"host{host.number}", "--log-format", "json"]
        arguments += ["--multicast", self.group if multicast else "off", *self.options, *options]
        node = HostNode(host, arguments, ports[0], names).start()
        self.nodes.append(node)
        self.hosted.append(node)
        return node

    def wait_listening(self) -> float:
        """Wait until every node answers; returns the seconds that took."""
        return wait_until(lambda: all(n.listens for n in self.hosted), "every node answers", 60)

    def wait_up(self, timeout_s: float = 30.0) -> float:
        """Wait until every node says that all others are up; returns the seconds that took."""
        began = time.monotonic()
        for node in self.hosted:
            left_s = began + timeout_s - time.monotonic()
            wait_until(partial(self._sees_all, node), f"{node.arguments} sees all others up", left_s)
        return time.monotonic() - began

    def wait_complete(self, timeout_s: float, since_s: float | None = None) -> float:
        """Wait until every node lists exactly what the ledger says, and all lists are the same bytes.

        Args:
            timeout_s: how long it may take.
            since_s: where to count from, in monotonic seconds; None: from now.

        Returns:
            the seconds it took.
        """
        began = time.monotonic() if since_s is None else since_s
        for node in self.hosted:
            what = f"the node on host {node.host.number} lists what it should"
            try:
                wait_until(partial(self._complete, node), what, began + timeout_s - time.monotonic())
            except AssertionError as error:
                raise AssertionError(f"{error}; {self.ledger.difference(node.listing())}") from None
        took_s = time.monotonic() - began
        lists = {node.ask("POST", "/listAllRecentData").body for node in self.hosted}
        assert len(lists) == 1, "the lists hold the same in another order"
        return took_s

    def _complete(self, node: HostNode) -> bool:
        return node.records == len(self.ledger) and not self.ledger.difference(node.listing())

    def _sees_all(self, node: HostNode) -> bool:
        return len(node.up) == len(self.hosted) - 1

    def settle(self) -> None:
        """Wait until nothing is left to do: all linked, all complete."""
        self.wait_up(60)
        self.wait_complete(60)

    def logs(self) -> str:
        """Show what every node logged since the start, one line each event, in order of time."""
        lines: list[tuple[str, str]] = []
        for node in self.hosted:
            for line in node.log.read_text().splitlines():
                with contextlib.suppress(ValueError):
                    entry = json.loads(line)
                    lines.append((str(entry.get("timestamp", "")), f"host{node.host.number} {line}"))
        return "\n".join(line for _, line in sorted(lines))


@contextlib.contextmanager
def host_cluster(*options: str) -> Generator[HostCluster, None, None]:
    """Make a cluster whose nodes do not outlive the block; if it fails, show what they logged."""
    made = HostCluster(*options)
    try:
        yield made
    except BaseException:
        print(made.logs())
        raise
    finally:
        made.close()
