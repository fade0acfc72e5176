"""Settings: which source wins, which values pass, and what a refusal says."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import Any

import pytest

from cluster.key import ClusterKey
from node import values
from node.config import Config, ConfigError, gather, load
from node.connect import BadOption, NodeAddress
from node.settings import SETTINGS
from node.values import TTL_MS_MAX

ONE, TWO = ClusterKey(b"1" * 32), ClusterKey(b"2" * 32)

KINDS: dict[str, tuple[str, str, str, Any]] = {
    "http": ("10.0.0.1:1", "10.0.0.2:2", "10.0.0.3:3", ("10.0.0.3", 3)),
    "peer": ("10.0.0.1:1", "10.0.0.2:2", "[::1]:3", ("::1", 3)),
    "join": ("a:1", "b:2", "c:3", ("c:3",)),
    "cluster": ("red", "green", "blue", "blue"),
    "ttl": ("1h", "2h", "3h", 3 * 3600 * 1000),
    "sync_interval": ("1s", "2s", "1500ms", 1.5),
    "mesh_max": ("4", "100", "9", 9),
    "lan": ("false", "false", "true", True),
    "key_file": ("one", "/two", "/three.key", Path("/three.key")),
    "key": (ONE.line, TWO.line, f"{TWO.line}\n{ONE.line}", (TWO, ONE)),
    "open": ("false", "false", "true", True),
    "multicast": ("224.0.0.9:1", "224.0.0.9:2", "239.0.0.9:3", ("239.0.0.9", 3)),
    "name": ("ash", "birch", "cedar", "cedar"),
    "http_host": ("a.example", "b.example", "C.example", frozenset({"c.example"})),
    "http_cert": ("a.pem", "/b.pem", "c.pem", Path("c.pem")),
    "http_key": ("a.pem", "/b.pem", "c.pem", Path("c.pem")),
    "auth_user": ("ann", "bob", "cy", "cy"),
    "auth_password": ("a", "b", "c c", sha256(b"c c").digest()),
    "write_token": ("a", "b", "c:c", sha256(b"c:c").digest()),
    "read_token": ("a", "b", "c", sha256(b"c").digest()),
    "post_rate": ("auto", "1", "off", inf),
    "data_dir": ("one", "/two", "/three/3", Path("/three/3")),
    "records_max": ("1", "2", "3", 3),
    "connections_max": ("4", "5", "6", 6),
    "bytes_max": ("1MiB", "2MiB", "3MiB", 3 << 20),
    "validator": ("md5", "ed25519", "hmac-sha256", "hmac-sha256"),
    "validator_key_file": ("one", "/two", "/three/3", Path("/three/3")),
    "log_format": ("text", "text", "json", "json"),
    "log_level": ("debug", "info", "error", "error"),
}
"""Per setting: three good texts, and what the third means."""

TOGETHER: dict[str, dict[str, Sequence[str]]] = {
    "http_key": {"http_cert": ["x"]},
    "auth_user": {"auth_password": ["x"]},
    "auth_password": {"auth_user": ["x"]},
    "validator": {"validator_key_file": ["f"]},
    "validator_key_file": {"validator": ["ed25519"]},
}
"""Settings that only go with another one."""

ATTRIBUTES = {"ttl": "ttl_ms", "sync_interval": "sync_interval_s"}


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in an empty directory, without a home, so that no file is found by accident."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def load_from(
    flags: dict[str, Sequence[str]] | None = None,
    environment: dict[str, str] | None = None,
    file: Path | None = None,
) -> Config:
    return load(gather(flags or {}, environment or {}, file))


def refusal(
    flags: dict[str, Sequence[str]] | None = None,
    environment: dict[str, str] | None = None,
    file: Path | None = None,
) -> str:
    with pytest.raises(ConfigError) as caught:
        load_from(flags, environment, file)
    return str(caught.value)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


# --- where a value comes from ---------------------------------------------------------------------------


def test_every_setting_is_tried_here() -> None:
    """A new setting comes with a row in the table above."""
    assert set(KINDS) == {s.key for s in SETTINGS}


@pytest.mark.parametrize("key", KINDS)
def test_flag_beats_environment_beats_file_beats_default(key: str, tmp_path: Path) -> None:
    """The nearer to the start of the process, the stronger; every setting alike, with its origin told."""
    one, two, three, meaning = KINDS[key]
    setting = next(s for s in SETTINGS if s.key == key)
    file = write(tmp_path / "f.toml", f'{key} = "{one}"\n')
    environment = {setting.env: two}
    steps = [
        (gather({key: [three]}, environment, file), three, f"--{setting.name}"),
        (gather({}, environment, file), two, setting.env),
        (gather({}, {}, file), one, str(file)),
    ]
    for gathered, text, source in steps:
        assert [(o.text, o.source) for o in gathered[key]] == [(text, source)]
    defaults = gather({}, {}, None)[key]
    assert [(o.text, o.source) for o in defaults] == ([] if setting.many else [(setting.default, "default")])
    together = gather({key: [three]} | TOGETHER.get(key, {}), {}, None)
    assert getattr(load(together), ATTRIBUTES.get(key, key)) == meaning


def test_without_anything_a_node_stays_on_this_machine() -> None:
    """The defaults: loopback only, 24 hours, repaired within 20 s."""
    assert load_from() == Config(
        http=("127.0.0.1", 8080),
        peer=("127.0.0.1", 0),
        join=(),
        cluster="dayfly",
        ttl_ms=24 * 3600 * 1000,
        sync_interval_s=20.0,
        mesh_max=64,
        lan=False,
        key_file=None,
        key=(),
        open=False,
        multicast=("239.255.77.77", 7946),
        name="",
        http_host=frozenset(),
        http_cert=None,
        http_key=None,
        auth_user="",
        auth_password=None,
        write_token=None,
        read_token=None,
        post_rate=None,
        data_dir=None,
        records_max=1_000_000,
        connections_max=512,
        bytes_max=512 << 20,
        validator="md5",
        validator_key_file=None,
        log_format="auto",
        log_level="info",
    )


def test_lan_opens_default_hosts_and_leaves_given_ones() -> None:
    """--lan answers "which interfaces?" only where nobody else has."""
    lan: dict[str, Sequence[str]] = {"lan": ["true"]}
    opened = load_from(lan)
    assert (opened.http, opened.peer) == (("0.0.0.0", 8080), ("0.0.0.0", 0))  # noqa: S104 - it is the test
    ports = load_from(lan | {"http": ["9000"], "peer": [":9001"]})
    assert (ports.http, ports.peer) == (("0.0.0.0", 9000), ("0.0.0.0", 9001))  # noqa: S104
    fixed = load_from(lan | {"http": ["127.0.0.1:9000"], "peer": ["10.0.0.1:9001"]})
    assert (fixed.http, fixed.peer) == (("127.0.0.1", 9000), ("10.0.0.1", 9001))
    assert opened == replace(load_from(), lan=True, http=opened.http, peer=opened.peer)


@pytest.mark.parametrize("text", ["8081", ":8081"])
def test_a_bare_port_keeps_the_usual_host(text: str) -> None:
    """The original was given only a port."""
    assert load_from({"http": [text]}).http == ("127.0.0.1", 8081)


def test_a_setting_that_can_be_given_often_takes_all_of_one_source() -> None:
    """Flags are repeated, the environment separates by commas, the file has a list."""
    assert load_from({"join": ["a:1", "b:2"]}, {"DAYFLY_JOIN": "c:3"}).join == ("a:1", "b:2")
    assert load_from(environment={"DAYFLY_JOIN": " a:1, b:2,"}).join == ("a:1", "b:2")
    assert load_from(environment={"DAYFLY_JOIN": ""}).join == ()
    assert load_from(file=write(Path("f.toml"), 'join = ["a:1", "b:2"]')).join == ("a:1", "b:2")
    assert load_from(file=write(Path("f.toml"), 'join = "a:1"')).join == ("a:1",)
    assert load_from(file=write(Path("f.toml"), "join = []")).join == ()


def test_a_file_may_use_tomls_own_types() -> None:
    """Numbers and truth values need no quotes."""
    config = load_from(
        file=write(Path("f.toml"), "ttl = 3600\nlan = true\nrecords_max = 5\nsync_interval = 2.5")
    )
    assert (config.ttl_ms, config.lan, config.records_max, config.sync_interval_s) == (
        3_600_000,
        True,
        5,
        2.5,
    )


def test_the_file_of_the_working_directory_comes_before_the_users() -> None:
    """One file counts, the nearest; the others are not read at all."""
    home = write(Path("home/.config/dayfly/dayfly.toml"), 'name = "far"\nttl = "1h"')
    assert load_from().name == "far"
    near = write(Path("dayfly.toml"), 'name = "near"')
    config = load_from()
    assert (config.name, config.ttl_ms) == ("near", 24 * 3600 * 1000)
    assert load_from(file=home).name == "far"
    assert gather({}, {}, None)["name"][0].source == str(near)


def test_who_has_no_home_has_no_file_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under a bare user id in a container: a node starts, and only a path that needs a home is refused."""
    monkeypatch.setenv("HOME", "~")  # of which Python says what it says with neither HOME nor a passwd entry
    assert load_from().name == ""
    assert "no home is known for '~'" in refusal({"data_dir": ["~/dayfly"]})
    assert "no home is known for '~'" in refusal({"read_token": ["file:~/token"]})
    monkeypatch.setenv("HOME", f"/{'x' * 300}")  # like another user's home, one that cannot be looked into
    assert load_from().name == ""


