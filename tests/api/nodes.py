"""A node of one's own for tests of the routes, and what its process takes."""

import contextlib
import http.client
from collections.abc import Generator
from pathlib import Path

from tests.processes import NodeProcess, cluster, free_port, wait_until


@contextlib.contextmanager
def lone_node(*options: str, tls: bool = False, host: str = "127.0.0.1") -> Generator[NodeProcess]:
    """Start a node that seeks nobody; it answers when the block begins.

    `options`: for `dayfly up`. `tls`: it speaks HTTPS. `host`: where it listens.
    """
    with cluster(*options) as c:
        port = free_port()
        node = c.add("--http", f"{host}:{port}", multicast=False)
        node.port = port

        def answers() -> bool:
            assert node.process is not None
            assert node.process.poll() is None, f"the node ended: {node.log.read_text()}"
            if tls:
                return '"node up"' in node.log.read_text()
            with contextlib.suppress(OSError, http.client.HTTPException):
                return node.ask("GET", "/healthz").status == 200
            return False

        wait_until(answers, f"the node on {node.port} answers")
        yield node


def rss_mb(node: NodeProcess) -> float:
    """Return the memory a node's process holds now, in MB."""
    return _status_kb(node, "VmRSS") / 1000


def peak_mb(node: NodeProcess) -> float:
    """Return the most memory a node's process held since `forget_peak`, in MB."""
    return _status_kb(node, "VmHWM") / 1000


def forget_peak(node: NodeProcess) -> None:
    """Let the peak begin at what is held now (Linux, proc(5), clear_refs)."""
    Path(f"/proc/{node.pid}/clear_refs").write_text("5")


def _status_kb(node: NodeProcess, field: str) -> int:
    for line in Path(f"/proc/{node.pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise AssertionError(f"no {field}")
