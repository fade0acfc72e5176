"""Records signed with keys, through real nodes and the command: who may write, and what a mismatch says."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.key_files import KeyFileError, new_keys, read_signature
from tests.api.nodes import lone_node
from tests.node.commands import dayfly
from tests.processes import NodeProcess, cluster, wait_until

ED25519, HMAC = ("--validator", "ed25519", "--validator-key-file"), ("--validator", "hmac-sha256")


def private(path: Path, text: str) -> Path:
    """Write a file that is its owner's alone."""
    path.touch(0o600)
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with two publishers' files, the list of the first one alone, and two secrets."""
    at = tmp_path_factory.mktemp("keys")
    made = [dayfly("keygen", "--publisher", "alerts"), dayfly("keygen", "--hmac")]
    assert [(m.code, m.err) for m in made] == [(0, ""), (0, "")]
    private(at / "alerts", made[0].out)
    private(at / "one", made[1].out)
    (at / "publishers").write_text(made[0].out.split()[6] + "\n")
    private(at / "two", new_keys(None)[0].line)
    for name, key in zip(("news", "news-public"), new_keys("news"), strict=True):
        private(at / name, key.line)
    return at


@pytest.fixture(scope="module")
def signed_only(keys: Path) -> Iterator[NodeProcess]:
    """A node that takes what the publisher `alerts` has signed."""
    with lone_node(*ED25519, str(keys / "publishers")) as node:
        yield node


def test_what_a_listed_publisher_signs_is_taken(signed_only: NodeProcess, keys: Path) -> None:
    """With an id of its own or a made one; repeated, it is there already."""
    post = ("post", "--sign", str(keys / "alerts"), "--node", signed_only.url)
    results = [dayfly(*post, "open"), *[dayfly(*post, "--id", "alerts/door", "öpen") for _ in range(2)]]
    assert [(r.code, r.lines[0]["result"]) for r in results] == [(0, "stored"), (0, "stored"), (0, "exists")]
    assert results[0].lines[0]["id"].startswith("alerts/")


def test_what_nobody_signed_is_refused_with_the_way_out(signed_only: NodeProcess) -> None:
    """`curl -d`, PUT and a batch: a node has no key to sign with, and says what to do."""
    answers = [
        signed_only.ask("POST", "/v1/records", "hi"),
        signed_only.ask("PUT", "/v1/records/alerts%2Fdoor2", "hi"),
        signed_only.ask("POST", "/v1/records", '{"raw":"hi"}\n', content_type="application/x-ndjson"),
    ]
    said = [answer.json() for answer in answers]
    assert [a.status for a in answers] == [400, 400, 200]
    assert [s["code"] for s in said] == ["unsigned"] * 3
    assert all("dayfly post --sign KEYFILE" in s["detail"] for s in said)
    body = json.dumps({"id": "a", "raw": "hi", "signature": ""})
    assert signed_only.ask("POST", "/postNewData", body).status == 400


@pytest.mark.parametrize(
    ("key", "id", "code", "words"),
    [
        ("news", "news/1", 1, "(bad-id): id does not begin with a listed publisher's name"),
        ("alerts", "news/1", 2, "begin with 'alerts/'"),
        ("one", "alerts/1", 1, "(bad-signature)"),
        ("publishers", "alerts/1", 2, "chmod 600"),
        ("none", "alerts/1", 2, "no such file"),
    ],
)
def test_other_keys_do_not_write(
    signed_only: NodeProcess, keys: Path, key: str, id: str, code: int, words: str
) -> None:
    """Not listed, not its own name, a secret for HMAC, a list, nothing: each is told."""
    result = dayfly("post", "--sign", str(keys / key), "--id", id, "x", "--node", signed_only.url)
    assert (result.code, result.out) == (code, "")
    assert words in result.err


