"""Tasks that wait for the journal's thread: woken by the commit, told of trouble, free to leave."""

import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
import structlog
import trio
import trio.testing

from node.commits import COMMIT_WAIT_S_MAX, Commits
from storage import DataDir, JournalStore, JournalWriter, Stored
from storage.journal_file import JournalFile
from storage.journal_format import create_journal
from tests.storage.journals import T0, TTL_MS, make_record, wait_durable
from validator import Record


def add(store: JournalStore, n: int) -> int:
    """Add a record; return its number."""
    stored = store.add(make_record(n), T0)
    assert isinstance(stored, Stored)
    return stored.seq


async def test_every_waiter_is_woken_by_the_commit_of_its_record(tmp_path: Path) -> None:
    """A thousand tasks, few commits: each goes on once its record is on the disk, not before."""
    with closing(JournalStore(TTL_MS, None, DataDir(tmp_path), T0)) as store:
        commits = Commits(store.writer)
        safe: list[int] = []

        async def post(n: int) -> None:
            seq = add(store, n)
            assert await commits.saved(seq) == ""
            assert store.writer.durable_seq >= seq
            assert store.writer.waits_for(make_record(n)) == 0
            safe.append(n)

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for n in range(1_000):
                    nursery.start_soon(post, n)
        assert sorted(safe) == list(range(1_000))
        assert store.writer.commits < 100


async def test_who_leaves_while_waiting_takes_nothing_back(tmp_path: Path) -> None:
    """A client that hangs up: its record is written, and the others' waiting is not disturbed."""
    with closing(JournalStore(TTL_MS, None, DataDir(tmp_path), T0)) as store:
        commits = Commits(store.writer)
        with trio.CancelScope() as gone:
            gone.cancel()
            await commits.saved(add(store, 1))
        assert gone.cancelled_caught
        with trio.fail_after(60):
            assert await commits.saved(add(store, 2)) == ""
    with closing(JournalStore(TTL_MS, None, DataDir(tmp_path), T0)) as store:
        assert store.report.restored == 2


async def test_trouble_is_told_at_once_and_ends_by_itself(tmp_path: Path) -> None:
    """While nothing can be written nobody waits in vain; afterwards waiting works as before."""
    with closing(JournalStore(TTL_MS, None, DataDir(tmp_path / "data"), T0)) as store:
        commits = Commits(store.writer)
        with trio.fail_after(60):
            (tmp_path / "data").rename(tmp_path / "elsewhere")
            lost = add(store, 1)
            assert "cannot be written" in await commits.saved(lost)
            assert store.trouble
            assert store.writer.waits_for(make_record(1)) == lost
            assert "cannot be written" in await commits.saved(lost)
            (tmp_path / "elsewhere").rename(tmp_path / "data")
            while store.trouble:
                await trio.testing.wait_all_tasks_blocked(0.01)
            assert await commits.saved(lost) == ""
            assert await commits.saved(add(store, 2)) == ""


class HangingFile(JournalFile):
    """A journal on a disk that does not answer until it is let."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.answers = threading.Event()

    def commit(self, adds: Sequence[Record], drops: Sequence[bytes]) -> None:
        """Hang, then do it."""
        assert self.answers.wait(60)
        super().commit(adds, drops)


async def test_a_disk_that_hangs_keeps_nobody_for_longer_than_the_limit(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """The client is told after the limit, so connections do not gather; the record is written in the end."""
    create_journal(tmp_path / "journal.sqlite", ())
    file = HangingFile(tmp_path / "journal.sqlite")
    writer = JournalWriter(file)
    commits = Commits(writer)
    writer.add({1: make_record(1)})
    start_s = trio.current_time()
    assert await commits.saved(1) == f"the disk has not answered for {COMMIT_WAIT_S_MAX:.0f} s"
    assert trio.current_time() - start_s == pytest.approx(COMMIT_WAIT_S_MAX)
    file.answers.set()
    wait_durable(writer, 1)
    assert await commits.saved(1) == ""
    assert writer.close() == 0


async def test_a_disk_that_hangs_is_trouble_until_it_answers(tmp_path: Path) -> None:
    """Nobody who comes later waits for it; the log tells when it begins and when it is over."""
    create_journal(tmp_path / "journal.sqlite", ())
    file = HangingFile(tmp_path / "journal.sqlite")
    writer = JournalWriter(file)
    with structlog.testing.capture_logs() as logs, trio.fail_after(60):
        commits = Commits(writer)
        assert writer.answer_s_max == COMMIT_WAIT_S_MAX
        assert writer.trouble == ""
        writer.add({1: make_record(1)})
        writer.answer_s_max = 0.0  # the limit has passed
        while not writer.trouble:
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert await commits.saved(1) == writer.trouble == "the disk has not answered for 0 s"
        writer.answer_s_max = COMMIT_WAIT_S_MAX
        file.answers.set()
        assert await commits.saved(1) == ""
        while len(logs) < 2:
            await trio.testing.wait_all_tasks_blocked(0.01)
    assert writer.trouble == ""
    assert [entry["log_level"] for entry in logs] == ["error", "info"]
    assert writer.close() == 0
