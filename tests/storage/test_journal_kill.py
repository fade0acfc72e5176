"""kill -9: whatever was acknowledged is there after the restart, equal to the byte."""

import os
import random
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.storage.journal_child import numbered
from tests.storage.journals import ROOT, held, open_journal

KILLS = 200 if os.environ.get("DAYFLY_TEST_LONG") else 6


def run_and_kill(directory: Path, first: int, rng: random.Random) -> None:
    """Let a process add records, and kill it at a random moment: while it starts, reads, writes."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.storage.journal_child", str(directory), str(first)], cwd=ROOT
    )
    try:
        code = child.wait(rng.uniform(0.1, 0.7))
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    else:
        pytest.fail(f"the child ended by itself with {code}")


@pytest.mark.timeout(60 + 5 * KILLS)
def test_an_acknowledged_record_survives_kill_9_at_any_moment(tmp_path: Path) -> None:
    """Again and again on the same directory: nothing acknowledged is lost, and nothing else is made up."""
    rng = random.Random(4)
    must: set[str] = set()
    first = 0
    path = tmp_path / "acknowledged"
    for _ in range(KILLS):
        run_and_kill(tmp_path, first, rng)
        acknowledged = max(map(int, path.read_text().split()), default=-1) if path.exists() else -1
        must |= {numbered(n).id for n in range(first, acknowledged + 1)}
        with closing(open_journal(tmp_path)) as store:
            there = {record.id: record for record in held(store)}
            assert (store.report.damage, store.report.unreadable) == ("", 0)
        assert must - there.keys() == set()
        assert all(record == numbered(int(id, 16)) for id, record in there.items())
        # What was in a commit that the kill cut off may be there or not; once there it stays.
        must = set(there)
        first = max((int(id, 16) for id in there), default=-1) + 1
    assert len(must) > KILLS * 100
