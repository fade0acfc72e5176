"""A demo's nodes as processes: started, asked how they are, killed, started again, never left behind.

Whether a node lives is asked at its port, not only of its process: one that was killed here and started
again by hand elsewhere is the same node. Nodes end with the demo in three ways: they are told to
(`Fleet.stop`), they read the end of a pipe that only the demo holds open, and on Linux the kernel kills
them, stopped ones too (node/lifeline.py). The last is why all must be started from the main thread.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence

import msgspec
import trio

from node.demo_node import LOOPBACK, ROOT, Answer, DemoNode
from node.demo_story import NodeView

POLL_S = 0.5
POLL_ABSENT_S = 0.2
"""Between two questions to a node that answers, and to one that does not: a refused connection is cheap."""

ANSWER_TIMEOUT_S = 2.0
"""After so long a node counts as silent. A busy machine answers later than an idle one, but not that late."""

ANSWER_BYTES_MAX = 256 * 1024

STOP_TIMEOUT_S = 5.0
"""How long nodes may take to stop before they are killed; they promise 4.5 s themselves."""

_REQUEST = b"GET /v1/node HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"


async def ask(port: int) -> Answer | None:
    """Ask whoever listens on a loopback port. None: nobody does, or it is no node, or it takes too long."""
    data = bytearray()
    try:
        with trio.move_on_after(ANSWER_TIMEOUT_S):
            async with await trio.open_tcp_stream(LOOPBACK, port) as stream:
                await stream.send_all(_REQUEST)
                while len(data) <= ANSWER_BYTES_MAX and (chunk := await stream.receive_some()):
                    data += chunk
        return msgspec.json.decode(data.partition(b"\r\n\r\n")[2], type=Answer)
    except (OSError, trio.BrokenResourceError, msgspec.MsgspecError):
        return None


async def follow(node: DemoNode) -> None:
    """Ask a node again and again, for ever."""
    while True:
        life = node.life
        answer = await ask(node.http_port)
        if life == node.life:
            node.take(answer, trio.current_time())
        await trio.sleep(POLL_ABSENT_S if answer is None else POLL_S)


class Fleet:
    """All nodes of a demo. Call it from the main thread only."""

    def __init__(self, nodes: Sequence[DemoNode]) -> None:
        self.nodes = nodes
        # Nobody ever writes. Both ends are closed on exec, so that only we hold the one that matters.
        self._read_end, self._write_end = os.pipe()

    def start(self, node: DemoNode) -> None:
        """Start a node's process; does not wait for it."""
        node.forget()
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        quiet = ("--log-format", "json", "--log-level", "info", "--parent-pipe", str(self._read_end))
        with node.log.open("ab") as log:
            node.process = subprocess.Popen(  # noqa: S603 - this very program, with arguments made here
                [sys.executable, "-P", "-m", "node", "up", *node.arguments, *quiet],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": path},
                pass_fds=(self._read_end,),
                # Ctrl-C on the terminal is for the demo alone; it tells its nodes in its own way. Not a new
                # session: in ours, POSIX has stopped nodes woken (SIGHUP, SIGCONT) when the demo dies.
                process_group=0,
            )
        node.alive = True

    def views(self, now_s: float) -> list[NodeView]:
        """Show all nodes as they are now (monotonic seconds)."""
        return [n.view(now_s) for n in self.nodes]

    def kill(self, node: DemoNode) -> None:
        """End a node's process as a power cut would."""
        if node.process is not None:
            node.process.kill()

    def start_gone(self) -> None:
        """Start every node that neither runs here nor was started by hand."""
        for node in self.nodes:
            if node.process is None or node.state.gone:
                self.start(node)

    def reap(self) -> None:
        """Notice which processes have ended."""
        for node in self.nodes:
            if node.alive and node.process is not None and node.process.poll() is not None:
                node.alive = False
                node.forget()

    async def stop(self, hurry: trio.Event) -> None:
        """Tell all processes to stop, and kill those that have not after a while, or once `hurry` is set."""
        processes = [n.process for n in self.nodes if n.process is not None]
        for process in processes:
            process.send_signal(signal.SIGCONT)  # one that is stopped would not hear the next
            process.send_signal(signal.SIGTERM)
        with trio.move_on_after(STOP_TIMEOUT_S):
            while any(p.poll() is None for p in processes) and not hurry.is_set():  # noqa: ASYNC110 - no event tells
                await trio.sleep(0.02)
        for process in processes:
            process.kill()
            process.wait()
        self.reap()
        os.close(self._write_end)
        os.close(self._read_end)
