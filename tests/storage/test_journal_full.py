"""A disk without room: nothing is acknowledged that is not written, service goes on, and so does the
writing as soon as there is room again.

Once on a small file system of its own (needs the right to mount), once by a limit on the size of files,
which needs no rights but a process of its own.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from storage import JournalBehind, JournalStore, Stored, StoreFull, StoreUnusable
from tests.mounts import mounted
from tests.storage.journals import (
    ROOT,
    T0,
    TTL_MS,
    Watch,
    add,
    copy_as_after_a_crash,
    held,
    make_record,
    open_journal,
    wait_durable,
    wait_for,
)


@pytest.fixture(params=[4])
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of so many megabytes."""
    path = tmp_path / "disk"
    path.mkdir()
    with mounted(path, f"size={request.param}m"):
        yield path


def fill(path: Path) -> None:
    """Take all room there is on the device of `path`."""
    with path.open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while file.write(b"\x01" * size) == size:
                    pass
            except OSError:
                continue


def add_until_trouble(store: JournalStore, raw: str = "x" * 500) -> int:
    """Add records until a commit has failed; return how many."""
    n = 0
    while not store.writer.trouble:
        n += 1
        store.add(make_record(n, f"{n} {raw}"), T0)
        wait_for(lambda seq=n: store.writer.durable_seq >= seq or store.writer.trouble)  # type: ignore[misc]
        assert n < 100_000
    return n


def test_a_full_disk_is_told_and_survived(small_disk: Path) -> None:
    """Memory goes on, nothing false is acknowledged, the line is bounded, and room is used when it comes."""
    with closing(open_journal(small_disk / "data")) as store:
        watch = Watch(store)
        fill(small_disk / "ballast")
        count = add_until_trouble(store)
        assert f"left on the device of {small_disk}/data/journal.sqlite" in store.writer.trouble
        assert store.writer.durable_seq < count == len(held(store))
        # Relayed records are still taken, up to the bound of the line.
        store.writer.line.records_max = len(store.writer.line) + 3
        for n in range(count + 1, count + 4):
            assert isinstance(store.add(make_record(n), T0), Stored)
        before = store.statistics()
        with pytest.raises(
            StoreFull, match=r"wait to be written to the journal: .* left on the device"
        ) as full:
            store.add(make_record(count + 4), T0)
        assert isinstance(full.value, JournalBehind)
        assert store.statistics() == before
        (small_disk / "ballast").unlink()
        watch.wait(lambda: store.writer.durable_seq == count + 3)
        assert store.writer.trouble == ""
        add(store, make_record(count + 4))
        expected = held(store)
    with closing(open_journal(small_disk / "data")) as store:
        assert held(store) == expected
        assert store.report.damage == ""


