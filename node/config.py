"""The node's settings: one table, read from four places, each value with its origin.

Flags win over `DAYFLY_*` in the environment, that over `dayfly.toml`, that over the defaults. The table
makes the flags, the names in the environment, the file's keys, the help and `--print-config`. A bad
value is an error that names its origin, the value and the fix; nothing is guessed.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.address import parse_address

ENV_PREFIX = "DAYFLY_"
FILE_NAME = "dayfly.toml"
FILES = (Path(FILE_NAME), Path("~/.config/dayfly") / FILE_NAME, Path("/etc/dayfly") / FILE_NAME)
"""Where the file is looked for; the first one found counts."""

TTL_MS_MAX = 7 * 24 * 3600 * 1000
SYNC_INTERVAL_S_MIN = 1.0


class ConfigError(ValueError):
    """A setting cannot be used. Says which, where it comes from, and what would be right."""


@dataclass(frozen=True, slots=True)
class Config:
    """What one node needs to know, parsed and checked. Units are in the names."""

    http: tuple[str, int]
    peer: tuple[str, int]
    join: tuple[str, ...]
    cluster: str
    ttl_ms: int
    sync_interval_s: float
    lan: bool
    multicast: tuple[str, int] | None
    name: str
    http_host: frozenset[str]
    records_max: int
    bytes_max: int
    log_format: str
    log_level: str


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table.

    Attributes:
        name: of the flag (`--sync-interval`), of the file's key (`sync_interval`) and, in capitals and
            with the prefix, of the environment variable.
        default: as text, as anyone would write it.
        parse: text to value; raises ValueError with what is wrong and how it should look.
        help: one line.
        metavar: how the value looks in `--help`; empty for a switch.
        many: whether it can be given several times (in the environment: separated by commas).
    """

    name: str
    default: str
    parse: Callable[[str], Any]
    help: str
    metavar: str = ""
    many: bool = False

    @property
    def key(self) -> str:
        """The name in Python, in the file, and lower-case in the environment."""
        return self.name.replace("-", "_")

    @property
    def env(self) -> str:
        """The name in the environment."""
        return ENV_PREFIX + self.key.upper()


def parse_duration_s(text: str) -> float:
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


def parse_size(text: str) -> int:
    """Read `1000`, `64KiB`, `512MiB` or `2GiB` as a count of bytes."""
    units = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
    unit = next((u for u in units if text.endswith(u)), "")
    number = text.removesuffix(unit).strip()
    if not (number.isascii() and number.isdigit()) or len(number) > 12:
        raise ValueError(f"{text!r} is not a size; write for example 512MiB")
    return int(number) * units.get(unit, 1)


def _ttl_ms(text: str) -> int:
    ttl_ms = int(parse_duration_s(text) * 1000)
    if not 1000 <= ttl_ms <= TTL_MS_MAX:
        raise ValueError(f"{text!r} is not between 1s and 7d")
    return ttl_ms


def _sync_interval_s(text: str) -> float:
    interval_s = parse_duration_s(text)
    if interval_s < SYNC_INTERVAL_S_MIN:
        raise ValueError(f"{text!r} is shorter than {SYNC_INTERVAL_S_MIN:.0f}s")
    return interval_s


def _http(text: str) -> tuple[str, int]:
    """Also a bare port, as the original's `-httpport=8080`; the host is then filled in by `load`."""
    if text.isascii() and text.isdigit():
        text = f":{text}"
    return ("", parse_address("x" + text)[1]) if text.startswith(":") else parse_address(text)


def _peer(text: str) -> tuple[str, int]:
    return ("", parse_address("x" + text)[1]) if text.startswith(":") else parse_address(text)


def _join(text: str) -> str:
    _, port = parse_address(text)
    if port == 0:
        raise ValueError(f"{text!r}: nobody listens on port 0; write the peer port of a node")
    return text


def _multicast(text: str) -> tuple[str, int] | None:
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


