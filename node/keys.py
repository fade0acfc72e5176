"""Where a node's keys come from: a file that only its user can read, or the environment."""

import stat
from pathlib import Path

from cluster.key import ClusterKey, KeyTextError, parse_keys
from node.config import Config

FILE_BYTES_MAX = 16 * 1024
"""Eight keys and many words around them; more is some other file."""


class KeysUnusable(Exception):
    """The key file cannot be used; says where and what to do. Its user's fault; what was in force stays."""


def read_keys(config: Config) -> tuple[ClusterKey, ...]:
    """Read the keys that the settings name; none: the cluster is open. Raises KeysUnusable."""
    return config.key if config.key_file is None else read_key_file(config.key_file)


def read_key_file(path: Path) -> tuple[ClusterKey, ...]:
    """Read a key file. Raises KeysUnusable, with the words to type where there are any."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise KeysUnusable(f"{path} is not a file; give the key itself in DAYFLY_KEY")
        if mode & 0o077:
            raise KeysUnusable(
                f"{path} is open to other users (mode {stat.S_IMODE(mode):04o}); type: chmod 600 {path}"
            )
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1)
        if len(text) > FILE_BYTES_MAX:
            raise KeysUnusable(f"{path} is no key file: it has more than {FILE_BYTES_MAX} bytes")
        return parse_keys(text.decode())
    except FileNotFoundError:
        raise KeysUnusable(f"{path}: there is no such file; make it with: dayfly keygen -o {path}") from None
    except OSError as error:
        raise KeysUnusable(f"{path}: {error.strerror or error}") from None
    except KeyTextError as error:
        raise KeysUnusable(f"{path} {error}") from None
    except ValueError:  # not UTF-8; its words would quote the bytes
        raise KeysUnusable(f"{path} is no key file: it is not text") from None
