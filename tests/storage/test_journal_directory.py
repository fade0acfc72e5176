"""The data directory: one process, a clear word when it cannot be used, and nothing half made."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from storage import StoreUnusable, open_store, write_peers
from tests.mounts import mounted
from tests.storage.journals import ROOT, T0, TTL_MS, add, held, make_record, open_journal

OPEN = """
import sys
from pathlib import Path
from storage import StoreUnusable, open_store
try:
    open_store(86_400_000, None, Path(sys.argv[1]), 1_800_000_000_000)
except StoreUnusable as exc:
    sys.exit(str(exc))
print("open", flush=True)
sys.stdin.read()
"""


def command(path: Path) -> list[str]:
    return [sys.executable, "-c", OPEN, str(path)]


def test_a_directory_is_made_for_its_user_alone(tmp_path: Path) -> None:
    """Missing parents too; others on the machine cannot read the records."""
    path = tmp_path / "a" / "b c?#%"
    with closing(open_journal(path)) as store:
        add(store, make_record(1))
        assert path.stat().st_mode & 0o777 == 0o700
        assert sorted(p.name for p in path.iterdir()) == [
            "dayfly.lock",
            "journal.sqlite",
            "journal.sqlite-wal",
        ]
    with closing(open_journal(path)) as store:
        assert held(store) == [make_record(1)]


def test_files_are_for_their_user_alone_in_a_directory_open_to_all(tmp_path: Path) -> None:
    """The directory was there before: what is made is private, what is there becomes it."""
    tmp_path.chmod(0o755)

    def modes() -> dict[str, int]:
        return {p.name: p.stat().st_mode & 0o777 for p in tmp_path.iterdir()}

    for content in (None, None, b"damaged"):
        if content:
            (tmp_path / "journal.sqlite").write_bytes(content)
        with closing(open_journal(tmp_path)) as store:
            add(store, make_record(1))
            write_peers(tmp_path / "peers.json", ["127.0.0.1:1"])
            assert set(modes().values()) == {0o600}
            assert "journal.sqlite-wal" in modes()
        (tmp_path / "journal.sqlite").chmod(0o644)
    assert len(modes()) == 4


def test_only_the_nodes_own_unfinished_files_are_removed(tmp_path: Path) -> None:
    """A directory may hold a download of somebody else's."""
    ours = ["journal.sqlite.partial", "journal.sqlite.partial-wal", "peers.json.partial"]
    ours += ["journal-restored.sqlite.partial", "journal-restored.sqlite.partial-journal"]
    others = ["film.partial", "film.partial.1", "journal.sqlite.partial.mine"]
    for name in ours + others:
        (tmp_path / name).write_text(name)
    open_journal(tmp_path).close()
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {*others, "dayfly.lock", "journal.sqlite"}


def test_no_symbolic_link_is_followed_to_another_file(tmp_path: Path) -> None:
    """Who can put a link into the directory cannot have the node overwrite what it points to."""
    path, victim = tmp_path / "data", tmp_path / "victim"
    path.mkdir()
    victim.write_text("mine")
    for name in ("journal.sqlite.partial", "peers.json.partial"):
        (path / name).symlink_to(victim)
    with closing(open_journal(path)):
        (path / "peers.json.partial").symlink_to(victim)
        write_peers(path / "peers.json", ["127.0.0.1:1"])
    (path / "dayfly.lock").unlink()
    (path / "dayfly.lock").symlink_to(victim)
    with pytest.raises(StoreUnusable, match=r"a symbolic link stands in its place .*lock"):
        open_journal(path)
    assert victim.read_text() == "mine"