@pytest.mark.parametrize("small_disk", [64], indirect=True)
def test_on_a_full_disk_expired_records_make_room(small_disk: Path) -> None:
    """Nobody tidies up, but records end, and their pages take what waits."""
    with closing(open_journal(small_disk / "data")) as store:
        count = add_until_trouble(store, "x" * 50_000)
        assert "which is kept for removals" in store.writer.trouble
        ended = len(store.expire(T0 + TTL_MS + count * 9 // 10, count))
        assert ended >= count // 2
        wait_durable(store.writer, count)
        assert store.writer.trouble == ""
        expected = held(store)
        assert expected
    with closing(open_journal(small_disk / "data")) as store:
        assert held(store) == expected


def test_on_a_full_disk_a_replaced_record_keeps_its_row(small_disk: Path) -> None:
    """A peer's record of the same id wins and cannot be written: what was acknowledged is not lost for it."""
    path, ballast = small_disk / "data", small_disk / "ballast"
    ours, theirs, over = make_record(9, id="x"), make_record(8, id="x"), make_record(0)
    with closing(open_journal(path)) as store:
        add(store, over, ours)
        with ballast.open("wb", buffering=0) as file:
            while os.statvfs(path).f_bavail * os.statvfs(path).f_frsize > 400_000:
                file.write(b"\x01" * 65_536)
        watch, before = Watch(store), store.writer.commits
        assert store.add(theirs, T0) == Stored(3, ours)
        watch.wait(lambda: "which is kept for removals" in store.writer.trouble)
        assert store.expire(T0 + TTL_MS, 10) == [over]
        wait_for(lambda: store.writer.commits > before)
        copy_as_after_a_crash(path, small_disk.parent / "copy")
        ballast.unlink()
        watch.wait(lambda: store.writer.durable_seq == 3)
    for name, expected in (("copy", ours), ("disk/data", theirs)):
        with closing(open_journal(small_disk.parent / name)) as store:
            assert held(store) == [expected]


def test_a_store_on_a_full_disk_opens_and_serves(small_disk: Path) -> None:
    """A restart while the disk is full brings back everything that was acknowledged."""
    with closing(open_journal(small_disk / "data")) as store:
        records = [make_record(n) for n in range(100)]
        add(store, *records)
        copy_as_after_a_crash(small_disk / "data", small_disk / "copy")
    fill(small_disk / "ballast")
    store = open_journal(small_disk / "copy")
    assert held(store) == records
    store.add(make_record(200, "y" * 500_000), T0)
    with pytest.raises(OSError, match=r"1 records could not be saved: .* left on the device"):
        store.close()
    (small_disk / "ballast").unlink()
    with closing(open_journal(small_disk / "copy")) as store:
        assert held(store) == records


def test_a_damaged_journal_on_a_full_disk_is_left_as_it_is(small_disk: Path) -> None:
    """There is no room to repair it: the error says what is wrong and what is needed, and nothing is lost."""
    records = [make_record(n, f"{n:04}" * 250) for n in range(300)]
    with closing(open_journal(small_disk / "data")) as store:
        add(store, *records)
    journal = small_disk / "data" / "journal.sqlite"
    damaged = b"\xff" + journal.read_bytes()[1:]
    journal.write_bytes(damaged)
    fill(small_disk / "ballast")
    with pytest.raises(StoreUnusable, match=r"is damaged \(its header .* 1 MB or less, cannot be written"):
        open_journal(small_disk / "data")
    assert journal.read_bytes() == damaged
    assert sorted(p.name for p in journal.parent.iterdir()) == ["dayfly.lock", "journal.sqlite"]
    (small_disk / "ballast").unlink()
    with closing(open_journal(small_disk / "data")) as store:
        assert held(store) == records


def test_a_directory_that_goes_away_and_comes_back_is_survived(tmp_path: Path) -> None:
    """A disk that is unmounted by mistake: trouble is told, and ends by itself."""
    with closing(open_journal(tmp_path / "data")) as store:
        add(store, make_record(1))
        (tmp_path / "data").rename(tmp_path / "elsewhere")
        store.add(make_record(2), T0)
        watch = Watch(store)
        watch.wait(lambda: "cannot be written" in store.writer.trouble)
        (tmp_path / "elsewhere").rename(tmp_path / "data")
        watch.wait(lambda: store.writer.durable_seq == 2)
        assert store.writer.trouble == ""
        add(store, make_record(3))
    with closing(open_journal(tmp_path / "data")) as store:
        assert held(store) == [make_record(n) for n in (1, 2, 3)]


def test_a_limit_on_file_sizes_is_survived_too(tmp_path: Path) -> None:
    """The same without a disk of its own: the limit is met, lifted, and everything is on the disk."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.storage.test_journal_full", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    count = int(done.stdout)
    with closing(open_journal(tmp_path)) as store:
        assert len(held(store)) == count


def main() -> None:
    """Meet and lift the limit; print how many records there are."""
    import resource

    store = open_journal(Path(sys.argv[1]))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    count = add_until_trouble(store)
    assert store.writer.durable_seq < count
    assert "journal.sqlite cannot be written" in store.writer.trouble, store.writer.trouble
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    wait_durable(store.writer, count)
    assert store.writer.trouble == ""
    store.close()
    os.write(1, b"%d\n" % count)


if __name__ == "__main__":
    main()
