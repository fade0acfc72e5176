"""The cluster key's text and what is derived from it; errors help and tell nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.key import KEYS_MAX, PREFIX, SECRET_BYTES, ClusterKey, KeyTextError, parse_keys

secrets = st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES)
GOOD = ClusterKey(bytes(range(32)))
TEXT = GOOD.line.removeprefix(PREFIX)


@given(st.lists(secrets, min_size=1, max_size=KEYS_MAX, unique=True))
def test_what_was_written_is_read_in_order(values: list[bytes]) -> None:
    """Any keys, with the words and empty lines that people put between them."""
    text = "# of the garden\n\n" + "".join(f"  {ClusterKey(v).line} \r\n\n# next\n" for v in values)
    assert [key.secret for key in parse_keys(text)] == values


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "there is no key in it; make one with: dayfly keygen"),
        ("# a word\n\n", "there is no key in it"),
        (f"\n{TEXT}", "line 2: a key begins with dayfly1:"),
        (f"dayfly2:{TEXT}", "line 1: a key begins with dayfly1:"),
        (f"{PREFIX}{TEXT[:-1]}", "line 1: 43 characters are due after dayfly1:, not 42"),
        (f"{PREFIX}{TEXT}=", "line 1: there is a character in the key that no key has"),
        (f"{PREFIX}{TEXT[:-1]} ", "not 42"),
        (f"{PREFIX}{TEXT[:20]} {TEXT[21:]}", "no key has"),
        (f"{PREFIX}{TEXT[:20]}é{TEXT[21:]}", "no key has"),
        (f"{PREFIX}{TEXT[:-1]}9", "line 1: the last character cannot be right"),
        (f"{GOOD.line}\n#\n{GOOD.line}", "line 3: the same key as in line 1; remove one"),
        ("\n".join(ClusterKey(bytes([i]) * 32).line for i in range(KEYS_MAX + 1)), "9 keys, at most 8"),
    ],
)
def test_a_bad_text_is_refused_with_its_line_and_the_fix(text: str, complaint: str) -> None:
    """People find the line, and whoever reads the error learns nothing of the key."""
    with pytest.raises(KeyTextError) as caught:
        parse_keys(text)
    assert complaint in str(caught.value)
    assert TEXT[:8] not in str(caught.value)


@given(st.text(max_size=200))
def test_any_text_is_keys_or_a_key_text_error(text: str) -> None:
    """No input raises anything else."""
    try:
        found = parse_keys(f"{GOOD.line}\n{text}")
    except KeyTextError:
        return
    assert found[0] == GOOD


def test_a_key_shows_its_fingerprint_and_never_itself() -> None:
    """What logs and tracebacks would print."""
    assert TEXT not in repr(GOOD)
    assert str(GOOD.secret) not in repr(GOOD)
    assert len(GOOD.fingerprint) == 16
    assert GOOD.fingerprint not in GOOD.secret.hex()


def test_every_label_and_every_cluster_derives_something_else() -> None:
    """A beacon key tells nothing of the authority's, nor one cluster's of another's."""
    derived = {GOOD.derive(label, cluster) for label in ("authority", "beacon") for cluster in ("a", "b")}
    derived |= {ClusterKey(b"x" * 32).derive("authority", "a"), GOOD.secret}
    assert len(derived) == 6


def test_the_derivation_is_the_published_one() -> None:
    """HKDF-SHA256 over the label and the cluster's name, made here from HMAC alone (RFC 5869)."""
    import hmac

    pseudorandom = hmac.digest(bytes(32), GOOD.secret, "sha256")
    assert GOOD.derive("beacon", "c") == hmac.digest(pseudorandom, b"dayfly1 beacon\0c\x01", "sha256")
