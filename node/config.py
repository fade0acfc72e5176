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

from node import values

ENV_PREFIX = "DAYFLY_"
FILE_NAME = "dayfly.toml"
FILES = (Path(FILE_NAME), Path("~/.config/dayfly") / FILE_NAME, Path("/etc/dayfly") / FILE_NAME)
"""Where the file is looked for; the first one found counts."""


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
    mesh_max: int
    lan: bool
    multicast: tuple[str, int] | None
    name: str
    http_host: frozenset[str]
    data_dir: Path | None
    records_max: int
    bytes_max: int
    connections_max: int
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


SETTINGS = (
    Setting(
        "http",
        "127.0.0.1:8080",
        values.http_address,
        "Where clients reach this node; 0.0.0.0 with --lan.",
        "HOST:PORT",
    ),
    Setting(
        "peer",
        "127.0.0.1:0",
        values.peer_address,
        "Where peers reach this node; port 0: any free one.",
        "HOST:PORT",
    ),
    Setting(
        "join",
        "",
        values.join_address,
        "Peer port of a node to find the cluster by; repeat it.",
        "HOST:PORT",
        many=True,
    ),
    Setting(
        "cluster",
        "dayfly",
        values.cluster,
        "Name of the cluster; others are not linked with.",
        "NAME",
    ),
    Setting(
        "ttl",
        "24h",
        values.ttl_ms,
        "How long a record lives; the same on every node.",
        "DURATION",
    ),
    Setting(
        "sync-interval",
        "20s",
        values.sync_interval_s,
        "Longest time until loss is repaired.",
        "DURATION",
    ),
    Setting(
        "mesh-max",
        "64",
        values.mesh_max,
        "Nodes up to which each is linked with all others.",
        "COUNT",
    ),
    Setting(
        "lan",
        "false",
        values.flag,
        "Listen on all interfaces and announce this node on the local network.",
    ),
    Setting(
        "multicast",
        "239.255.77.77:7946",
        values.multicast_group,
        "Group for beacons; off: none.",
        "GROUP:PORT",
    ),
    Setting(
        "name",
        "",
        values.name,
        "What this node calls itself; default: made up.",
        "NAME",
    ),
    Setting(
        "http-host",
        "",
        values.host_name,
        "Host name clients may use besides addresses; repeat it.",
        "NAME",
        many=True,
    ),
    Setting(
        "data-dir",
        "",
        values.data_dir,
        "Directory that keeps records over restarts; default: memory only.",
        "PATH",
    ),
    Setting(
        "records-max",
        "1000000",
        values.positive,
        "Most records held; then new ones are refused.",
        "COUNT",
    ),
    Setting(
        "bytes-max",
        "512MiB",
        values.bytes_max,
        "Most bytes of text held; then new ones are refused.",
        "SIZE",
    ),
    Setting(
        "connections-max",
        "512",
        values.positive,
        "Most HTTP connections open at once; three quarters of them may be feeds.",
        "COUNT",
    ),
    Setting(
        "log-format",
        "auto",
        values.choice("auto", "text", "json"),
        "Log lines; auto: text on a terminal.",
        "KIND",
    ),
    Setting(
        "log-level",
        "info",
        values.choice("debug", "info", "warning", "error"),
        "Least level logged.",
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
    found: dict[str, Any] = {}
    for setting in SETTINGS:
        parsed: list[Any] = []
        for origin in gathered[setting.key]:
            try:
                parsed.append(setting.parse(origin.text))
            except ValueError as error:
                raise ConfigError(f"{setting.name} (from {origin.source}): {error}") from None
        found[setting.key] = tuple(parsed) if setting.many else parsed[-1]
    everywhere = "0.0.0.0" if found["lan"] else "127.0.0.1"  # noqa: S104 - only when the user says --lan
    for key in ("http", "peer"):
        host, port = found[key]
        defaulted = not host or gathered[key][-1].source == "default"
        found[key] = (everywhere if defaulted else host, port)
    return Config(
        http=found["http"],
        peer=found["peer"],
        join=found["join"],
        cluster=found["cluster"],
        ttl_ms=found["ttl"],
        sync_interval_s=found["sync_interval"],
        mesh_max=found["mesh_max"],
        lan=found["lan"],
        multicast=found["multicast"],
        name=found["name"],
        http_host=frozenset(found["http_host"]),
        data_dir=found["data_dir"],
        records_max=found["records_max"],
        bytes_max=found["bytes_max"],
        connections_max=found["connections_max"],
        log_format=found["log_format"],
        log_level=found["log_level"],
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
