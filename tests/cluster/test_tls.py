"""Certificates and channels in memory: the same authority everywhere, and who comes together with whom."""

import resource

import pytest
from cryptography import x509

from cluster.certificate import ENTROPY_BYTES, LIFE_MS, RENEW_MS, Authority
from cluster.key import ClusterKey
from cluster.security import LinkSecurity
from cluster.transport import LinkError
from tests.cluster.channels import HOUR_MS, KEY, OTHER_KEY, ends, security, shake, wall_ms


def test_the_authority_is_the_same_on_every_node() -> None:
    """Byte by byte, from nothing but the key's line and the cluster's name, today and after an update."""
    import hashlib

    one = Authority(ClusterKey(b"k" * 32), "c").certificate
    assert one == Authority(KEY, "c").certificate
    assert hashlib.sha256(one).hexdigest() == (
        "a7a76230be8b66be85df3570fe157cd003af8f4d45315bec5603cb32624cf4b9"
    )
    assert len({one, Authority(KEY, "d").certificate, Authority(OTHER_KEY, "c").certificate}) == 3


def test_a_nodes_certificate_is_good_for_a_day_to_both_sides_and_says_nothing_of_the_node() -> None:
    """Clocks that differ still agree that it is valid; a name in it would be a name to trust."""
    now_ms = 1_800_000_000_000
    pem, key_pem = Authority(KEY, "c").issue(now_ms, bytes(range(ENTROPY_BYTES)))
    certificate = x509.load_pem_x509_certificate(pem)
    assert certificate.not_valid_before_utc.timestamp() * 1000 == now_ms - LIFE_MS
    assert certificate.not_valid_after_utc.timestamp() * 1000 == now_ms + LIFE_MS
    assert certificate.subject.rfc4514_string() == "CN=dayfly node"
    assert certificate.issuer.rfc4514_string() == f"CN=dayfly key {KEY.fingerprint}"
    certificate.verify_directly_issued_by(x509.load_der_x509_certificate(Authority(KEY, "c").certificate))
    assert b"PRIVATE KEY" in key_pem
    assert KEY.secret not in pem


@pytest.mark.parametrize(
    ("dialling", "dialled", "codes"),
    [
        (security(KEY), security(KEY), []),
        (security(KEY, OTHER_KEY), security(OTHER_KEY, KEY), []),
        (security(KEY), security(KEY, OTHER_KEY), []),
        (security(KEY), security(OTHER_KEY), ["key", "key"]),
        (security(KEY), security(OTHER_KEY, KEY), ["key", "key"]),
        (security(OTHER_KEY, KEY), security(KEY), ["key", "key"]),
        (security(KEY), security(KEY, cluster="other"), ["cluster", "cluster"]),
        (security(KEY), security(KEY, late_ms=25 * HOUR_MS), ["certificate", "certificate"]),
        (security(KEY, late_ms=25 * HOUR_MS), security(KEY), ["certificate", "certificate"]),
        (security(KEY), security(KEY, late_ms=-25 * HOUR_MS), ["certificate", "certificate"]),
        (security(KEY), security(KEY, late_ms=23 * HOUR_MS), []),
    ],
    ids=[
        *("same key", "promoted on one side", "added on one side", "wrong key"),
        *("promoted too early", "promoted too early by the dialler"),
        *("wrong cluster", "expired", "expired at the dialler", "not yet valid", "nearly expired"),
    ],
)
def test_two_ends_come_together_or_both_know_why_not(
    dialling: LinkSecurity, dialled: LinkSecurity, codes: list[str]
) -> None:
    """The side that refuses names the reason, and the other side names the same."""
    one, two = ends(dialling, dialled)
    assert shake(one, two) == codes
    if not codes:
        assert two.open(one.seal(b"there") + one.seal(b" and")) == b"there and"
        assert one.open(two.seal(b"back")) == b"back"
        assert dialling.key_of(one) == dialled.fingerprint
        assert dialled.key_of(two) == dialling.fingerprint


def test_a_certificate_is_renewed_before_it_runs_out_and_when_the_clock_was_set() -> None:
    """Nobody has to remember it: whoever is about to show one that is too old shows a new one."""
    now_ms = wall_ms()
    clock_ms = [now_ms - LIFE_MS - HOUR_MS]
    aging = LinkSecurity("c", [KEY], lambda: clock_ms[0])
    assert shake(*ends(aging, security(KEY))) == ["certificate", "certificate"]
    clock_ms[0] += RENEW_MS - 1
    assert shake(*ends(aging, security(KEY))) == ["certificate", "certificate"]  # the first one still
    clock_ms[0] += 1
    assert shake(*ends(aging, security(KEY))) == []
    clock_ms[0] = now_ms + 2 * LIFE_MS
    assert shake(*ends(aging, security(KEY))) == ["certificate", "certificate"]  # not valid yet
    clock_ms[0] = now_ms
    assert shake(*ends(aging, security(KEY))) == []


def test_a_certificate_that_cannot_be_renewed_is_shown_on() -> None:
    """Without a free descriptor there is no new one; the old one is good for hours, and the next may do."""
    clock_ms = [wall_ms() - RENEW_MS]
    aging = LinkSecurity("c", [KEY], lambda: clock_ms[0])
    clock_ms[0] += RENEW_MS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        old = aging.channel(dialled=True)
        with pytest.raises(OSError, match="Too many open files"):
            aging.replace([OTHER_KEY], [])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    theirs = security(KEY).channel(dialled=False)
    assert old is not None
    assert theirs is not None
    assert shake(old, theirs) == []
    assert aging.accepted == [KEY.fingerprint]
    assert shake(*ends(aging, security(KEY))) == []


def test_what_was_changed_or_repeated_on_the_way_is_not_taken() -> None:
    """One flipped bit, or the same bytes once more, end the channel."""
    one, two = ends(security(KEY), security(KEY))
    assert shake(one, two) == []
    sealed = one.seal(b"a record")
    assert two.open(sealed) == b"a record"
    with pytest.raises(LinkError):
        two.open(sealed)

    one, two = ends(security(KEY), security(KEY))
    assert shake(one, two) == []
    flipped = bytearray(one.seal(b"a record"))
    flipped[-1] ^= 1
    with pytest.raises(LinkError):
        two.open(bytes(flipped))


def test_a_megabyte_and_nothing_at_all_are_sealed() -> None:
    """The largest frame goes through whole; nothing comes of nothing."""
    one, two = ends(security(KEY), security(KEY))
    assert shake(one, two) == []
    large = bytes(range(256)) * 4112
    assert two.open(one.seal(large)) == large
    assert one.seal(b"") == b""
    assert two.open(b"") == b""


def test_without_keys_there_is_no_channel_and_nothing_to_name() -> None:
    """An open cluster is open, and says so."""
    nothing = security()
    assert nothing.channel(dialled=True) is None
    assert (nothing.fingerprint, nothing.accepted, nothing.key_of(None)) == ("", [], "")
