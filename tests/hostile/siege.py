"""A node under attack: what it took before and after, and whether others were served meanwhile."""

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

from tests.api.nodes import rss_mb
from tests.processes import Cluster, NodeProcess, cluster, wait_until

LONG = os.environ.get("DAYFLY_TEST_LONG", "") not in ("", "0")

DESCRIPTORS_MORE_MAX = 5
RSS_MORE_MB_MAX = 20
POST_EVERY_S = 0.02


@dataclass
class Siege:
    """What the besieged node and its honest client have lived through."""

    node: NodeProcess
    other: NodeProcess
    posted: list[str] = field(default_factory=list[str])
    refused: list[str] = field(default_factory=list[str])
    slowest_s: float = 0.0
    name: str = field(default_factory=lambda: secrets.token_hex(4))
    _over: threading.Event = field(default_factory=threading.Event)

    def post(self) -> None:
        """Post until told to stop; note what was refused, and how long the slowest answer took."""
        while not self._over.wait(POST_EVERY_S):
            id, began = f"honest-{self.name}-{len(self.posted)}", time.monotonic()
            try:
                answer = self.node.ask("PUT", f"/v1/records/{id}", "hello")
                refused = "" if answer.status in (200, 201) else f"{id}: {answer.status}"
            except OSError as error:
                refused = f"{id}: {error}"
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            self.posted.append(id)
            self.refused += [refused] if refused else []

    def end(self) -> None:
        """Let the client stop."""
        self._over.set()


def descriptors(node: NodeProcess) -> int:
    return len(list(Path(f"/proc/{node.pid}/fd").iterdir()))


@contextlib.contextmanager
def two_nodes(*options: str) -> Generator[Cluster, None, None]:
    """Two nodes that are linked."""
    with cluster(*options) as made:
        made.start(2)
        yield made


@contextlib.contextmanager
def besieged(nodes: Cluster, what: str) -> Generator[Siege, None, None]:
    """Attack `nodes.nodes[0]` in the block: it must be the same after it, and serve an honest client in it.

    The same process, descriptors and memory as before, every post accepted and held by both nodes.
    """
    siege = Siege(nodes.nodes[0], nodes.nodes[1])
    node, client = siege.node, threading.Thread(target=siege.post)
    before, rss_before_mb = descriptors(node), rss_mb(node)
    client.start()
    try:
        yield siege
    finally:
        siege.end()
        client.join()
    assert node.process is not None
    assert node.process.poll() is None, node.log.read_text()[-2000:]
    assert siege.posted
    assert not siege.refused
    wait_until(
        lambda: descriptors(node) <= before + DESCRIPTORS_MORE_MAX,
        f"descriptors are back at {before}",
    )
    for id in (siege.posted[0], siege.posted[-1]):
        wait_until(lambda: siege.other.ask("HEAD", f"/v1/records/{id}").status == 200, f"{id} is held")  # noqa: B023
    grown_mb = rss_mb(node) - rss_before_mb
    print(
        f"\n{what}: descriptors {before} to {descriptors(node)}, memory {grown_mb:+.1f} MB, "
        f"{len(siege.posted)} posts all accepted, the slowest in {siege.slowest_s * 1000:.0f} ms"
    )
    assert grown_mb < RSS_MORE_MB_MAX
    assert "Traceback" not in node.log.read_text()
    assert "internal error" not in node.log.read_text()
