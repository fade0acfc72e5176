"""Damage: what is whole comes back, nothing comes back changed, the rest is kept aside and told of."""

import os
import random
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from storage import JournalReport
from storage.journal_format import create_journal
from storage.write_ahead_log import WriteAheadLog, checksum
from tests.contracts.stores import FAST_DIR
from tests.storage.journals import T0, add, copy_as_after_a_crash, held, make_record, open_journal
from validator import Record

ROUNDS = 20 if os.environ.get("DAYFLY_TEST_LONG") else 1
PAGE = 8_192


def various(count: int) -> list[Record]:
    """Records of every shape: within a page, over two and over many, ASCII and not."""
    shapes = {0: "x" * 3_000, 1: "é🦔" * 300, 2: "y" * 40_000}
    return [make_record(n, f"{n} " + shapes.get(n % 100, "z" * (n % 300))) for n in range(count)]


RECORDS = various(1_500)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A directory in memory where there is one: hundreds of starts here need no disk to sync to."""
    with tempfile.TemporaryDirectory(prefix="dayfly-damage-", dir=FAST_DIR) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A journal of many pages that was closed well."""
    path = tmp_path_factory.mktemp("closed")
    with closing(open_journal(path)) as store:
        add(store, *RECORDS)
    return (path / "journal.sqlite").read_bytes()


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, list[tuple[int, int]]]:
    """A journal, its log, and how long the log was when so many records were durable."""
    path = tmp_path_factory.mktemp("crashed")
    sizes: list[tuple[int, int]] = []
    with closing(open_journal(path / "open")) as store:
        for n in range(0, 400, 10):
            add(store, *RECORDS[n : n + 10])
            sizes.append(((path / "open" / "journal.sqlite-wal").stat().st_size, n + 10))
        copy_as_after_a_crash(path / "open", path / "copy")
    found = [(path / "copy" / name).read_bytes() for name in ("journal.sqlite", "journal.sqlite-wal")]
    return found[0], found[1], sizes


