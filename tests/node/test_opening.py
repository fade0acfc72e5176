"""The file that names the validator whose records a data directory holds."""

from pathlib import Path

from node.opening import open_journal
from storage.data_dir import SIGNATURE_NAME
from tests.cluster.peer import config

NOW_MS = 1_700_000_000_000


async def opened(data_dir: Path) -> None:
    """Open the journal as a node does at its start, and close it."""
    (await open_journal(config(("data-dir", str(data_dir))), data_dir, NOW_MS)).close()


async def test_it_is_for_this_user_alone(tmp_path: Path) -> None:
    """As all files there; what an interrupted start left is removed."""
    left = tmp_path / f"{SIGNATURE_NAME}.partial"
    left.touch()
    await opened(tmp_path)
    named = tmp_path / SIGNATURE_NAME
    assert (named.read_text(), named.stat().st_mode & 0o777) == ("md5\n", 0o600)
    assert not left.exists()


async def test_a_link_in_its_place_is_neither_read_nor_written_through(tmp_path: Path) -> None:
    """Who can put a link into the directory cannot have the node show or overwrite what it points to."""
    victim, data_dir = tmp_path / "victim", tmp_path / "data"
    victim.write_text("a secret\n")
    data_dir.mkdir()
    (data_dir / SIGNATURE_NAME).symlink_to(victim)
    await opened(data_dir)
    assert victim.read_text() == "a secret\n"
    assert not (data_dir / SIGNATURE_NAME).is_symlink()