@pytest.mark.parametrize("text", ["off", "none", "false", ""])
def test_multicast_can_be_switched_off(text: str) -> None:
    """No group: no beacons."""
    assert load_from({"multicast": [text]}).multicast is None


# --- what is refused ------------------------------------------------------------------------------------

BAD: list[tuple[str, str, str]] = [
    ("http", "localhost", "host:port"),
    ("http", "", "names no host"),
    ("http", "127.0.0.1:", "host:port"),
    ("http", "127.0.0.1:65536", "0 to 65535"),
    ("http", "65536", "0 to 65535"),
    ("http", ":http", "0 to 65535"),
    ("http", "127.0.0.1:-1", "0 to 65535"),
    ("http", "::1:8080", "[address]:port"),
    ("http", "[::1", "[address]:port"),
    ("peer", "9000", "host:port"),
    ("peer", ":99999", "0 to 65535"),
    ("peer", ":" + "9" * 5000, "0 to 65535"),
    ("join", "node", "host:port"),
    ("join", "node:0", "peer port"),
    ("cluster", "", "needs a name"),
    ("cluster", "a\nb", "64 printable bytes"),
    ("cluster", "é" * 33, "64 printable bytes"),
    ("name", "\x1b[31m", "64 printable bytes"),
    ("name", "a" * 65, "64 printable bytes"),
    ("name", "\udc80", "64 printable bytes"),
    ("ttl", "999ms", "between 1s and 7d"),
    ("ttl", "0", "between 1s and 7d"),
    ("ttl", f"{TTL_MS_MAX + 1}ms", "between 1s and 7d"),
    ("ttl", "-1s", "60s, 30m or 24h"),
    ("ttl", "", "60s, 30m or 24h"),
    ("ttl", "h", "60s, 30m or 24h"),
    ("ttl", "1 h", "60s, 30m or 24h"),
    ("ttl", "1w", "60s, 30m or 24h"),
    ("ttl", "1h30m", "60s, 30m or 24h"),
    ("ttl", "inf", "60s, 30m or 24h"),
    ("ttl", "nan", "60s, 30m or 24h"),
    ("ttl", "\u0661h", "60s, 30m or 24h"),
    ("ttl", "1e999", "longer than"),
    ("sync-interval", "999ms", "shorter than 1s"),
    ("sync-interval", "soon", "60s, 30m or 24h"),
    ("mesh-max", "3", "from 4 to 100"),
    ("mesh-max", "101", "from 4 to 100"),
    ("mesh-max", "many", "'many' is not a number"),
    ("lan", "maybe", "true nor false"),
    ("multicast", "239.255.77.77", "host:port"),
    ("multicast", "127.0.0.1:7946", "224.0.0.0 to 239.255.255.255"),
    ("multicast", "223.255.255.255:1", "224.0.0.0 to 239.255.255.255"),
    ("multicast", "240.0.0.0:1", "224.0.0.0 to 239.255.255.255"),
    ("multicast", "239.255.77:7946", "IPv4 address"),
    ("multicast", "239.256.0.0:7946", "IPv4 address"),
    ("multicast", "group:7946", "IPv4 address"),
    ("multicast", "239.255.77.77:0", "port other than 0"),
    ("http-host", "", "without a port"),
    ("http-host", "node.example:8080", "without a port"),
    ("http-host", "http://node.example", "without a port"),
    ("http-host", "node example", "without a port"),
    ("http-host", "no\tde", "without a port"),
    ("http-cert", "a\0", "is not a path"),
    ("data-dir", "~nosuchuser/x", "no home is known for '~nosuchuser'"),
    ("auth-user", "a:b", "without a colon"),
    ("auth-user", "a\n", "without a colon"),
    ("post-rate", "0", "at least 1"),
    ("post-rate", "many", "at least 1"),
    ("records-max", "0", "at least 1"),
    ("records-max", "-1", "at least 1"),
    ("records-max", "1e6", "at least 1"),
    ("records-max", "9" * 13, "at least 1"),
    ("bytes-max", "1048575", "1MiB"),
    ("bytes-max", "1023KiB", "1MiB"),
    ("bytes-max", "512MB", "512MiB"),
    ("bytes-max", "MiB", "512MiB"),
    ("bytes-max", "-1GiB", "512MiB"),
    ("bytes-max", "1.5GiB", "512MiB"),
    ("validator", "sha1", "md5, hmac-sha256, ed25519"),
    ("validator", "MD5", "md5, hmac-sha256, ed25519"),
    ("validator", "ed25519", "needs a --validator-key-file"),
    ("validator-key-file", "a\0b", "is not a path"),
    ("log-format", "xml", "auto, text, json"),
    ("log-level", "INFO", "debug, info, warning, error"),
    ("log-level", "", "debug, info, warning, error"),
]


