"""The table of settings: each row makes a flag, a name in the environment, a key of the file, a line of the
help and a line of `--print-config`. What is done with it is config's (node/config.py)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from node import values

ENV_PREFIX = "DAYFLY_"


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
        secret: whether its text is shown to nobody.
        alias: a further name in the environment, the original's; ours wins.
        flag: whether it can be given on the command line, which anybody on the machine sees.
    """

    name: str
    default: str
    parse: Callable[[str], Any]
    help: str
    metavar: str = ""
    many: bool = False
    alias: str = ""
    secret: bool = False
    flag: bool = True

    @property
    def key(self) -> str:
        """The name in Python, in the file, and lower-case in the environment."""
        return self.name.replace("-", "_")

    @property
    def env(self) -> str:
        """The name in the environment."""
        return ENV_PREFIX + self.key.upper()

    @property
    def envs(self) -> tuple[str, ...]:
        """All names in the environment, the strongest first."""
        return (self.env, self.alias) if self.alias else (self.env,)


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
    Setting("key-file", "", values.path, "File with the cluster key; all links are then encrypted.", "FILE"),
    Setting(
        "key", "", values.keys, "The cluster key itself, in place of a file.", "KEY", secret=True, flag=False
    ),
    Setting("open", "false", values.flag, "Links without a key are meant: do not warn of them."),
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
        "http-cert",
        "",
        values.path,
        "PEM file with a certificate and its chain: clients are served by HTTPS only.",
        "PATH",
    ),
    Setting(
        "http-key",
        "",
        values.path,
        "PEM file with the certificate's private key; default: it is in --http-cert.",
        "PATH",
    ),
    Setting(
        "auth-user",
        "",
        values.user,
        "User that may post and read, by Basic auth; then nobody else may post.",
        "NAME",
        alias="AUTH_USER",
    ),
    Setting(
        "auth-password",
        "",
        values.secret,
        "That user's password; file:PATH reads it from a file.",
        "SECRET",
        alias="AUTH_PASSWORD",
        secret=True,
    ),
    Setting(
        "write-token",
        "",
        values.secret,
        "Bearer token that may post and read; then nobody else may post; or file:PATH.",
        "SECRET",
        secret=True,
    ),
    Setting(
        "read-token",
        "",
        values.secret,
        "Bearer token that may read; then nobody else may, but who may post by one; or file:PATH.",
        "SECRET",
        secret=True,
    ),
    Setting(
        "post-rate",
        "auto",
        values.post_rate,
        "Records a second from one client's address; auto: 5000, and any number from this machine.",
        "COUNT",
    ),
    Setting(
        "data-dir",
        "",
        values.path,
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
        "validator",
        "md5",
        values.choice("md5", "hmac-sha256", "ed25519"),
        "What makes a record's signature good; the same on every node.",
        "KIND",
    ),
    Setting(
        "validator-key-file",
        "",
        values.path,
        "The secret (hmac-sha256) or the public keys (ed25519) for it.",
        "PATH",
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
