"""Reading rows out of raw bytes: texts full of what looks like rows neither hold it up nor fool it."""

from contextlib import closing
from pathlib import Path

from storage.journal_format import create_journal
from storage.salvage import WASTED_BYTES_MAX, Found, RawJournal
from storage.write_ahead_log import PAGE_BYTES, WriteAheadLog
from tests.storage.journals import add, copy_as_after_a_crash, held, make_record, open_journal
from validator import RAW_BYTES_MAX, Record

FIRST_ROW_PAGE = 10
"""A page that the first record of a new journal goes on in."""

FAKE_ROW = b"\0\0\0%c" % FIRST_ROW_PAGE + b"-\xe0\xa1\x80\x4a" + b"\x07\x5c\x0e\xc2\x80\x00\x4c" + b"-" * 6
"""A page number, then the head of a row of 540,746 bytes that goes on there. It is sound UTF-8 and repeats so
that behind each head, where such a row leaves its page, a number stands."""

HOSTILE = [
    make_record(n, (f"{n}".zfill(22) + FAKE_ROW.decode() * (RAW_BYTES_MAX // 22 - 2))) for n in range(5)
]
HONEST = [make_record(n, f"{n} " * (n % 7) ** 4) for n in range(5, 200)]


class CountingJournal(RawJournal):
    """Count how many pages are looked up for rows that go on in others."""

    images = 0

    def image(self, number: int) -> bytes:
        """Return the latest image of a page, and count."""
        self.images += 1
        return super().image(number)


def rescued(path: Path) -> tuple[list[Found], int, int]:
    """Return what is found in a journal, how many pages it has and how many were looked up."""
    with CountingJournal(path, WriteAheadLog(b"")) as raw:
        return list(raw.rows()), raw.page_count, raw.images


def records(found: list[Found]) -> set[Record]:
    return {record for _, record in found if record is not None}


def test_what_whole_rows_go_on_in_is_not_searched_for_rows(tmp_path: Path) -> None:
    """Five megabytes of heads of rows: every page is looked up a few times at most, nothing false is told."""
    path = tmp_path / "journal"
    create_journal(path, HOSTILE + HONEST)
    found, pages, images = rescued(path)
    assert records(found) == {*HOSTILE, *HONEST}
    assert len(found) == len(HOSTILE) + len(HONEST)
    assert images <= 3 * pages


def test_a_damaged_text_full_of_false_rows_costs_a_bounded_number_of_pages(tmp_path: Path) -> None:
    """Its pages belong to no whole row, so they are searched: each for so many bytes and no more."""
    path = tmp_path / "journal"
    create_journal(path, HOSTILE + HONEST)
    data = bytearray(path.read_bytes())
    at = data.index(HOSTILE[0].key)
    data[at + 30] ^= 1
    path.write_bytes(data)
    found, pages, images = rescued(path)
    assert records(found) == {*HOSTILE[1:], *HONEST}
    searched = RAW_BYTES_MAX // PAGE_BYTES + 5
    assert 1_000 < images <= 3 * pages + searched * 2 * WASTED_BYTES_MAX // PAGE_BYTES
    assert len(found) == len(HOSTILE) + len(HONEST)


def test_frames_of_earlier_rounds_of_the_log_are_not_read_at_the_start(tmp_path: Path) -> None:
    """A kill soon after a new round began leaves megabytes of them: all they say is in the journal."""
    with closing(open_journal(tmp_path / "open")) as store:
        add(store, *HOSTILE, *HONEST[:3])
        copy_as_after_a_crash(tmp_path / "open", tmp_path / "copy")
    log = WriteAheadLog((tmp_path / "copy" / "journal.sqlite-wal").read_bytes())
    assert len(log.pages) > log.complete == log.intact > 0
    assert log.unfinished == []
    with closing(open_journal(tmp_path / "copy")) as store:
        assert held(store) == [*HOSTILE, *HONEST[:3]]