@pytest.mark.parametrize(("name", "text", "fix"), BAD)
def test_a_bad_value_is_refused_with_setting_origin_and_the_right_form(
    name: str, text: str, fix: str
) -> None:
    """Nothing is guessed: the message is enough to mend it, wherever the value came from."""
    key = name.replace("-", "_")
    message = refusal({key: [text]})
    assert message.startswith(f"{name} (from --{name}): ")
    assert fix in message
    assert message.isprintable()
    if text.strip():
        env = f"DAYFLY_{key.upper()}"
        assert refusal(environment={env: text}) == message.replace(f"from --{name}", f"from {env}")


@pytest.mark.parametrize(("name", "text", "fix"), [row for row in BAD if row[1].isprintable() and row[1]])
def test_a_refusal_shows_the_value(name: str, text: str, fix: str) -> None:
    """Who reads the message may not know which of four places was read."""
    message = refusal({name.replace("-", "_"): [text]})
    assert repr(text) in message or repr(text.removeprefix(":")) in message


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("tll = '1h'", "'tll' is no setting; there are http, peer"),
        ("[node]\nname = 'a'", "'node' is no setting"),
        ("sync-interval = '2s'", "'sync-interval' is no setting"),
        ("name = ", "f.toml: "),
        ("name = ['a', 'b']", "name (from f.toml): one value is due"),
        ("name = []", "name (from f.toml): one value is due"),
        ("name = {a = 1}", "name (from f.toml): {'a': 1} is not a text"),
        ("join = [['a:1']]", "join (from f.toml): ['a:1'] is not a text"),
        ("ttl = 2020-01-01", "ttl (from f.toml): "),
        ("ttl = '9d'", "ttl (from f.toml): '9d' is not between 1s and 7d"),
        ("lan = 2", "lan (from f.toml): '2' is neither"),
        ("ttl = -5", "ttl (from f.toml): '-5' is not a duration"),
    ],
)
def test_a_bad_file_is_refused_by_its_name(text: str, complaint: str) -> None:
    """A setting that is misspelt is not a default."""
    assert complaint in refusal(file=write(Path("f.toml"), text))


