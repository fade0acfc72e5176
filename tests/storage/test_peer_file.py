"""The saved peer file: written whole or not at all, read whatever it has become."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import read_peers, write_peers
from storage.peer_file import ADDRESS_CHARS_MAX, FILE_BYTES_MAX, PEERS_MAX

PEERS = ["127.0.0.1:7946", "[fe80::1%eth0]:7946", "node-3.example.org:7946"]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """In the same order, each once, and nothing else lies there afterwards."""
    path = tmp_path / "peers.json"
    write_peers(path, [*PEERS, PEERS[0]])
    assert read_peers(path) == PEERS
    write_peers(path, PEERS[:1])
    assert read_peers(path) == PEERS[:1]
    assert os.listdir(tmp_path) == ["peers.json"]


def test_a_missing_file_holds_nobody(tmp_path: Path) -> None:
    """The first start, and a path that is a directory."""
    assert read_peers(tmp_path / "peers.json") == []
    assert read_peers(tmp_path) == []


def test_only_addresses_are_kept_and_not_too_many(tmp_path: Path) -> None:
    """The limits at their edges, when writing and when reading what others wrote."""
    path = tmp_path / "peers.json"
    long = "a" * ADDRESS_CHARS_MAX
    write_peers(path, ["", "a b", "a\nb", "é:1", long + "a", long])
    assert read_peers(path) == [long]
    many = [f"host{n}:1" for n in range(PEERS_MAX + 1)]
    write_peers(path, many)
    assert read_peers(path) == many[:PEERS_MAX]
    write_peers(path, ["x" * (ADDRESS_CHARS_MAX - 4) + f"{n:04}" for n in range(PEERS_MAX)])
    assert path.stat().st_size <= FILE_BYTES_MAX
    assert len(read_peers(path)) == PEERS_MAX


@pytest.mark.parametrize(
    ("content", "peers"),
    [
        (b'{"peers": ["a:1", 2, null, {"b": 3}, ["c"], "d:4"], "more": 1}', ["a:1", "d:4"]),
        (b'{"peers": []}', []),
        (b"{}", []),
        (b'{"peers": "a:1"}', []),
        (b'["a:1"]', []),
        (b"", []),
        (b"[" * 100_000, []),
        (b'{"peers": ["a:1"]}' + b" " * FILE_BYTES_MAX, []),
    ],
)
def test_nonsense_reads_as_the_addresses_in_it(tmp_path: Path, content: bytes, peers: list[str]) -> None:
    """Other types, other shapes, too deep, too long: never an error."""
    path = tmp_path / "peers.json"
    path.write_bytes(content)
    assert read_peers(path) == peers


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_file_never_fails(tmp_path: Path, at: int, byte: int, cut: bool) -> None:
    """One wrong byte anywhere, or a cut."""
    path = tmp_path / "peers.json"
    write_peers(path, PEERS)
    data = path.read_bytes()
    at %= len(data)
    path.write_bytes(data[:at] if cut else data[:at] + bytes([byte]) + data[at + 1 :])
    assert len(read_peers(path)) <= len(PEERS)


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path: Path) -> None:
    """The error reaches the caller; the old addresses are still there and nothing half written is."""
    path = tmp_path / "peers.json"
    write_peers(path, PEERS)
    (tmp_path / "peers.json.partial").mkdir()
    with pytest.raises(IsADirectoryError):
        write_peers(path, ["new:1"])
    assert read_peers(path) == PEERS
