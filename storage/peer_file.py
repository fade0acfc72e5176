"""The saved peer file: where peers were last seen, so that a restarted node finds its cluster again.

It holds addresses and nothing else, at most 256 of them, and is only a hint: a file that is missing, cut
short or full of nonsense reads as the addresses that can be made out, down to none.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from storage.data_dir import replace_file

PEERS_MAX = 256
"""Most addresses kept. Our choice: four times what a full mesh has, and one answer is enough to come back."""

ADDRESS_CHARS_MAX = 300
"""Longest address: a DNS name has at most 253 characters (RFC 1035, 2.3.4), a port six with its colon."""

FILE_BYTES_MAX = 128 * 1024
"""Largest file read: more than `PEERS_MAX` addresses of `ADDRESS_CHARS_MAX` can make."""


class _PeerFile(msgspec.Struct):
    peers: list[object] = []


def read_peers(path: Path) -> list[str]:
    """Read the saved addresses, the most recent first.

    Returns:
        At most `PEERS_MAX` texts of printable ASCII without spaces, each once. They are only known to
        look like addresses: whoever dials them parses them. Empty if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        if len(data) > FILE_BYTES_MAX:
            return []
        peers = msgspec.json.decode(data, type=_PeerFile).peers
    except (OSError, ValueError, RecursionError):  # msgspec's decode errors are ValueErrors
        return []
    return _presentable(peers)


def write_peers(path: Path, addresses: Sequence[str]) -> None:
    """Replace the saved addresses, all or nothing.

    Args:
        addresses: texts `host:port`, the most useful first; what does not look like one is left out, and
            so is what is beyond `PEERS_MAX`.

    Raises:
        OSError: it could not be written (disk full, no permission). The file is as before.
    """
    data = msgspec.json.format(msgspec.json.encode(_PeerFile([*_presentable(addresses)]))) + b"\n"
    replace_file(path, data)


def _presentable(texts: Sequence[object]) -> list[str]:
    """Keep what looks like an address, each once, and not too many."""
    found: dict[str, None] = {}
    for text in texts:
        if isinstance(text, str) and 0 < len(text) <= ADDRESS_CHARS_MAX and text.isascii():
            if text.isprintable() and " " not in text:
                found[text] = None
            if len(found) == PEERS_MAX:
                break
    return list(found)