def test_a_file_that_cannot_be_read_is_refused_by_its_name(tmp_path: Path) -> None:
    """A file that was asked for must be there, be a file, and be text."""
    assert refusal(file=Path("none.toml")) == "none.toml: there is no such file"
    assert "no such file" in refusal(file=tmp_path)
    assert refusal(file=Path("x" * 300)).startswith("xxx")
    binary = tmp_path / "f.toml"
    binary.write_bytes(b"name = '\xff'")
    assert refusal(file=binary).startswith(f"{binary}: ")


def test_a_found_file_that_cannot_be_used_is_refused_too() -> None:
    """A broken dayfly.toml in the way is not passed over in silence."""
    write(Path("dayfly.toml"), "nonsense")
    assert refusal().startswith("dayfly.toml: ")


# --- secrets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["hunter2\n", "hunter2\x7f", "hünter2", "hunter2" * 200])
def test_a_bad_secret_is_refused_without_showing_it(text: str) -> None:
    """The origin is named as for any setting; the value is not."""
    message = refusal({"write_token": [text]})
    assert message.startswith("write-token (from --write-token): a secret is 1 to 1024 printable")
    assert "nter2" not in message


def test_an_empty_secret_is_no_way_to_have_none() -> None:
    """`--write-token "$TOKEN"` with TOKEN unset must not start an open node."""
    assert "it is empty" in refusal({"write_token": [""]})
    assert "AUTH_PASSWORD): it is empty" in refusal(environment={"AUTH_PASSWORD": "", "AUTH_USER": "a"})
    assert load_from(file=write(Path("f.toml"), "read_token = ''")).read_token is None


