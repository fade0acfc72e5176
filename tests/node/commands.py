"""Ways to run the command `dayfly`: piped, on a terminal, and against something that is no node."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.node.terminals import in_terminal
from tests.processes import ROOT, wait_until

ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("DAYFLY_")} | {"PYTHONPATH": str(ROOT)}
COMMAND = [sys.executable, "-m", "node"]

STYLES = {"\x1b[1m", "\x1b[0m"}
"""What a table's own head is drawn with: bold, and its end."""


class Result:
    """What a command left behind."""

    def __init__(self, done: "subprocess.CompletedProcess[bytes]") -> None:
        self.code = done.returncode
        self.out = done.stdout.decode()
        self.err = done.stderr.decode()
        assert "Traceback" not in self.err, self.err

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Standard output as NDJSON."""
        return [json.loads(line) for line in self.out.splitlines()]


def dayfly(*arguments: str, stdin: bytes = b"", cwd: Path | None = None, **environment: str) -> Result:
    """Run the command with its output piped."""
    return Result(
        subprocess.run(
            [*COMMAND, *arguments],
            input=stdin,
            capture_output=True,
            cwd=cwd or ROOT,
            env=ENVIRONMENT | environment,
            timeout=30,
            check=False,
        )
    )


def on_terminal(*arguments: str) -> str:
    """Run the command on a terminal; return what it shows, checked to hold no controls but its own."""
    script = ["/bin/sh", "-c", '"$@"; echo "ends with $?"', "sh", *COMMAND, *arguments]
    with in_terminal(script, ENVIRONMENT) as terminal:
        wait_until(lambda: "ends with " in terminal.shown, "the command ends")
        shown = terminal.shown.replace("\r\n", "\n")
    plain, _, code = shown.rpartition("ends with ")
    assert code == "0\n", shown
    for style in STYLES:
        plain = plain.replace(style, "")
    assert [c for c in plain if not c.isprintable() and c != "\n"] == []
    return plain


@contextmanager
def answering(answer: bytes) -> Generator[str]:
    """Run something at a port that gives every request the same answer; yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join(10)
