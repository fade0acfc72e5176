"""What people write for a setting, as text, to the value it means. Pure, but for secrets read from a file.

Every function raises ValueError with the bad text and how it should look.
"""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path

from cluster.address import parse_address
from cluster.key import ClusterKey, parse_keys
from node.key_files import SECRET_FORBIDS

TTL_MS_MAX = 7 * 24 * 3600 * 1000
MESH_NODES_MIN, MESH_NODES_MAX = 4, 100
"""With fewer nodes there is no link to spare; with more, links pass what a node accepts (128) while
the cluster changes its shape."""

SYNC_INTERVAL_S_MIN = 1.0

SECRET_BYTES_MAX = 1024
"""Characters of a password or token: more than any generator makes; in base64 far below a head's 16 KiB."""


def duration_s(text: str) -> float:
    """Read `90`, `90s`, `15m`, `24h` or `2d` as seconds."""
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    unit = next((u for u in ("ms", "s", "m", "h", "d") if text.endswith(u)), "")
    number = text.removesuffix(unit)
    try:
        if not number or number != number.strip() or not (number[0].isdigit() and number.isascii()):
            raise ValueError
        value = float(number) * units.get(unit, 1.0)
    except ValueError:
        raise ValueError(f"{text!r} is not a duration; write for example 60s, 30m or 24h") from None
    if value > 1e10:
        raise ValueError(f"{text!r} is longer than anything here lasts")
    return value


def size_bytes(text: str) -> int:
    """Read `1000`, `64KiB`, `512MiB` or `2GiB` as a count of bytes."""
    units = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
    unit = next((u for u in units if text.endswith(u)), "")
    number = text.removesuffix(unit).strip()
    if not (number.isascii() and number.isdigit()) or len(number) > 12:
        raise ValueError(f"{text!r} is not a size; write for example 512MiB")
    return int(number) * units.get(unit, 1)


def ttl_ms(text: str) -> int:
    """Read the life of a record, 1 s to 7 days, as milliseconds."""
    ttl_ms = round(duration_s(text) * 1000)
    if not 1000 <= ttl_ms <= TTL_MS_MAX:
        raise ValueError(f"{text!r} is not between 1s and 7d")
    return ttl_ms


def sync_interval_s(text: str) -> float:
    """Read how often to reconcile at least, 1 s or more, as seconds."""
    interval_s = duration_s(text)
    if interval_s < SYNC_INTERVAL_S_MIN:
        raise ValueError(f"{text!r} is shorter than {SYNC_INTERVAL_S_MIN:.0f}s")
    return interval_s


def http_address(text: str) -> tuple[str, int]:
    """Read as `peer_address` does; also a bare port, as the original's `-httpport=8080`."""
    return peer_address(f":{text}" if text.isascii() and text.isdigit() else text)


def peer_address(text: str) -> tuple[str, int]:
    """Read `host:port`, or `:port` for the usual host (then ""; `load` fills it in)."""
    if not text.startswith(":") or ":" in text[1:]:
        return parse_address(text)
    port = text[1:]
    if not (port.isascii() and port.isdigit()) or len(port) > 5 or int(port) > 65535:
        raise ValueError(f"port {port!r} is not a number from 0 to 65535")
    return "", int(port)


def join_address(text: str) -> str:
    """Check the address of a node to find the cluster by."""
    _, port = parse_address(text)
    if port == 0:
        raise ValueError(f"{text!r}: nobody listens on port 0; write the peer port of a node")
    return text


def multicast_group(text: str) -> tuple[str, int] | None:
    """Read an IPv4 multicast group and port; `off` is None."""
    if text in ("", "off", "none", "false"):
        return None
    host, port = parse_address(text)
    octets = host.split(".")
    if len(octets) != 4 or not all(o.isdigit() and int(o) < 256 for o in octets):
        raise ValueError(f"{text!r} is not an IPv4 address and port")
    if not 224 <= int(octets[0]) <= 239:
        raise ValueError(f"{text!r} is not a multicast group; those are 224.0.0.0 to 239.255.255.255")
    if port == 0:
        raise ValueError(f"{text!r}: a group needs a port other than 0")
    return host, port


