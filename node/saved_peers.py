"""Where peers were last seen: saved in the data directory, dialled at the next start.

A hint and no more: what cannot be written is logged once, and what cannot be read is as good as empty.
While no peer is linked the file is left alone, or a node that is cut off would forget whom it looks for.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
import trio

from cluster.address import parse_address
from storage import PEERS_NAME, read_peers, write_peers

_log = structlog.get_logger("dayfly.node")

SAVE_EVERY_S = 60.0
"""Our choice: whoever is killed within a minute of a cluster's move has the other addresses still."""


class SavedPeers:
    """The peer file of a node; does nothing without a data directory."""

    def __init__(self, data_dir: Path | None) -> None:
        self._path = None if data_dir is None else data_dir / PEERS_NAME
        self._written: Sequence[str] = ()
        self._error = ""

    def read(self) -> tuple[str, ...]:
        """Return the addresses of an earlier run that can be dialled."""
        return () if self._path is None else tuple(a for a in read_peers(self._path) if _is_address(a))

    async def keep(self, known: Callable[[], Sequence[str]]) -> None:
        """Write what `known` returns now and then, for ever."""
        while self._path is not None:
            await trio.sleep(SAVE_EVERY_S)
            await self.write(known())

    async def write(self, addresses: Sequence[str]) -> None:
        """Replace the file, unless nothing is known or nothing has changed."""
        if self._path is None or not addresses or addresses == self._written:
            return
        try:
            # A disk that hangs must not hold up a stop.
            await trio.to_thread.run_sync(write_peers, self._path, addresses, abandon_on_cancel=True)
            self._written, self._error = addresses, ""
        except OSError as error:
            if str(error) != self._error:
                self._error = str(error)
                _log.warning("the peer file cannot be written", path=str(self._path), error=self._error)


def _is_address(text: str) -> bool:
    try:
        return parse_address(text)[1] > 0
    except ValueError:
        return False
