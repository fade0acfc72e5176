"""The two validators with keys: published vectors, what a node signs, and how key sets are told apart."""

from hashlib import md5

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from validator import Md5Signature, Outcome, Record, Verdict, default_chain
from validator.ed25519 import Ed25519Signature, ed25519_hex, public_of, verifies
from validator.hmac_sha256 import HmacSignature, hmac_hex
from validator.keys import HMAC, KEYS_MAX, PUBLIC, PUBLISHER, Key, parse_keys, publisher_name, signed_bytes

RFC_4231 = [
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    (
        bytes(range(1, 26)),
        b"\xcd" * 50,
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
]
"""Section 4, cases 1, 2, 3, 4 and 6."""

RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555"
        "fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]
"""Section 7.1, tests 1 to 3: private key, public key, message, signature."""

SECRET = bytes(range(32))
ALERTS = Key(PUBLISHER, "alerts", SECRET)


@pytest.mark.parametrize(("secret", "message", "expected"), RFC_4231)
def test_hmac_is_that_of_rfc_4231(secret: bytes, message: bytes, expected: str) -> None:
    """Any other program's HMAC-SHA256 makes the same signature."""
    assert hmac_hex(secret, message) == expected


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_ed25519_is_that_of_rfc_8032(seed: str, public: str, message: str, signature: str) -> None:
    """Any other program's Ed25519 key pair and signature are the same."""
    said = bytes.fromhex(message)
    assert public_of(Key(PUBLISHER, "a", bytes.fromhex(seed))).value.hex() == public
    assert ed25519_hex(bytes.fromhex(seed), said) == signature
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
    assert verifies(key, bytes.fromhex(signature), said)
    assert not verifies(key, bytes.fromhex(signature), said + b"\0")


def test_a_signature_of_other_size_or_beyond_the_order_is_refused() -> None:
    """RFC 8032, 5.1.7: the second half must be below the group's order, or one signature had many forms."""
    _, public, message, signature = RFC_8032[0]
    key, order = (
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)),
        2**252 + 27742317777372353535851937790883648493,
    )
    good = bytes.fromhex(signature)
    beyond = good[:32] + (int.from_bytes(good[32:], "little") + order).to_bytes(32, "little")
    for bad in (beyond, good[:-1], good + b"\0", b""):
        assert not verifies(key, bad, bytes.fromhex(message))


def test_a_records_signature_is_what_openssl_makes_of_the_documented_bytes() -> None:
    """Made by the recipe in docs/validators.md, with a tool that knows nothing of Dayfly:
    printf 'dayfly-record-1\\n%s\\n%s' "$id" "$raw" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$secret".
    """
    made = "819418be02060112a5ea5adb945595d638be7ccd9b0e4f40533f5810cc4e30d4"
    assert HmacSignature([SECRET]).sign("alerts/door", "the door is open") == made


# --- what a node does with a record that has no signature -------------------------------------------------


def test_a_node_signs_with_md5_and_with_the_first_secret_and_never_for_a_publisher() -> None:
    """What it signs passes its own check; what it cannot sign it refuses with the way out."""
    assert Md5Signature().sign("id", "hello") == md5(b"hello").hexdigest()
    both = HmacSignature([SECRET, b"2" * 32])
    assert both.sign("id", "hello") == HmacSignature([SECRET]).sign("id", "hello")
    refusal = default_chain(1000, Ed25519Signature([public_of(ALERTS)])).sign("alerts/1", "hello")
    assert isinstance(refusal, Verdict)
    assert (refusal.outcome, refusal.code) == (Outcome.REJECT, "unsigned")
    assert "dayfly post --sign" in refusal.reason


