"""Where peers were last seen: read at the start, written when it is worth it, never in the way."""

import json
from collections.abc import Callable
from pathlib import Path

import trio
import trio.testing

from node.saved_peers import SAVE_EVERY_S, SavedPeers
from storage import PEERS_NAME


async def test_what_was_written_is_read_at_the_next_start(tmp_path: Path) -> None:
    """And what nobody can dial is left out."""
    await SavedPeers(tmp_path).write(["10.0.0.1:1", "[::1]:2", "no-port", "x:0", "y:99999"])
    assert SavedPeers(tmp_path).read() == ("10.0.0.1:1", "[::1]:2")


async def test_without_a_directory_nothing_is_kept() -> None:
    """A node in memory remembers nobody."""
    peers = SavedPeers(None)
    await peers.write(["10.0.0.1:1"])
    await peers.keep(lambda: ["10.0.0.1:1"])  # returns: there is nothing to do
    assert peers.read() == ()


async def test_a_node_that_is_cut_off_keeps_what_it_knew(tmp_path: Path) -> None:
    """Nobody linked: the file stays as it is."""
    peers = SavedPeers(tmp_path)
    await peers.write(["10.0.0.1:1"])
    await peers.write([])
    assert SavedPeers(tmp_path).read() == ("10.0.0.1:1",)


async def test_the_file_follows_the_cluster(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Now and then what is known is written; a file that cannot be written stops nothing."""
    known = ["10.0.0.1:1"]
    directory = tmp_path / "data"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(SavedPeers(directory).keep, lambda: list(known))
        await trio.sleep(SAVE_EVERY_S * 1.5)  # there is no directory yet
        directory.mkdir()
        await _until(lambda: _saved(directory) == known)
        known.append("10.0.0.2:2")
        await _until(lambda: _saved(directory) == known)
        nursery.cancel_scope.cancel()


async def _until(condition: Callable[[], bool]) -> None:
    """Wait by the virtual clock, which may run ahead of the thread that writes."""
    with trio.fail_after(SAVE_EVERY_S * 1_000):
        while not condition():  # noqa: ASYNC110 - a file tells nobody
            await trio.sleep(SAVE_EVERY_S / 10)


def _saved(directory: Path) -> list[str]:
    path = directory / PEERS_NAME
    return json.loads(path.read_bytes())["peers"] if path.exists() else []
