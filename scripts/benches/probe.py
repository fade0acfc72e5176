"""Ask a node for one small thing again and again, from a process of its own, and tell how long it took.

    python probe.py PORT

Asks every 5 ms over one keep-alive connection until its standard input ends; then writes the milliseconds
each answer took, one line each. Its own process, because what loads the node would delay it otherwise.
"""

import subprocess
import sys
import time
from pathlib import Path
from select import select
from typing import Self

# Run from a checkout, installed or not: the rooms lie two folders up.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.benches.nodes import Client

INTERVAL_S = 0.005


class Probe:
    """The probing process, for the bench that starts it. Use as a context manager."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.times_ms: list[float] = []

    def __enter__(self) -> Self:
        command = [sys.executable, __file__, str(self._port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it has begun
        return self

    def __exit__(self, *_: object) -> None:
        told, _errors = self._process.communicate()
        self.times_ms = [float(line) for line in told.split()]
        if self._process.returncode != 0 or not self.times_ms:
            raise AssertionError("the probe got no answer")


def _run(port: int) -> None:
    client, times_ms = Client(port), list[float]()
    while True:
        start_s = time.perf_counter()
        client.send("GET", "/v1/records/probe")
        client.receive()
        times_ms.append((time.perf_counter() - start_s) * 1000)
        if len(times_ms) == 1:
            print("begun", flush=True)
        if select([sys.stdin], [], [], INTERVAL_S)[0]:
            break
    print("\n".join(f"{t:.3f}" for t in times_ms[1:]))


if __name__ == "__main__":
    _run(int(sys.argv[1]))
