"""Where a node's cluster keys come from: a file that only its user can read, or the environment."""

from pathlib import Path

from cluster.key import ClusterKey, KeyTextError, parse_keys
from node.config import Config
from node.key_files import SECRET_FORBIDS, KeyFileError, read_key_text

FILE_BYTES_MAX = 16 * 1024
"""Eight keys and many words around them; more is some other file."""


def read_cluster_keys(config: Config) -> tuple[ClusterKey, ...]:
    """Read the keys that the settings name; none: the cluster is open. Raises KeyFileError."""
    return config.key if config.key_file is None else read_key_file(config.key_file)


def read_key_file(path: Path) -> tuple[ClusterKey, ...]:
    """Read a file of cluster keys. Raises KeyFileError, with the words to type where there are any."""
    try:
        return parse_keys(read_key_text(path, SECRET_FORBIDS, FILE_BYTES_MAX, f"dayfly keygen -o {path}"))
    except KeyTextError as error:
        raise KeyFileError(f"{path} {error}") from None
