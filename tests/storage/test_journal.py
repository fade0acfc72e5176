"""The journalled store while all is well: what is acknowledged is in the file, what is over leaves it.

What it shares with every store is in tests/contracts, which also compares file and memory.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from storage import Held, MemoryStore, Stored, StoreLimits, open_store
from storage.journal_file import FREE_PAGES_KEPT
from storage.journal_line import BATCH_CHARS_MAX, BATCH_RECORDS_MAX
from storage.write_ahead_log import PAGE_BYTES
from tests.storage.journals import (
    T0,
    TTL_MS,
    Watch,
    add,
    held,
    make_record,
    open_journal,
    wait_clean,
    wait_durable,
)


def rows(path: Path) -> list[bytes]:
    """Return the keys in a closed journal."""
    with closing(sqlite3.connect(path / "journal.sqlite")) as file:
        return [key for (key,) in file.execute("SELECT key FROM record ORDER BY key")]


def free_and_all_pages(path: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(path / "journal.sqlite")) as file:
        return tuple(
            file.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_count")
        )


RECORDS = [
    make_record(1),
    make_record(2, "é¤🦔" * 400),
    make_record(3, "\x00 and \r\n are text too"),
    make_record(4, "x" * 2_100),
    make_record(5, "y" * 9_000),
    make_record(6, "z" * 1_000_000),
    make_record(7, id="i" * 256),
    make_record(8, id="w", time_stamp=T0 + 60_000),
]


def test_without_a_directory_the_store_is_memory() -> None:
    """Nobody gets a journal who has not asked for one."""
    assert type(open_store(TTL_MS)) is MemoryStore


def test_a_restarted_store_holds_the_same_records(tmp_path: Path) -> None:
    """Every length and every kind of text comes back equal to the byte, in order of time."""
    with closing(open_journal(tmp_path)) as store:
        add(store, *reversed(RECORDS))
    with closing(open_journal(tmp_path)) as store:
        assert held(store) == RECORDS
        assert [r for _, r in store.arrivals(0, T0, 100)] == RECORDS
        assert store.writer.durable_seq == store.statistics().seq == len(RECORDS)
        assert store.report.restored == len(RECORDS)
        assert (store.report.damage, store.report.damaged_path, store.report.unreadable) == ("", None, 0)
        assert store.add(RECORDS[0], T0) == Held(RECORDS[0])
        assert store.add(make_record(9), T0) == Stored(9)


def test_numbers_go_on_being_durable_after_a_restart(tmp_path: Path) -> None:
    """The first record after a restart is not durable before it is written."""
    with closing(open_journal(tmp_path)) as store:
        add(store, make_record(1))
    with closing(open_journal(tmp_path)) as store:
        before = store.writer.commits
        add(store, make_record(2))
        assert store.writer.commits == before + 1
        assert store.writer.durable_seq == 2


def test_many_records_share_a_commit(tmp_path: Path) -> None:
    """Group commit: thousands of records cost tens of transactions, and a thousand is the most in one."""
    with closing(open_journal(tmp_path)) as store:
        count = 5 * BATCH_RECORDS_MAX
        for n in range(count):
            store.add(make_record(n), T0)
        wait_durable(store.writer, count)
        assert 5 <= store.writer.commits <= count / 20


def test_a_transaction_is_bounded_in_size(tmp_path: Path) -> None:
    """Records of a megabyte do not gather to a transaction of a gigabyte; one record always fits."""
    big = [make_record(n, f"{n}" * 1_000_000) for n in range(9)]
    with closing(open_journal(tmp_path)) as store:
        add(store, *big)
        assert store.writer.commits >= len(big) * 1_000_000 // BATCH_CHARS_MAX
    with closing(open_journal(tmp_path)) as store:
        assert held(store) == big


def test_the_caller_is_told_when_records_are_durable(tmp_path: Path) -> None:
    """on_change comes after the commit: whoever waits for the number finds it reached."""
    with closing(open_journal(tmp_path)) as store:
        watch = Watch(store)
        for n in range(1, 50):
            stored = store.add(make_record(n), T0)
            assert isinstance(stored, Stored)
            watch.wait(lambda seq=stored.seq: store.writer.durable_seq >= seq)  # type: ignore[misc]
        assert store.writer.durable_seq == 49


def test_closing_writes_what_waits(tmp_path: Path) -> None:
    """A store that is closed with records in line loses none of them."""
    records = [make_record(n) for n in range(3_000)]
    with closing(open_journal(tmp_path)) as store:
        for record in records:
            store.add(record, T0)
    assert rows(tmp_path) == [r.key for r in records]
    assert not (tmp_path / "journal.sqlite-wal").exists()


def test_expired_records_leave_the_file(tmp_path: Path) -> None:
    """What memory forgets the file forgets, and no more than that."""
    records = [make_record(n) for n in range(2_500)]
    with closing(open_journal(tmp_path)) as store:
        add(store, *records)
        assert len(store.expire(T0 + TTL_MS + 1_999, 10_000)) == 2_000
    assert rows(tmp_path) == [r.key for r in records[2_000:]]


def test_expired_rows_are_skipped_at_the_start_and_removed_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that was down while records ended does not bring them back, and the file gets rid of them."""
    monkeypatch.setattr("storage.journal.HIDDEN_KEPT_S", 0.0)
    records = [make_record(n) for n in range(2_500)]
    with closing(open_journal(tmp_path)) as store:
        add(store, *records)
    wall_ms = T0 + TTL_MS + 1_999
    with closing(open_journal(tmp_path, wall_ms)) as store:
        assert held(store, wall_ms) == held(store) == records[2_000:]
        assert (store.report.restored, store.report.expired) == (500, 2_000)
        last = make_record(9_999)
        store.add(last, wall_ms)
        assert store.expire(wall_ms, 10) == []
        wait_clean(store.writer)
    assert rows(tmp_path) == [r.key for r in [*records[2_000:], last]]