def flag(text: str) -> bool:
    """Read a yes or no."""
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off", ""):
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def name(text: str) -> str:
    """Check a name: at most 64 printable bytes, or empty."""
    if not text.isprintable() or len(text.encode()) > 64:  # a lone surrogate is not printable
        raise ValueError(f"{text!r} is not a name of at most 64 printable bytes")
    return text


def cluster(text: str) -> str:
    """Check the name of a cluster: as a name, but not empty."""
    if not text:
        raise ValueError("a cluster needs a name")
    return name(text)


def host_name(text: str) -> str:
    """Check a host name as it stands in a request's Host header, but without the port; lower its case."""
    if not text.isprintable() or not text or set(text) & set(" []:/?#@"):
        raise ValueError(f"{text!r} is not a host name; write it without a port, for example dayfly.example")
    return text.lower()


def positive(text: str) -> int:
    """Read a count of at least 1."""
    if not (text.isascii() and text.isdigit()) or len(text) > 12 or int(text) < 1:
        raise ValueError(f"{text!r} is not a number of at least 1")
    return int(text)


def mesh_max(text: str) -> int:
    """Read the size of the largest full mesh: at least `MESH_NODES_MIN`, and no more than links allow."""
    count = positive(text)
    if not MESH_NODES_MIN <= count <= MESH_NODES_MAX:
        raise ValueError(f"{text!r} is not a number from {MESH_NODES_MIN} to {MESH_NODES_MAX}")
    return count


def bytes_max(text: str) -> int:
    """Read the size of a store: at least one largest record."""
    size = size_bytes(text)
    if size < 1024 * 1024:
        raise ValueError(f"{text!r} is less than 1MiB, the largest record")
    return size


def keys(text: str) -> tuple[ClusterKey, ...]:
    """Read the text of a key file; empty: none."""
    return parse_keys(text) if text else ()


def path(text: str) -> Path | None:
    """Read the path of a file or directory; `~` is the user's home, empty is None."""
    if "\0" in text:
        raise ValueError(f"{text!r} is not a path")
    return at_home(Path(text)) if text else None


def at_home(path: Path) -> Path:
    """Put the user's home, or another's, in the place of a first `~` or `~user`."""
    try:
        return path.expanduser()
    except RuntimeError:
        user = path.parts[0]
        raise ValueError(f"{str(path)!r}: no home is known for {user!r}; write the whole path") from None


def user(text: str) -> str:
    """Check a user's name for Basic auth, which ends it at the first colon; empty is none."""
    if not text.isprintable() or ":" in text or len(text.encode()) > 64:
        raise ValueError(f"{text!r} is not a user's name of at most 64 printable bytes without a colon")
    return text


def secret(text: str) -> bytes | None:
    """Read a password or token as its SHA-256; empty is None.

    Only the hash is kept: a comparison needs no more, and nothing that shows a Config shows the secret.
    """
    return hashlib.sha256(secret_text(text).encode()).digest() if text else None


def secret_text(text: str) -> str:
    """Check a password or token, read from a file if the text is `file:PATH`.

    Raises:
        ValueError: it has other characters, or the file cannot be read or is open to other users; says
            so without showing it.
    """
    if text.startswith("file:"):
        text = _first_line(at_home(Path(text.removeprefix("file:"))))
    if not text or not (text.isascii() and text.isprintable()) or len(text) > SECRET_BYTES_MAX:
        raise ValueError(f"a secret is 1 to {SECRET_BYTES_MAX} printable ASCII characters; this is not")
    return text


def _first_line(file: Path) -> str:
    try:
        with file.open(encoding="ascii", errors="replace") as lines:
            mode = file.stat().st_mode if file.is_file() else 0  # a pipe from a shell has one reader
            line = lines.readline(SECRET_BYTES_MAX + 2).removesuffix("\n")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ValueError(f"the file {str(file)!r} cannot be read: {why}") from None
    if mode & SECRET_FORBIDS:
        raise ValueError(f"the file {str(file)!r} is open to other users; type: chmod 600 {file}")
    return line


def post_rate(text: str) -> float | None:
    """Read records a second for one client's address: `auto` is None, `off` has no end."""
    if text == "auto":
        return None
    return math.inf if text in ("off", "none", "false") else float(positive(text))


def choice(*words: str) -> Callable[[str], str]:
    """Make the check for one of several words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"{text!r} is not one of {', '.join(words)}")
        return text

    return parse
