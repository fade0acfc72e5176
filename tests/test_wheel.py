"""What is shipped: the wheel holds the rooms and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.processes import ROOT

ROOMS = {"api", "cluster", "eventbus", "node", "storage", "validator"}


def test_the_wheel_holds_the_six_rooms_typed_and_the_command(tmp_path: Path) -> None:
    """Six packages with their type marker, the licence, one command; no tests, no scripts."""
    subprocess.run(
        [
            sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
            "--disable-pip-version-check", "--wheel-dir", str(tmp_path), str(ROOT),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("dayfly-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    info = next(top for top in tops if top.endswith(".dist-info"))

    assert tops == ROOMS | {info}
    assert all(f"{room}/py.typed" in names for room in ROOMS)
    parts = {file.name for file in (ROOT / "api" / "static").iterdir()}
    assert {f"api/static/{part}" for part in parts} <= set(names)
    entry_points = zipfile.ZipFile(wheel).read(f"{info}/entry_points.txt").decode()
    assert "dayfly = node.cli:main" in entry_points
    assert any(name.endswith("LICENSE") for name in names)