def _flag(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off", ""):
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def _name(text: str) -> str:
    if len(text.encode()) > 64 or not text.isprintable():
        raise ValueError(f"{text!r} is not a name of at most 64 printable bytes")
    return text


def _cluster(text: str) -> str:
    if not text:
        raise ValueError("a cluster needs a name")
    return _name(text)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 12 or int(text) < 1:
        raise ValueError(f"{text!r} is not a number of at least 1")
    return int(text)


def _bytes_max(text: str) -> int:
    size = parse_size(text)
    if size < 1024 * 1024:
        raise ValueError(f"{text!r} is less than 1MiB, the largest record")
    return size


def _choice(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"{text!r} is not one of {', '.join(words)}")
        return text

    return parse


SETTINGS = (
    Setting(
        "http", "127.0.0.1:8080", _http, "Where clients reach this node; 0.0.0.0 with --lan.", "HOST:PORT"
    ),
    Setting("peer", "127.0.0.1:0", _peer, "Where peers reach this node; port 0: any free one.", "HOST:PORT"),
    Setting(
        "join", "", _join, "Peer port of a node to find the cluster by; repeat it.", "HOST:PORT", many=True
    ),
    Setting("cluster", "dayfly", _cluster, "Name of the cluster; others are not linked with.", "NAME"),
    Setting("ttl", "24h", _ttl_ms, "How long a record lives; the same on every node.", "DURATION"),
    Setting("sync-interval", "20s", _sync_interval_s, "Longest time until loss is repaired.", "DURATION"),
    Setting("lan", "false", _flag, "Listen on all interfaces and announce this node on the local network."),
    Setting("multicast", "239.255.77.77:7946", _multicast, "Group for beacons; off: none.", "GROUP:PORT"),
    Setting("name", "", _name, "What this node calls itself; default: made up.", "NAME"),
    Setting(
        "http-host", "", str, "Host name clients may use besides addresses; repeat it.", "NAME", many=True
    ),
    Setting("records-max", "1000000", _positive, "Most records held; then new ones are refused.", "COUNT"),
    Setting("bytes-max", "512MiB", _bytes_max, "Most bytes of text held; then new ones are refused.", "SIZE"),
    Setting(
        "log-format", "auto", _choice("auto", "text", "json"), "Log lines; auto: text on a terminal.", "KIND"
    ),
    Setting(
        "log-level",
        "info",
        _choice("debug", "info", "warning", "error"),
        "Least level that is logged.",
        "LEVEL",
    ),
)


@dataclass(frozen=True, slots=True)
class Origin:
    """A setting's text and where it comes from, for `--print-config` and errors."""

    text: str
    source: str


def gather(
    flags: Mapping[str, Sequence[str]], environment: Mapping[str, str], file: Path | None
) -> dict[str, list[Origin]]:
    """Collect every setting's text by precedence.

    Args:
        flags: by key, the values given on the command line.
        environment: the process's environment.
        file: a file to read, or None to look in the usual places.

    Raises:
        ConfigError: the file cannot be read or holds something unknown.
    """
    table, path = _read_file(file)
    gathered: dict[str, list[Origin]] = {}
    for setting in SETTINGS:
        if flags.get(setting.key):
            gathered[setting.key] = [Origin(t, f"--{setting.name}") for t in flags[setting.key]]
        elif setting.env in environment:
            text = environment[setting.env]
            texts = [t.strip() for t in text.split(",") if t.strip()] if setting.many else [text]
            gathered[setting.key] = [Origin(t, setting.env) for t in texts]
        elif setting.key in table:
            gathered[setting.key] = [Origin(t, f"{path}") for t in _texts(setting, table[setting.key], path)]
        elif setting.many:
            gathered[setting.key] = []
        else:
            gathered[setting.key] = [Origin(setting.default, "default")]
    return gathered


def load(gathered: Mapping[str, Sequence[Origin]]) -> Config:
    """Parse and check what was gathered.

    Raises:
        ConfigError: names the origin, the value and the fix.
    """
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        parsed: list[Any] = []
        for origin in gathered[setting.key]:
            try:
                parsed.append(setting.parse(origin.text))
            except ValueError as error:
                raise ConfigError(f"{setting.name} (from {origin.source}): {error}") from None
        values[setting.key] = tuple(parsed) if setting.many else parsed[-1]
    everywhere = "0.0.0.0" if values["lan"] else "127.0.0.1"  # noqa: S104 - only when the user says --lan
    for key in ("http", "peer"):
        host, port = values[key]
        defaulted = not host or gathered[key][-1].source == "default"
        values[key] = (everywhere if defaulted else host, port)
    return Config(
        http=values["http"],
        peer=values["peer"],
        join=values["join"],
        cluster=values["cluster"],
        ttl_ms=values["ttl"],
        sync_interval_s=values["sync_interval"],
        lan=values["lan"],
        multicast=values["multicast"],
        name=values["name"],
        http_host=frozenset(host.lower() for host in values["http_host"]),
        records_max=values["records_max"],
        bytes_max=values["bytes_max"],
        log_format=values["log_format"],
        log_level=values["log_level"],
    )


def _read_file(file: Path | None) -> tuple[dict[str, Any], Path | None]:
    paths = [file] if file is not None else [p.expanduser() for p in FILES]
    path = next((p for p in paths if p.is_file()), None)
    if path is None:
        if file is not None:
            raise ConfigError(f"{file}: there is no such file")
        return {}, None
    try:
        table = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
    unknown = sorted(set(table) - {s.key for s in SETTINGS})
    if unknown:
        known = ", ".join(s.key for s in SETTINGS)
        raise ConfigError(f"{path}: {unknown[0]!r} is no setting; there are {known}")
    return table, path


def _texts(setting: Setting, value: object, path: Path | None) -> list[str]:
    """Turn a TOML value into the text anyone would write on the command line."""
    values: list[object] = list(value) if isinstance(value, list) else [value]  # pyright: ignore[reportUnknownArgumentType] - TOML is untyped
    if len(values) != 1 and not setting.many:
        raise ConfigError(f"{setting.key} (from {path}): one value is due, not a list")
    for each in values:
        if not isinstance(each, str | int | float | bool):
            raise ConfigError(f"{setting.key} (from {path}): {each!r} is not a text or number")
    return [str(each).lower() if isinstance(each, bool) else str(each) for each in values]
