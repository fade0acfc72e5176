"""A small file system of a test's own."""

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(path: Path, options: str = "rw") -> Generator[Path]:
    """Mount a file system in memory at `path`, an existing directory; skip where that is not permitted.

    Args:
        options: as `mount -o` takes them: `size=8m`, `ro`.
    """
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a file system needs root")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)
