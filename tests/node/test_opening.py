"""The file that names the validator whose records a data directory holds, and the check when that changes."""

from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from node.config import Config
from node.opening import open_journal
from storage import StoreUnusable
from storage.data_dir import SIGNATURE_NAME
from storage.journal_format import create_journal
from tests.cluster.peer import config, until
from validator import Record
from validator.ed25519 import ed25519_hex, public_of
from validator.keys import PUBLISHER, Key, signed_bytes

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


CHECKED_RECORDS = 10_000
"""The check takes nearly a second of CPU; a stop is heard after some milliseconds."""


def unchecked(directory: Path) -> Config:
    """Make a data directory whose records a publisher has signed, badly, and settings that say so."""
    key = Key(PUBLISHER, "p", b"1" * 32)
    listed, data_dir = directory / "listed", directory / "data"
    listed.write_text(public_of(key).line + "\n")
    signature = ed25519_hex(key.value, signed_bytes("p/", "another"))
    made = [Record.of(f"p/{n}", "x", signature, NOW_MS - CHECKED_RECORDS + n) for n in range(CHECKED_RECORDS)]
    data_dir.mkdir(0o700)
    create_journal(data_dir / "journal.sqlite", made)
    settings = {"validator": "ed25519", "validator_key_file": str(listed), "data_dir": str(data_dir)}
    return config(*settings.items())


async def test_a_check_of_signatures_is_told_and_hears_a_stop_at_once(tmp_path: Path) -> None:
    """It takes more than a minute for a million of them; the directory is let go of as it was."""
    settings = unchecked(tmp_path)
    assert settings.data_dir is not None

    async def open_and_close() -> None:
        assert settings.data_dir is not None
        (await open_journal(settings, settings.data_dir, NOW_MS)).close()

    with capture_logs() as logs, pytest.raises(StoreUnusable, match=f"{CHECKED_RECORDS} records"):
        await open_and_close()  # when nobody stops it, it runs to its end
    (told,) = [line for line in logs if line["event"] == "checking the signatures" and not line["done"]]
    assert told["total"] == CHECKED_RECORDS
    assert not (settings.data_dir / SIGNATURE_NAME).exists()

    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(open_and_close)
            await until(lambda: any(line["event"] == "checking the signatures" for line in logs), "it checks")
            nursery.cancel_scope.cancel()  # at its end the check would raise
    await opened(settings.data_dir)  # nobody holds it any more