def test_nodes_with_one_secret_sign_for_clients_and_others_do_not_link(keys: Path) -> None:
    """A node signs what comes unsigned; all who have the secret take it; another secret is no link."""
    with cluster(*HMAC, "--validator-key-file", str(keys / "one")) as c:
        a, b = c.start(2)
        stranger = c.add(*HMAC, "--validator-key-file", str(keys / "two"))
        assert a.ask("POST", "/v1/records", "hi").status == 201
        signed = dayfly("post", "--sign", str(keys / "one"), "--id", "x", "ho", "--node", b.url)
        assert signed.code == 0
        c.nodes.remove(stranger)
        c.wait_equal(2)
        record = a.listing()[0]
        signature = read_signature("hmac-sha256", keys / "one").sign(record["id"], "hi")
        assert record["signature"] == signature
        wrong = dayfly("post", "--sign", str(keys / "two"), "x", "--node", a.url)
        assert (wrong.code, "(bad-signature)" in wrong.err) == (1, True)
        c.nodes.append(stranger)
        for node in (a, stranger):
            wait_until(lambda: "set the same on every" in node.log.read_text(), "the refusal is logged")  # noqa: B023
        assert stranger.wait_ready().records == 0
        secrets = [(keys / name).read_text().strip().partition(":")[2] for name in ("one", "two")]
        shown = "".join(n.log.read_text() + str(n.get("/v1/node")) + str(n.get("/v1/peers")) for n in c.nodes)
        assert not any(secret in shown for secret in secrets)


@pytest.mark.parametrize(
    ("mode", "text", "words"),
    [
        (0o640, None, "chmod 600"),
        (0o600, "dayfly-public1:a:AAAA", "line 1 is a dayfly-public1 key; due is dayfly-hmac1"),
        (0o600, "", "there is no key in it"),
        (0o600, "\N{SNOWMAN}", "not ASCII"),
        (0o600, "#" * (256 * 1024 + 1), "has more than"),
    ],
)
def test_a_bad_key_file_is_refused(
    tmp_path: Path, keys: Path, mode: int, text: str | None, words: str
) -> None:
    """The error names the file and the fix, and nothing of what stands in it."""
    path = private(tmp_path / "key", (keys / "one").read_text() if text is None else text)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=words) as caught:
        read_signature("hmac-sha256", path)
    assert str(path) in str(caught.value)


def test_a_node_does_not_start_with_a_bad_key_file(keys: Path) -> None:
    """One line on standard error, and the end."""
    result = dayfly("up", "--http", "127.0.0.1:0", *HMAC, "--validator-key-file", str(keys / "publishers"))
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "chmod 600" in result.err


def test_print_config_shows_the_path_and_not_the_secret(keys: Path) -> None:
    """What people paste into a report is safe to paste."""
    shown = dayfly("up", *HMAC, "--validator-key-file", str(keys / "one"), "--print-config").out
    assert f'validator_key_file = "{keys / "one"}"' in shown
    assert (keys / "one").read_text().strip().partition(":")[2] not in shown


def test_a_journal_is_opened_only_with_keys_its_records_pass(tmp_path: Path, keys: Path) -> None:
    """A publisher more is fine; without the one who wrote, peers would refuse what this node offers."""
    listed, data = tmp_path / "publishers", ("--data-dir", str(tmp_path / "data"))
    listed.write_text((keys / "publishers").read_text())
    with lone_node(*ED25519, str(listed), *data) as node:
        assert dayfly("post", "--sign", str(keys / "alerts"), "x", "--node", node.url).code == 0
        node.signal(15)
        assert node.process is not None
        node.process.wait(10)
    news = (keys / "news-public").read_text()
    listed.write_text(f"{news}\n")
    refused = dayfly("up", "--http", "127.0.0.1:0", "--no-multicast", *ED25519, str(listed), *data)
    assert (refused.code, "1 records" in refused.err) == (1, True)
    listed.write_text(f"{news}\n{(keys / 'publishers').read_text()}")
    with lone_node(*ED25519, str(listed), *data) as node:
        assert node.records == 1


def test_keygen_makes_one_kind_of_key() -> None:
    """Who asks for both kinds is told to choose, and gets neither."""
    result = dayfly("keygen", "--publisher", "alerts", "--hmac")
    assert (result.code, result.out) == (2, "")
    assert "give --hmac or --publisher, not both" in result.err


@pytest.mark.parametrize(
    ("validator", "made_by"),
    [("hmac-sha256", "dayfly keygen --hmac -o"), ("ed25519", "dayfly keygen --publisher NAME")],
)
def test_a_missing_key_file_is_told_with_the_command_that_makes_one(
    tmp_path: Path, validator: str, made_by: str
) -> None:
    """One of the kind that is due here: a cluster key would be refused next."""
    with pytest.raises(KeyFileError, match=f"there is no such file; {made_by}"):
        read_signature(validator, tmp_path / "none")


def test_keygen_refuses_a_name_that_could_not_be_part_of_an_id() -> None:
    """Before it draws anything."""
    result = dayfly("keygen", "--publisher", "a/b")
    assert (result.code, result.out) == (2, "")
    assert "1 to 64 ASCII letters" in result.err
