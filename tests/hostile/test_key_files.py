"""Key files by anybody: whatever stands in one, it is read as keys or refused in words that quote none of it.

The seed is fixed. `DAYFLY_TEST_LONG=1`: 20,000 files in place of 1,000.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest

from cluster.key import ClusterKey
from node.key_files import KeyFileError, new_keys, read_keys, read_signature, read_signer
from node.keys import read_key_file
from tests.hostile.siege import LONG
from validator.ed25519 import public_of
from validator.keys import HMAC, PUBLIC, PUBLISHER, VALUE_BYTES, Key

FILES = 20_000 if LONG else 1_000

Read = Callable[[Path], Sequence[object]]


def record_keys(*kinds: str) -> Read:
    return lambda path: read_keys(path, 0o077, *kinds)


READERS: dict[str, tuple[Read, ...]] = {
    "of records": tuple(
        record_keys(*kinds) for kinds in ((HMAC,), (PUBLIC,), (HMAC, PUBLISHER), (HMAC, PUBLISHER, PUBLIC))
    ),
    "of a cluster": (read_key_file,),
}


def key_lines(rng: Random) -> dict[str, list[str]]:
    """Lines of good files of both kinds."""
    publishers = [Key(PUBLISHER, name, rng.randbytes(VALUE_BYTES)) for name in ("alerts", "news")]
    both = [key for private in publishers for key in (private, public_of(private))]
    return {
        "of records": [key.line for key in (Key(HMAC, "", rng.randbytes(VALUE_BYTES)), *both)],
        "of a cluster": [ClusterKey(rng.randbytes(32)).line for _ in range(5)],
    }


@pytest.mark.parametrize("kind", READERS)
def test_mutated_key_files_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    """Nothing but `KeyFileError` comes out, no error quotes a secret, no descriptor is left open."""
    rng, path, read = Random(23), tmp_path / "key", 0
    path.touch(0o600)
    of_kind = key_lines(rng)
    every = [line for lines in of_kind.values() for line in lines]
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(FILES):
        lines = every if rng.random() < 0.1 else of_kind[kind]  # now and then the wrong file
        chosen = rng.sample(lines, rng.randint(1, len(lines)))
        data = bytearray(rng.choice(("\n", "\r\n", "\n\n# x\n", " ")).join(chosen).encode())
        for _ in range(rng.randint(0, 3)):
            at = rng.randrange(len(data))
            data[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        path.write_bytes(data)
        try:
            read += len(rng.choice(READERS[kind])(path))
        except KeyFileError as error:
            said = str(error)
            assert said.isprintable()
            assert not any(line.rpartition(":")[2][:8] in said for line in every)
    assert read > FILES // 10
    assert len(os.listdir("/proc/self/fd")) == descriptors


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o601])
def test_a_secret_that_others_could_use_is_not_used(tmp_path: Path, mode: int) -> None:
    """Any bit for group or others is one too many, for a node and for the command that signs."""
    path = tmp_path / "key"
    path.write_text(new_keys(None)[0].line)
    path.chmod(mode)
    for use in (lambda: read_signature("hmac-sha256", path), lambda: read_signer(path)):
        with pytest.raises(KeyFileError, match="chmod 600"):
            use()
    path.chmod(0o400)
    assert read_signer(path).prefix == ""


def test_a_list_of_publishers_that_others_can_change_is_not_used(tmp_path: Path) -> None:
    """Reading it is anybody's right; a line more would be a publisher more."""
    path = tmp_path / "publishers"
    path.write_text(new_keys("alerts")[1].line)
    for mode in (0o620, 0o602):
        path.chmod(mode)
        with pytest.raises(KeyFileError, match="chmod 644"):
            read_signature("ed25519", path)
    path.chmod(0o644)
    assert read_signature("ed25519", path).name.startswith("ed25519:")


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    """A pipe that nobody writes to would hold the start for ever; a device would fill the memory."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path in (pipe, tmp_path, Path("/dev/zero")):
        with pytest.raises(KeyFileError, match="is not a file"):
            read_signer(path)