def test_a_start_with_a_clock_far_ahead_destroys_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four years ahead at the start, set right a moment later: the next start has all that still lives."""
    records = [make_record(n) for n in range(10)]
    with closing(open_journal(tmp_path)) as store:
        add(store, *records)
    far_ms = T0 + 1_500 * TTL_MS
    with closing(open_journal(tmp_path, far_ms)) as store:
        assert store.expire(far_ms, 10) == []  # too early
        wait_clean(store.writer)
        assert held(store) == []
        monkeypatch.setattr("storage.journal.HIDDEN_KEPT_S", 0.0)
        for wall_ms in (T0, T0 + TTL_MS + 3):  # judged by the clock of the moment, and again
            assert store.expire(wall_ms, 10) == []
            wait_clean(store.writer)
    with closing(open_journal(tmp_path)) as store:
        assert held(store) == records[4:]


def test_a_clock_set_back_after_the_start_loses_no_new_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that looks like one of the expired rows still waiting for removal stays in the file."""
    monkeypatch.setattr("storage.journal.HIDDEN_KEPT_S", 0.0)
    records = [make_record(n) for n in range(50)]
    with closing(open_journal(tmp_path)) as store:
        add(store, *records)
    with closing(open_journal(tmp_path, T0 + TTL_MS + 100)) as store:
        assert held(store) == store.expire(T0 + TTL_MS + 100, 10) == []
        again = [make_record(n) for n in (0, 25)]
        add(store, *again)
        wait_clean(store.writer)
        assert held(store) == again
    assert set(rows(tmp_path)) >= {r.key for r in again}


def test_a_superseded_record_leaves_the_file(tmp_path: Path) -> None:
    """The loser does not come back after a restart, whether it was written already or still in line."""
    with closing(open_journal(tmp_path)) as store:
        late, early = make_record(5, "late", "a"), make_record(4, "early", "a")
        add(store, late)
        assert store.add(early, T0) == Stored(2, late)
        store.add(make_record(7, "late", "b"), T0)
        store.add(make_record(6, "early", "b"), T0)
        wait_durable(store.writer, 4)
    assert rows(tmp_path) == [early.key, make_record(6, "early", "b").key]


def test_a_record_that_comes_again_is_written_again(tmp_path: Path) -> None:
    """The loser of an id returns once the winner's life is over: the file follows."""
    late, early = make_record(5, "late", "a"), make_record(4, "early", "a")
    with closing(open_journal(tmp_path)) as store:
        add(store, late, early)
        assert store.add(late, T0 + TTL_MS + 4) == Stored(3)
    assert rows(tmp_path) == [late.key]