def opened(path: Path, journal: bytes, log: bytes = b"") -> tuple[list[Record], JournalReport]:
    """Open a directory with these files; see that a second start finds all well and the same."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    (path / "journal.sqlite").write_bytes(journal)
    if log:
        (path / "journal.sqlite-wal").write_bytes(log)
    with closing(open_journal(path)) as store:
        found, report = held(store), store.report
        assert report.restored == len(found)
    with closing(open_journal(path)) as store:
        assert held(store) == found
        assert (store.report.damage, store.report.damaged_path) == ("", None)
    return found, report


def offsets(data: bytes, rng: random.Random) -> Iterator[int]:
    """Where to flip: the file's header, beginnings of pages, where SQLite keeps its pointers, anywhere."""
    for _ in range(10 * ROUNDS):
        yield rng.randrange(100)
        yield rng.randrange(len(data) // PAGE) * PAGE + rng.randrange(60)
        yield rng.randrange(len(data))


def flipped(data: bytes, at: int, rng: random.Random) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


@pytest.mark.timeout(120 * ROUNDS)
def test_a_flipped_bit_anywhere_costs_at_most_the_record_it_hits(tmp_path: Path, closed: bytes) -> None:
    """Header, schema, tree, free space or text: all other records come back whole, and no silent loss."""
    rng = random.Random(11)
    assert opened(tmp_path / "d", closed) == (RECORDS, JournalReport(tmp_path / "d/journal.sqlite", 1_500))
    lost_once = 0
    for at in offsets(closed, rng):
        damaged = flipped(closed, at, rng)
        found, report = opened(tmp_path / "d", damaged)
        missing = len(RECORDS) - len(found)
        assert set(found) <= set(RECORDS), at
        assert missing <= 1, at
        assert report.damage or not missing, at
        assert report.unreadable <= 1, at
        if report.damage:
            assert report.damaged_path is not None
            assert report.damaged_path.read_bytes() == damaged, at
            assert report.damaged_path.name == "journal-damaged-20270115T080000.sqlite"
        lost_once += missing
    assert lost_once  # the test has hit what it must hit


@pytest.mark.timeout(120 * ROUNDS)
def test_a_flipped_bit_in_the_log_costs_at_most_the_record_it_hits(
    tmp_path: Path, crashed: tuple[bytes, bytes, list[tuple[int, int]]]
) -> None:
    """SQLite forgets everything in the log behind a wrong byte; here it comes back."""
    journal, log, sizes = crashed
    rng, expected = random.Random(12), set(RECORDS[: sizes[-1][1]])
    assert set(opened(tmp_path / "d", journal, log)[0]) == expected
    spots = [*range(0, 32, 3), *(32 + n * (PAGE + 24) + rng.randrange(24) for n in range(0, 40, 4))]
    spots += [rng.randrange(len(log)) for _ in range(8 * ROUNDS)]
    told = 0
    for at in spots:
        damaged = flipped(log, at, rng)
        found, report = opened(tmp_path / "d", journal, damaged)
        assert set(found) <= expected, at
        assert len(expected) - len(found) <= 1, at
        assert report.damage or len(found) == len(expected), at
        if report.damage:
            told += 1
            assert Path(f"{report.damaged_path}-wal").read_bytes() == damaged, at
    assert told > len(spots) / 2


def test_a_log_cut_short_costs_only_what_was_in_the_cut(
    tmp_path: Path, crashed: tuple[bytes, bytes, list[tuple[int, int]]]
) -> None:
    """Cut anywhere, also within a frame: every commit before the cut is there."""
    journal, log, sizes = crashed
    rng = random.Random(13)
    cuts = [0, 1, 31, 32, 33, 56, len(log) - 1, *(size for size, _ in sizes[::9])]
    for cut in cuts + [rng.randrange(len(log)) for _ in range(8 * ROUNDS)]:
        found, _ = opened(tmp_path / "d", journal, log[:cut])
        durable = max((count for size, count in sizes if size <= cut), default=0)
        assert set(RECORDS[:durable]) <= set(found) <= set(RECORDS), cut


def test_a_kill_at_the_beginning_of_a_new_round_of_the_log_is_no_damage(
    tmp_path: Path, closed: bytes, crashed: tuple[bytes, bytes, list[tuple[int, int]]]
) -> None:
    """The log is written from its beginning again: a new header, the frames of the round before behind it."""
    log = crashed[1]
    salts = (int.from_bytes(log[16:20], "big") + 1).to_bytes(4, "big") + b"salt"
    header = log[:12] + b"\0\0\0\1" + salts
    order = ">" if log[3] & 1 else "<"
    header += struct.pack(">II", *checksum(order, header, (0, 0)))
    found, report = opened(tmp_path / "d", closed, header + log[32:])
    assert found == RECORDS
    assert (report.damage, report.damaged_path) == ("", None)


def test_a_half_written_file_gives_back_what_is_whole_in_it(tmp_path: Path, closed: bytes) -> None:
    """Cut anywhere: every row that lies wholly before the cut is there, and the loss is told."""
    rng = random.Random(14)
    rows = {r: b"".join((r.key, r.id.encode(), r.raw.encode(), r.signature.encode())) for r in RECORDS}
    ends = {r: closed.find(row) + len(row) for r, row in rows.items() if row in closed}  # those in one page
    assert len(ends) > len(RECORDS) * 0.9
    for cut in [0, 1, 99, 100, PAGE, 3 * PAGE] + [rng.randrange(len(closed)) for _ in range(10 * ROUNDS)]:
        found, report = opened(tmp_path / "d", closed[:cut])
        assert {r for r, end in ends.items() if end <= cut} <= set(found) <= set(RECORDS), cut
        assert report.damage, cut


def test_nonsense_in_place_of_pages_costs_only_what_was_there(tmp_path: Path, closed: bytes) -> None:
    """A bad sector, a page of zeros, a page in the wrong place: the rest is there."""
    rng = random.Random(15)
    pages = len(closed) // PAGE
    for _ in range(4 * ROUNDS):
        at, other = (rng.randrange(pages) * PAGE for _ in range(2))
        for nonsense in (bytes(PAGE), rng.randbytes(PAGE), closed[other : other + PAGE]):
            found, report = opened(tmp_path / "d", closed[:at] + nonsense + closed[at + PAGE :])
            assert set(found) <= set(RECORDS), at
            assert len(RECORDS) - len(found) <= 60, at  # what a page of 8 KiB can hold
            assert report.damage or len(found) == len(RECORDS), at


@pytest.mark.parametrize("content", [b"", b"\x00" * 20_000, b"not a database" * 5_000])
def test_a_file_that_is_no_journal_at_all_is_set_aside(tmp_path: Path, content: bytes) -> None:
    """Nothing can be read, and that is told; the node starts with an empty store."""
    found, report = opened(tmp_path / "d", content)
    assert found == []
    assert report.damage == "its header is not that of a Dayfly journal"
    assert report.damaged_path is not None
    assert report.damaged_path.read_bytes() == content


def test_records_of_a_missing_journal_are_read_from_its_log(
    tmp_path: Path, crashed: tuple[bytes, bytes, list[tuple[int, int]]]
) -> None:
    """Someone removed journal.sqlite and left journal.sqlite-wal: what is in there is not lost."""
    _, log, sizes = crashed
    path = tmp_path / "d"
    path.mkdir()
    (path / "journal.sqlite-wal").write_bytes(log)
    with closing(open_journal(path)) as store:
        assert set(held(store)) == set(RECORDS[: sizes[-1][1]])
        assert store.report.damage == "it is missing, only its log is there"
        assert Path(f"{store.report.damaged_path}-wal").read_bytes() == log


def test_a_second_damaged_file_of_the_same_second_gets_a_name_of_its_own(tmp_path: Path) -> None:
    """What was set aside is never overwritten."""
    for content in (b"one", b"two", b"three"):
        (tmp_path / "journal.sqlite").write_bytes(content)
        open_journal(tmp_path).close()
    kept = sorted(p.read_bytes() for p in tmp_path.glob("journal-damaged-*"))
    assert kept == [b"one", b"three", b"two"]


def test_expired_records_of_a_damaged_file_stay_away(tmp_path: Path, closed: bytes) -> None:
    """Salvage follows the rules of the store: what is over does not come back."""
    path = tmp_path / "d"
    path.mkdir()
    (path / "journal.sqlite").write_bytes(b"\xff" + closed[1:])
    end = T0 + 24 * 3600 * 1000 + 999
    with closing(open_journal(path, end)) as store:
        assert held(store, end) == held(store) == RECORDS[1_000:]


@pytest.mark.parametrize("moved", [(), ("-wal",), ("-wal", "")])
def test_a_repair_that_was_cut_off_is_finished(
    tmp_path: Path, crashed: tuple[bytes, bytes, list[tuple[int, int]]], moved: tuple[str, ...]
) -> None:
    """Killed between any two of its renames: the restored journal is taken, the damaged one kept."""
    journal, log, _ = crashed
    create_journal(tmp_path / "journal-restored.sqlite", RECORDS)
    for suffix, content in (("-wal", log), ("", journal)):
        name = "journal-damaged-20270101T000000.sqlite" if suffix in moved else "journal.sqlite"
        (tmp_path / f"{name}{suffix}").write_bytes(content)
    with closing(open_journal(tmp_path)) as store:
        assert held(store) == RECORDS
        assert store.report.damage == (
            "" if "" in moved else "a repair was cut off and has been finished now"
        )
    kept = sorted(p.read_bytes() for p in tmp_path.glob("journal-damaged-*"))
    assert kept == sorted([journal, log])


def test_a_file_that_was_being_written_is_no_journal(tmp_path: Path) -> None:
    """Killed while the very first journal, or a restored one, was made: it is made anew."""
    (tmp_path / "journal.sqlite.partial").write_bytes(b"SQLite")
    (tmp_path / "journal-restored.sqlite.partial").write_bytes(b"SQLite")
    with closing(open_journal(tmp_path)) as store:
        add(store, RECORDS[0])
        assert store.report.damage == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dayfly.lock", "journal.sqlite"]


def test_records_behind_the_last_transaction_are_taken_in(tmp_path: Path) -> None:
    """A commit cut off before its end was never acknowledged; what is whole of it is kept all the same."""
    with closing(open_journal(tmp_path / "open")) as store:
        add(store, *RECORDS[:100])
        before = len((tmp_path / "open" / "journal.sqlite-wal").read_bytes())
        add(store, *RECORDS[100:400])
        copy_as_after_a_crash(tmp_path / "open", tmp_path / "copy")
    journal, log = ((tmp_path / "copy" / f"journal.sqlite{s}").read_bytes() for s in ("", "-wal"))
    whole = WriteAheadLog(log)
    assert whole.complete == whole.intact == len(whole.pages)
    found, report = opened(tmp_path / "d", journal, log[: before + 5 * (PAGE + 24)])
    assert set(RECORDS[:100]) < set(found) < set(RECORDS[:400])
    assert report.damage == ""
