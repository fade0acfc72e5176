"""A running demo, for tests: started as a process, read event by event, told what to do by signals."""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

from tests.processes import ROOT, free_port, wait_until

Event = dict[str, Any]
START_TIMEOUT_S = 40.0


def is_alive(pid: int) -> bool:
    """Whether a process runs. One that has ended but was not waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return not Path("/proc/self").exists()  # where there is no /proc, the signal is all there is to go by


def demo_command(first_port: int, *options: str) -> list[str]:
    """Return the command of a demo that meets no other: its own cluster, its own group."""
    group = f"239.255.77.79:{free_port(socket.SOCK_DGRAM)}"
    meet = ["--cluster", f"test-{secrets.token_hex(4)}", "--multicast", group]
    return [sys.executable, "-P", "-m", "node", "demo", "--http-port", str(first_port), *meet, *options]


def demo_environment(**more: str) -> dict[str, str]:
    """Return the environment to run a demo in, free of settings of whoever runs the tests."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DAYFLY_")}
    return kept | {"PYTHONPATH": str(ROOT)} | more


class Demo:
    """A demo with `--json`."""

    def __init__(self, *options: str, first_port: int | None = None, **environment: str) -> None:
        self.first_port = free_port(count=8) if first_port is None else first_port
        self._folder = tempfile.TemporaryDirectory(prefix="dayfly-test-")
        self._output, self._errors = (Path(self._folder.name) / name for name in ("output", "errors"))
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                demo_command(self.first_port, "--json", *options),
                cwd=self._folder.name,
                env=demo_environment(TMPDIR=self._folder.name, **environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )

    @property
    def errors(self) -> str:
        """What it wrote to standard error."""
        return self._errors.read_text()

    def events(self, kind: str, node: str | None = None) -> list[Event]:
        """Return the events of a kind so far, of one node or of all."""
        lines = self._output.read_text().splitlines(keepends=True)
        events: list[Event] = [json.loads(line) for line in lines if line.endswith("\n")]
        return [e for e in events if e["event"] == kind and node in (None, e["node"])]

    def wait_for(self, kind: str, node: str | None = None, *, count: int = 1, **fields: object) -> Event:
        """Wait for the `count`-th event of a kind with these fields, and return it."""

        def found() -> list[Event]:
            return [e for e in self.events(kind, node) if fields.items() <= e.items()]

        def enough() -> bool:
            assert len(found()) >= count or self.process.poll() is None, f"the demo ended: {self.errors}"
            return len(found()) >= count

        wait_until(enough, f"{count} events {kind!r} of {node} with {fields}", START_TIMEOUT_S)
        return found()[count - 1]

    def wait_ready(self) -> list[int]:
        """Wait until all nodes are ready and linked; return their process ids."""
        self.wait_for("ready")
        return self.pids

    @property
    def pids(self) -> list[int]:
        """The ids of all processes it has started, in the order in which they were up."""
        return [e["pid"] for e in self.events("up") if e["pid"] is not None]

    def close(self) -> None:
        """End it and whatever it left behind."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        self.process.kill()
        self.process.wait()
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._folder.cleanup()


@contextlib.contextmanager
def running_demo(*options: str, first_port: int | None = None, **environment: str) -> Generator[Demo]:
    """Run a demo that does not outlive the block."""
    demo = Demo(*options, first_port=first_port, **environment)
    try:
        yield demo
    finally:
        demo.close()
