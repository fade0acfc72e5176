"""The node's settings: one table (node/settings.py), read from four places, each value with its origin.

Flags win over `DAYFLY_*` in the environment, that over `dayfly.toml`, that over the defaults. A bad
value is an error that names its origin, the value and the fix; nothing is guessed.
"""

import contextlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.key import ClusterKey
from node import values
from node.key_files import SECRET_FORBIDS
from node.settings import SETTINGS, Setting

FILE_NAME = "dayfly.toml"
FILES = (Path(FILE_NAME), Path("~/.config/dayfly") / FILE_NAME, Path("/etc/dayfly") / FILE_NAME)
"""Where the file is looked for; the first one found counts."""


class ConfigError(ValueError):
    """A setting cannot be used. Says which, where it comes from, and what would be right."""


@dataclass(frozen=True, slots=True)
class Config:
    """What one node needs to know, parsed and checked. Units are in the names; secrets are their SHA-256."""

    http: tuple[str, int]
    peer: tuple[str, int]
    join: tuple[str, ...]
    cluster: str
    ttl_ms: int
    sync_interval_s: float
    mesh_max: int
    lan: bool
    key_file: Path | None
    key: tuple[ClusterKey, ...]
    open: bool
    multicast: tuple[str, int] | None
    name: str
    http_host: frozenset[str]
    http_cert: Path | None
    http_key: Path | None
    auth_user: str
    auth_password: bytes | None
    write_token: bytes | None
    read_token: bytes | None
    post_rate: float | None
    data_dir: Path | None
    records_max: int
    bytes_max: int
    validator: str
    validator_key_file: Path | None
    connections_max: int
    log_format: str
    log_level: str


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
        elif names := [n for n in setting.envs if n in environment]:
            text = environment[names[0]]
            texts = [t.strip() for t in text.split(",") if t.strip()] if setting.many else [text]
            gathered[setting.key] = [Origin(t, names[0]) for t in texts]
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
                # As of an unset variable: the node would be open, or forget, unasked.
                guards = setting.secret or setting.parse is values.path
                if guards and not origin.text and origin.source.startswith(("-", *setting.envs)):
                    raise ValueError(f"it is empty; leave it out, or give a {setting.metavar.lower()}")
                parsed.append(setting.parse(origin.text))
            except ValueError as error:
                raise ConfigError(f"{setting.name} (from {origin.source}): {error}") from None
        found[setting.key] = tuple(parsed) if setting.many else parsed[-1]
    _check_pairs(found, gathered)
    everywhere = "0.0.0.0" if found["lan"] else "127.0.0.1"  # noqa: S104 - only when the user says --lan
    for key in ("http", "peer"):
        host, port = found[key]
        defaulted = not host or gathered[key][-1].source == "default"
        found[key] = (everywhere if defaulted else host, port)
    given = {key: gathered[key][-1].source for key in ("key_file", "key", "open") if found[key]}
    if len(given) > 1:
        both = [f"{key.replace('_', '-')} (from {source})" for key, source in given.items()]
        raise ConfigError(f"{' and '.join(both)}: only one of them can be meant")
    if (found["validator"] == "md5") != (found["validator_key_file"] is None):
        source = gathered["validator"][-1].source
        due = "needs no" if found["validator"] == "md5" else "needs a"
        raise ConfigError(f"validator (from {source}): {found['validator']!r} {due} --validator-key-file")
    found["ttl_ms"], found["sync_interval_s"] = found.pop("ttl"), found.pop("sync_interval")
    found["http_host"] = frozenset(found["http_host"])
    return Config(**found)


def _check_pairs(found: Mapping[str, Any], gathered: Mapping[str, Sequence[Origin]]) -> None:
    """Refuse one of two settings that mean something only together."""
    for one, other in (
        ("auth_user", "auth_password"),
        ("auth_password", "auth_user"),
        ("http_key", "http_cert"),
    ):
        if found[one] and not found[other]:
            one_name, other_name = one.replace("_", "-"), other.replace("_", "-")
            source = gathered[one][-1].source
            raise ConfigError(f"{one_name} (from {source}): it needs --{other_name} beside it")


def _read_file(file: Path | None) -> tuple[dict[str, Any], Path | None]:
    path = _usual_file() if file is None else file
    if path is None:
        return {}, None
    try:
        if not path.is_file():
            raise ValueError("there is no such file")
        table = tomllib.loads(path.read_text())
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
    texts = {s.key: str(table.get(s.key, "")) for s in SETTINGS if s.secret}
    secret = next((key for key, text in texts.items() if text and not text.startswith("file:")), None)
    if secret is not None and mode & SECRET_FORBIDS:
        raise ConfigError(f"{path}: holds {secret} and is open to other users; type: chmod 600 {path}")
    unknown = sorted(set(table) - {s.key for s in SETTINGS})
    if unknown:
        known = ", ".join(s.key for s in SETTINGS)
        raise ConfigError(f"{path}: {unknown[0]!r} is no setting; there are {known}")
    return table, path


def _usual_file() -> Path | None:
    """Find the file; a home that is not known (a bare user id in a container) or not ours to see has none."""
    for path in FILES:
        with contextlib.suppress(ValueError, OSError):
            if (there := values.at_home(path)).is_file():
                return there
    return None


def _texts(setting: Setting, value: object, path: Path | None) -> list[str]:
    """Turn a TOML value into the text anyone would write on the command line."""
    values: list[object] = list(value) if isinstance(value, list) else [value]  # pyright: ignore[reportUnknownArgumentType] - TOML is untyped
    if len(values) != 1 and not setting.many:
        raise ConfigError(f"{setting.key} (from {path}): one value is due, not a list")
    for each in values:
        if not isinstance(each, str | int | float | bool):
            shown = "it" if setting.secret else repr(each)
            raise ConfigError(f"{setting.key} (from {path}): {shown} is not a text or number")
    return [str(each).lower() if isinstance(each, bool) else str(each) for each in values]