@pytest.mark.parametrize("key", [s.key for s in SETTINGS if s.parse is values.path])
def test_an_empty_path_is_no_way_to_have_none(key: str) -> None:
    """`--key-file "$KEY_FILE"` unset must not start an open node, nor `--data-dir` one that forgets."""
    assert "it is empty" in refusal({key: [""]})
    assert "it is empty" in refusal(environment={f"DAYFLY_{key.upper()}": ""})
    assert getattr(load_from(file=write(Path("f.toml"), f"{key} = ''")), key) is None


def test_a_key_of_spaces_is_no_key() -> None:
    """As of an unset variable between quotes: the node would be open, unasked."""
    assert "there is no key in it" in refusal(environment={"DAYFLY_KEY": " "})


def test_a_secret_is_read_from_the_first_line_of_a_file() -> None:
    """An editor's line end is not part of it; what cannot be read is named, and an empty file refused."""
    write(Path("t"), "s3cret\n")
    digest = sha256(b"s3cret").digest()
    assert load_from({"read_token": ["file:t"]}).read_token == digest
    assert "the file 'none' cannot be read: No such file" in refusal({"read_token": ["file:none"]})
    write(Path("t"), "")
    assert "a secret is" in refusal({"read_token": ["file:t"]})


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_secrets_file_that_others_could_use_is_refused(mode: int) -> None:
    """As a key file is: for a node, and for a command that shows the secret to one."""
    write(Path("t"), "s3cret\n").chmod(mode)
    fix = "'t' is open to other users; type: chmod 600 t"
    assert fix in refusal({"write_token": ["file:t"]})
    with pytest.raises(BadOption, match=fix):
        NodeAddress("", "", "file:t", None).credentials()


@pytest.mark.parametrize("value", ['{ a = "hunter2" }', '[["hunter2"]]', '["hunter2", "hunter2"]'])
def test_a_secret_of_another_kind_in_the_file_is_not_shown(value: str) -> None:
    """What is wrong with it can be said without it."""
    message = refusal(file=write(Path("f.toml"), f"write_token = {value}"))
    assert message.startswith("write_token (from f.toml): ")
    assert "hunter2" not in message


def test_the_originals_names_are_accepted_and_ours_win() -> None:
    """AUTH_USER and AUTH_PASSWORD are how the original broadcaster was told."""
    originals = {"AUTH_USER": "ann", "AUTH_PASSWORD": "a"}
    config = load_from(environment=originals)
    assert (config.auth_user, config.auth_password) == ("ann", sha256(b"a").digest())
    assert load_from(environment=originals | {"DAYFLY_AUTH_USER": "bob"}).auth_user == "bob"


@pytest.mark.parametrize(
    ("one", "other"),
    [("http_key", "http_cert"), ("auth_user", "auth_password"), ("auth_password", "auth_user")],
)
def test_half_of_a_pair_is_refused(one: str, other: str) -> None:
    """A password without its user would protect nothing."""
    expected = (
        f"{one.replace('_', '-')} (from --{one.replace('_', '-')}): it needs --{other.replace('_', '-')}"
    )
    assert expected in refusal({one: ["x"]})


# --- edges ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "text"),
    [("ttl", "1s"), ("ttl", "7d"), ("sync_interval", "1s"), ("bytes_max", "1MiB"), ("records_max", "1")],
)
def test_the_edge_itself_passes(key: str, text: str) -> None:
    """The limits named in refusals are inclusive."""
    load_from({key: [text]})
