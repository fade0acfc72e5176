"""Rows that memory was not given at the start, because they looked over or found no room: they go in time."""

import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import StoreFull, StoreLimits
from tests.contracts.stores import FAST_DIR
from tests.storage.journals import T0, TTL_MS, add, held, make_record, open_journal, wait_clean


@pytest.fixture(autouse=True)
def _judge_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.journal.HIDDEN_KEPT_S", 0.0)


def rows(path: Path) -> set[bytes]:
    """Return the keys in a closed journal."""
    with closing(sqlite3.connect(path / "journal.sqlite")) as file:
        return {key for (key,) in file.execute("SELECT key FROM record")}


def test_what_lower_limits_left_out_leaves_the_file_when_its_life_is_over(tmp_path: Path) -> None:
    """No later than the rest, while the process runs, and its text is wiped; what still lives stays."""
    records = [make_record(n, f"a secret of number {n}") for n in range(10)]
    with closing(open_journal(tmp_path)) as store:
        add(store, *records)
    with closing(open_journal(tmp_path, limits=StoreLimits(records_max=3))) as store:
        assert (store.report.expired, store.report.left_out) == (0, 7)
        assert store.expire(T0 + TTL_MS + 5, 10) == records[:3]
        wait_clean(store.writer)
    assert rows(tmp_path) == {r.key for r in records[6:]}
    with closing(open_journal(tmp_path, limits=StoreLimits(records_max=3))) as store:
        assert store.expire(T0 + TTL_MS + 9, 10) == records[6:9]
        wait_clean(store.writer)
    assert rows(tmp_path) == set()
    assert b"secret" not in (tmp_path / "journal.sqlite").read_bytes()


times = st.integers(-9, 9)
ids = st.sampled_from("abcdefgh")


@settings(max_examples=60)
@given(
    before=st.lists(st.tuples(ids, times), max_size=8),
    records_max=st.integers(1, 4),
    started=times,
    script=st.lists(st.tuples(st.sampled_from(["add", "expire"]), ids, times), max_size=8),
)
def test_no_row_of_a_held_record_is_removed_with_the_others(
    before: list[tuple[str, int]], records_max: int, started: int, script: list[tuple[str, str, int]]
) -> None:
    """Under any clock and limit the file has what memory has; once all is over, it has nothing."""
    with tempfile.TemporaryDirectory(prefix="dayfly-hidden-", dir=FAST_DIR) as name:
        path = Path(name)
        with closing(open_journal(path)) as store:
            add(store, *(make_record(0, f"{n}", id, T0 + n) for id, n in before))
        over_ms = T0 + TTL_MS  # a record of time n is over at n
        with closing(open_journal(path, over_ms + started, StoreLimits(records_max))) as store:
            for verb, id, n in script:
                if verb == "expire":
                    store.expire(over_ms + n, 100)
                    continue
                with suppress(StoreFull):
                    store.add(make_record(0, f"{n}", id, T0 + n), over_ms + min(n - 1, started))
            wait_clean(store.writer)
            kept = {record.key for record in held(store)}
        assert kept <= rows(path)
        with closing(open_journal(path, over_ms - 9, StoreLimits(records_max))) as store:
            store.expire(over_ms + 10, 100)
            wait_clean(store.writer)
            assert held(store) == []
        assert rows(path) == set()