def test_two_rows_of_one_id_are_merged_at_the_start(tmp_path: Path) -> None:
    """Whatever a file holds, the rules of the store decide: the smaller key stays, the other row goes."""
    early, late = make_record(4, "early", "a"), make_record(5, "late", "a")
    with closing(open_journal(tmp_path)) as store:
        add(store, early)
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as file, file:
        row = (late.key, late.id.encode(), late.raw.encode(), late.signature.encode())
        file.execute("INSERT INTO record VALUES (?, ?, ?, ?)", row)
    with closing(open_journal(tmp_path)) as store:
        assert held(store) == [early]
        assert store.report.superseded == 1
    assert rows(tmp_path) == [early.key]


def test_a_store_with_smaller_limits_leaves_the_rest_in_the_file(tmp_path: Path) -> None:
    """Lowering a limit removes nothing: what does not fit is told, and is back with the old limit."""
    records = [make_record(n) for n in range(10)]
    with closing(open_journal(tmp_path)) as store:
        add(store, *records)
    with closing(open_journal(tmp_path, limits=StoreLimits(records_max=7))) as store:
        assert held(store) == records[:7]
        assert (store.report.restored, store.report.left_out) == (7, 3)
    with closing(open_journal(tmp_path)) as store:
        assert held(store) == records


def test_the_start_tells_how_far_it_is(tmp_path: Path) -> None:
    """Progress begins at none and ends at all."""
    with closing(open_journal(tmp_path)) as store:
        add(store, *(make_record(n) for n in range(100)))
    told: list[tuple[int, int]] = []
    with closing(open_store(TTL_MS, None, tmp_path, T0, lambda done, total: told.append((done, total)))):
        assert told[0] == (0, 100)
        assert told[-1] == (100, 100)


def test_the_file_does_not_grow_with_records_that_come_and_go(tmp_path: Path) -> None:
    """Pages of expired rows are used again: after ten generations it is as large as after one."""
    sizes: list[int] = []
    for generations in (1, 10):
        path = tmp_path / f"{generations}"
        with closing(open_journal(path)) as store:
            for now in range(T0, T0 + generations * TTL_MS, TTL_MS):
                for n in range(3_000):
                    store.add(make_record(n, time_stamp=now + n), now + n)
                    store.expire(now + n, 10)
                wait_clean(store.writer)
        sizes.append((path / "journal.sqlite").stat().st_size)
    assert sizes[1] <= sizes[0] * 1.3


def test_a_file_that_is_nearly_empty_is_given_back_to_the_disk(tmp_path: Path) -> None:
    """After a day's peak has expired the disk has its space again, without a restart."""
    with closing(open_journal(tmp_path)) as store:
        add(store, *(make_record(n, "x" * 1_000_000) for n in range(25)))
        assert (tmp_path / "journal.sqlite").stat().st_size > 20_000_000
        store.expire(T0 + TTL_MS + 100, 100)
        wait_clean(store.writer)
    free, pages = free_and_all_pages(tmp_path)
    assert free <= FREE_PAGES_KEPT + pages - free
    assert pages * PAGE_BYTES < 18_000_000


def test_the_text_of_a_removed_record_is_gone_from_the_file(tmp_path: Path) -> None:
    """Forgotten after its lifetime means wiped, not only unlinked."""
    with closing(open_journal(tmp_path)) as store:
        add(store, make_record(1, "a secret of a day"), make_record(2, "another " * 2_000))
        store.expire(T0 + TTL_MS + 5, 10)
    data = (tmp_path / "journal.sqlite").read_bytes()
    assert b"secret" not in data
    assert b"another" not in data


@pytest.mark.parametrize("ttl_ms", [0, -5])
def test_a_journal_without_a_lifetime_is_refused_and_lets_go_of_the_directory(
    tmp_path: Path, ttl_ms: int
) -> None:
    """The caller's mistake does not keep the directory locked."""
    with pytest.raises(ValueError, match="ttl_ms"):
        open_store(ttl_ms, None, tmp_path, T0)
    open_journal(tmp_path).close()