def test_a_second_process_is_told_whom_it_met(tmp_path: Path) -> None:
    """The error names the directory and the process; when that is killed, the directory is free."""
    with subprocess.Popen(command(tmp_path), cwd=ROOT, stdin=-1, stdout=-1, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "open\n"
        second = subprocess.run(command(tmp_path), cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert second.returncode == 1
        assert second.stderr == (
            f"the data directory {tmp_path} is in use by process {first.pid}; "
            "each node needs one of its own\n"
        )
        first.kill()
    open_journal(tmp_path).close()


def test_a_second_store_in_the_same_process_is_refused_too(tmp_path: Path) -> None:
    """A demo that starts many nodes in one process notices the same mistake."""
    met = pytest.raises(StoreUnusable, match=f"in use by process {os.getpid()}")
    with closing(open_journal(tmp_path)), met:
        open_journal(tmp_path)
    open_journal(tmp_path).close()


def test_a_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """The error names the path."""
    path = tmp_path / "file"
    path.write_text("x")
    for wrong in (path, path / "below"):
        with pytest.raises(StoreUnusable, match=f"{wrong} cannot be used: it is not a directory"):
            open_journal(wrong)
    assert path.read_text() == "x"


def test_a_directory_without_permission_is_refused() -> None:
    """Closed to this user: the error says who may not write where, and nothing is made."""
    nobody = 65534
    # As root, become nobody once everything is imported; not in pytest's directory, which is root's own.
    code = OPEN.replace("try:", f"import os; os.geteuid() or os.setuid({nobody})\ntry:", 1)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "data"
        path.mkdir()
        path.chmod(0o555)
        path.parent.chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert done.stderr == (
            f"the data directory {path} cannot be used: "
            f"user {os.geteuid() or nobody} may not write there ({path}/dayfly.lock)\n"
        )
        assert list(path.iterdir()) == []


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A directory with a journal, on a file system that was then made read-only."""
    path = tmp_path / "disk"
    path.mkdir()
    with mounted(path):
        with closing(open_journal(path / "data")) as store:
            add(store, make_record(1))
        subprocess.run(["mount", "-o", "remount,ro", str(path)], check=True)
        yield path


def test_a_read_only_file_system_is_refused(read_only: Path) -> None:
    """With a journal there or without: the error names the path."""
    for path in (read_only / "data", read_only / "new"):
        with pytest.raises(StoreUnusable, match=f"{path} cannot be used: it is on a read-only file system"):
            open_journal(path)


def test_a_journal_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    """An old program does not touch what it does not understand."""
    open_journal(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as file:
        (application,) = file.execute("PRAGMA application_id").fetchone()
        file.execute(f"PRAGMA application_id = {application + 1}")
        file.execute("PRAGMA user_version = 2")
    before = (tmp_path / "journal.sqlite").read_bytes()
    with pytest.raises(StoreUnusable, match="schema version 2, this program knows versions up to 1") as error:
        open_journal(tmp_path)
    assert str(tmp_path / "journal.sqlite") in str(error.value)
    assert (tmp_path / "journal.sqlite").read_bytes() == before


def test_a_journal_open_in_another_program_is_not_taken_for_damaged(tmp_path: Path) -> None:
    """Somebody looks at it with SQLite's own tool: the error says so, and afterwards all is well."""
    with closing(open_journal(tmp_path)) as store:
        add(store, make_record(1))
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as file:
        file.execute("BEGIN IMMEDIATE")
        # The same process would share SQLite's locks, so the other program is the node here.
        done = subprocess.run(command(tmp_path), cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.stderr == (
            f"the journal {tmp_path}/journal.sqlite cannot be used: another program has it open\n"
        )
    with closing(open_journal(tmp_path)) as store:
        assert held(store) == [make_record(1)]


LOOK = """
import sqlite3, sys
try:
    print(sqlite3.connect(sys.argv[1], timeout=0).execute("SELECT count(*) FROM record").fetchone())
except sqlite3.OperationalError as exc:
    print(exc)
"""


def seen_by_another_program(path: Path) -> str:
    """Try to read a journal from another process; return what it says."""
    look = [sys.executable, "-c", LOOK, str(path / "journal.sqlite")]
    return subprocess.run(look, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


@pytest.mark.parametrize("damaged", [False, True])
def test_an_open_journal_is_closed_to_every_other_program(tmp_path: Path, damaged: bool) -> None:
    """A reader that got in would take the log away when it leaves, and the node write to nothing."""
    with closing(open_journal(tmp_path)) as store:
        add(store, make_record(1))
    if damaged:
        data = (tmp_path / "journal.sqlite").read_bytes()
        (tmp_path / "journal.sqlite").write_bytes(b"\xff" + data[1:])
    with closing(open_journal(tmp_path)) as store:
        assert seen_by_another_program(tmp_path) == "database is locked"
        add(store, make_record(2))
        assert seen_by_another_program(tmp_path) == "database is locked"
        assert (tmp_path / "journal.sqlite-wal").exists()
    assert seen_by_another_program(tmp_path) == "(2,)"


def test_a_relative_path_keeps_its_meaning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the working directory moves nothing."""
    monkeypatch.chdir(tmp_path)
    with closing(open_store(TTL_MS, None, Path("data"), T0)) as store:
        monkeypatch.chdir("/")
        store.add(make_record(1), T0)
    with closing(open_journal(tmp_path / "data")) as store:
        assert held(store) == [make_record(1)]