@pytest.mark.parametrize(
    "id", ["door", "alerts", "alerts/", "/door", "news/door", "Alerts/door", " alerts/door", ""]
)
def test_a_publisher_writes_only_under_its_own_name(id: str) -> None:
    """Whatever the key signs elsewhere is refused by its id."""
    record = Record.of(id, "hello", ed25519_hex(SECRET, signed_bytes(id, "hello")), 1)
    verdict = Ed25519Signature([public_of(ALERTS)]).check(record, 1)
    assert (verdict.outcome, verdict.code) == (Outcome.REJECT, "bad-id")


# --- how nodes tell their keys apart ----------------------------------------------------------------------


def test_a_name_tells_key_sets_apart_and_gives_no_key_away() -> None:
    """Nodes with the same keys in any order link; one key more or less, and they do not."""
    one, two = b"1" * 32, b"2" * 32
    a, b = public_of(ALERTS), public_of(Key(PUBLISHER, "news", two))
    assert HmacSignature([one, two]).name == HmacSignature([two, one]).name
    assert Ed25519Signature([a, b]).name == Ed25519Signature([b, a]).name
    names = {HmacSignature(k).name for k in ([one], [two], [one, two])}
    names |= {Ed25519Signature(k).name for k in ([a], [b], [a, b])}
    assert len(names) == 6
    assert Ed25519Signature([Key(PUBLIC, "other", a.value)]).name not in names
    for name in names:
        assert name.partition(":")[0] in ("hmac-sha256", "ed25519")
        assert len(name.partition(":")[2]) == 16


# --- key lines --------------------------------------------------------------------------------------------


@given(
    st.sampled_from([HMAC, PUBLISHER, PUBLIC]),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True),
    st.binary(min_size=32, max_size=32),
)
def test_a_key_comes_back_from_its_line(kind: str, name: str, value: bytes) -> None:
    """Whatever the bytes; and no repr shows them."""
    key = Key(kind, "" if kind == HMAC else name, value)
    assert parse_keys(f"# it\n\n {key.line} \n{key.line}\n", kind) == [key]
    assert repr(value) not in repr(key)


GOOD_LINE = Key(HMAC, "", SECRET).line
BAD_LINES = {
    "empty": "",
    "only a comment": "# dayfly-hmac1",
    "no kind": "hello",
    "another kind": public_of(ALERTS).line,
    "no key": "dayfly-hmac1:",
    "short": GOOD_LINE[:-1],
    "long": GOOD_LINE + "A",
    "padded": GOOD_LINE + "=",
    "of two forms": GOOD_LINE[:-1] + "9",
    "with a name": GOOD_LINE.replace(":", ":alerts:"),
    "a good one and a bad one": f"{GOOD_LINE}\nhello",
    "too many": "\n".join(Key(HMAC, "", n.to_bytes(32, "big")).line for n in range(KEYS_MAX + 1)),
}


@pytest.mark.parametrize("text", BAD_LINES.values(), ids=BAD_LINES.keys())
def test_a_bad_key_file_is_refused_without_quoting_it(text: str) -> None:
    """The error says which line and what is due; a secret in the wrong file stays a secret."""
    with pytest.raises(ValueError, match="key") as caught:
        parse_keys(text, HMAC)
    assert SECRET.hex() not in str(caught.value)
    for line in text.splitlines():
        assert line.rpartition(":")[2][:40] not in str(caught.value) or len(line) < 20


def test_as_many_keys_as_may_be_are_read() -> None:
    """The bound is the last that passes."""
    lines = [Key(HMAC, "", n.to_bytes(32, "big")).line for n in range(KEYS_MAX)]
    assert len(parse_keys("\n".join(lines), HMAC)) == KEYS_MAX


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "é", "-a", ".a", "a b", "a" * 65, "a\n"])
def test_a_publisher_needs_a_plain_name(name: str) -> None:
    """It is part of ids, of lines and of shell commands."""
    with pytest.raises(ValueError, match="1 to 64 ASCII"):
        publisher_name(name)
    with pytest.raises(ValueError, match="line 1"):
        parse_keys(f"{PUBLIC}:{name}:{'A' * 43}", PUBLIC)
