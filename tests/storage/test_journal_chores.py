"""What the writer does between commits: it may fail or wait without anybody being refused for it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from storage.journal_file import JournalFile
from storage.journal_format import create_journal
from storage.journal_writer import JournalWriter
from tests.storage.journals import (
    T0,
    TTL_MS,
    add,
    make_record,
    open_journal,
    wait_clean,
    wait_durable,
    wait_for,
)
from validator import key_bound


class UntidyFile(JournalFile):
    """A journal where there is no room to remove what an earlier run left, until it is let."""

    tries, full = 0, True

    def drop_below(self, bound: bytes, count_max: int, bytes_max: int) -> bool:
        """Fail, or do it."""
        self.tries += 1
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")
        return super().drop_below(bound, count_max, bytes_max)


def test_housekeeping_that_fails_is_no_trouble_and_pauses(tmp_path: Path) -> None:
    """Records are saved and nothing is refused meanwhile; it is done when that is possible."""
    create_journal(tmp_path / "journal.sqlite", [make_record(1)])
    file = UntidyFile(tmp_path / "journal.sqlite")
    writer = JournalWriter(file)
    writer.drop_below(key_bound(T0 + 100))
    told: list[str] = []
    writer.on_change = lambda: told.append(writer.trouble)
    for n in range(1, 50):
        writer.add({n: make_record(1_000 + n)})
        wait_durable(writer, n)
    assert set(told) == {""}
    assert 1 <= file.tries < 10
    file.full = False
    wait_clean(writer)
    assert writer.close() == 0
    with closing(JournalFile(tmp_path / "journal.sqlite")) as after:
        assert after.count(key_bound(T0 + 100)) == (0, 49)


def test_housekeeping_that_succeeds_goes_on_without_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of rows go in many slices: only a failure would pause, for an hour here."""
    monkeypatch.setattr("storage.journal_writer.CHORES_PAUSE_S", 3_600.0)
    create_journal(tmp_path / "journal.sqlite", [make_record(n) for n in range(3_500)])
    writer = JournalWriter(JournalFile(tmp_path / "journal.sqlite"))
    writer.drop_below(key_bound(T0 + 3_400))
    wait_clean(writer)
    assert writer.close() == 0
    with closing(JournalFile(tmp_path / "journal.sqlite")) as after:
        assert after.count(key_bound(T0 + 3_400)) == (0, 100)


def test_a_text_that_is_over_leaves_the_log_of_a_quiet_node_too(tmp_path: Path) -> None:
    """It is gone from all files without a stop; the next one is not before a minute has passed."""
    files = [tmp_path / "journal.sqlite", tmp_path / "journal.sqlite-wal"]
    with closing(open_journal(tmp_path)) as store:
        add(store, make_record(1, "a secret of a day"), make_record(2))
        assert any(b"secret" in path.read_bytes() for path in files)
        store.expire(T0 + TTL_MS + 1, 10)
        wait_clean(store.writer)
        wait_for(lambda: not any(b"secret" in path.read_bytes() for path in files))
        assert files[1].stat().st_size == 0
        store.expire(T0 + TTL_MS + 2, 10)
        add(store, make_record(3))
        wait_clean(store.writer)
        assert files[1].stat().st_size > 0
