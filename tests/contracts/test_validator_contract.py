"""What every validator owes: pure, never raising, and a reason and a known code for each objection.

To add a validator: one line in `VALIDATORS`, with a record that it accepts. What a signature protects is
asked of `SIGNED` besides.
"""

import copy
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import STATUS_BY_CODE
from validator import (
    ACCEPT,
    Md5Signature,
    Outcome,
    Record,
    SizeLimits,
    TimeWindow,
    Validator,
    ValidatorChain,
    Verdict,
    default_chain,
    sign,
)
from validator.base import ManyValidator
from validator.ed25519 import Ed25519Signature, ed25519_hex, public_of
from validator.hmac_sha256 import HmacSignature
from validator.keys import PUBLISHER, Key, signed_bytes

T0 = 1_800_000_000_000
TTL_MS = 24 * 3600 * 1000
GOOD = Record.of("id", "hello", sign("hello"), T0)

PUBLISHERS = [Key(PUBLISHER, name, bytes([n] * 32)) for n, name in enumerate(["alerts", "alerts", "news"])]
HMAC = HmacSignature([b"1" * 32, b"2" * 32])
ED25519 = Ed25519Signature([public_of(p) for p in PUBLISHERS])


def published(publisher: Key, id: str, raw: str) -> Record:
    return Record.of(id, raw, ed25519_hex(publisher.value, signed_bytes(id, raw)), T0)


SIGNED: dict[str, tuple[Validator, Record]] = {
    "hmac first": (HMAC, Record.of("id", "hello", HMAC.sign("id", "hello"), T0)),
    "hmac second": (HMAC, Record.of("id", "hello", HmacSignature([b"2" * 32]).sign("id", "hello"), T0)),
    "ed25519 first": (ED25519, published(PUBLISHERS[0], "alerts/door", "hello")),
    "ed25519 second": (ED25519, published(PUBLISHERS[1], "alerts/door", "hello")),
    "ed25519 chain": (default_chain(TTL_MS, ED25519), published(PUBLISHERS[2], "news/1/2", "hé")),
    "hmac chain": (default_chain(TTL_MS, HMAC), Record.of("é", "ü", HMAC.sign("é", "ü"), T0)),
}
"""Validators with keys, and a record that a holder of one of them signed."""

VALIDATORS: dict[str, tuple[Validator, Record]] = {
    "size": (SizeLimits(), GOOD),
    "time": (TimeWindow(TTL_MS), GOOD),
    "md5": (Md5Signature(), GOOD),
    "chain": (default_chain(TTL_MS), GOOD),
    **SIGNED,
}

every_validator = pytest.mark.parametrize(
    ("validator", "accepted"), VALIDATORS.values(), ids=VALIDATORS.keys()
)

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
records = st.builds(
    Record.of,
    any_text,
    any_text,
    any_text | st.just(sign("hello")) | st.text("0123456789abcdef", min_size=64, max_size=128),
    st.integers(0, 2**63 - 1) | st.integers(T0 - 2 * TTL_MS, T0 + 120_000),
)
walls = st.integers(0, 2**63) | st.integers(T0 - 120_000, T0 + 2 * TTL_MS)


def say(verdict: Verdict) -> tuple[Outcome, str, str]:
    return verdict.outcome, verdict.code, verdict.reason


@every_validator
def test_a_good_record_is_accepted(validator: Validator, accepted: Record) -> None:
    """A validator that accepts nothing validates nothing."""
    assert validator.check(accepted, T0) == ACCEPT


@every_validator
def test_it_has_a_short_plain_name(validator: Validator, accepted: Record) -> None:
    """The name goes into the handshake and into logs."""
    assert validator.name
    assert validator.name.isascii()
    assert validator.name.isprintable()
    assert len(validator.name) <= 64


@every_validator
@given(record=records, wall_ms=walls)
def test_an_objection_has_a_known_code_and_a_reason(
    validator: Validator, accepted: Record, record: Record, wall_ms: int
) -> None:
    """Every code has an HTTP status of a client's fault; ACCEPT says nothing. Nothing raises."""
    verdict = validator.check(record, wall_ms)
    if verdict.outcome is Outcome.ACCEPT:
        assert (verdict.code, verdict.reason) == ("", "")
    else:
        assert 400 <= STATUS_BY_CODE[verdict.code] < 500
        assert 0 < len(verdict.reason) <= 200
        assert "\n" not in verdict.reason


@every_validator
@given(record=records, wall_ms=walls)
def test_the_same_record_and_time_give_the_same_verdict(
    validator: Validator, accepted: Record, record: Record, wall_ms: int
) -> None:
    """Nodes decide alone and must decide alike: neither earlier records nor the instance matter."""
    first = say(validator.check(record, wall_ms))
    validator.check(accepted, T0)
    assert say(validator.check(record, wall_ms)) == first
    twin = Record.of(*copy.deepcopy((record.id, record.raw, record.signature)), record.time_stamp)
    assert say(copy.deepcopy(validator).check(twin, wall_ms)) == first


@pytest.mark.parametrize("name", [name for name in VALIDATORS if "chain" not in name])
@given(some=st.lists(st.just(None) | records, max_size=4), wall_ms=st.just(T0) | walls)
def test_many_are_judged_as_each_by_itself(name: str, some: list[Record | None], wall_ms: int) -> None:
    """Whoever looks at many at once lets nothing pass that `check` does not."""
    validator, accepted = VALIDATORS[name]
    many = [accepted if record is None else record for record in some]
    each = [validator.check(record, wall_ms) for record in many]
    assert ValidatorChain((validator,)).check_many(many, wall_ms) == each
    if isinstance(validator, ManyValidator) and validator.all_pass(many, wall_ms):
        assert each == [ACCEPT] * len(many)


@every_validator
def test_judging_reads_no_clock(validator: Validator, accepted: Record) -> None:
    """Only the time given counts: C functions of the modules time and random are never called."""
    asked: list[str] = []

    def watch(frame: object, event: str, called: object) -> None:
        if event == "c_call" and getattr(called, "__module__", "") in ("time", "_random", "posix"):
            asked.append(getattr(called, "__name__", ""))

    sys.setprofile(watch)
    try:
        validator.check(accepted, T0)
    finally:
        sys.setprofile(None)
    assert asked == []


@pytest.mark.parametrize(("validator", "good"), SIGNED.values(), ids=SIGNED.keys())
@given(data=st.data())
def test_a_signature_is_good_for_its_id_and_raw_only(
    validator: Validator, good: Record, data: st.DataObject
) -> None:
    """Neither can be changed, nor can the line between them be moved; the same words sign nothing else."""
    texts = (good.id, good.raw, good.signature)
    replaced = list(texts)
    at = data.draw(st.integers(0, 2))
    replaced[at] = data.draw(
        any_text | st.sampled_from([texts[at] + "\n", texts[at].upper(), texts[at][:-1], texts[at] + "0"])
    )
    moved = [f"{good.id}\n{good.raw}", "", good.signature], [good.id[:-1], good.id[-1] + good.raw, texts[2]]
    for id, raw, signature in (replaced, *moved):
        if (id, raw, signature) != texts:
            assert validator.check(Record.of(id, raw, signature, T0), T0).outcome is Outcome.REJECT


@pytest.mark.parametrize(("validator", "good"), SIGNED.values(), ids=SIGNED.keys())
def test_a_signature_without_the_key_is_refused(validator: Validator, good: Record) -> None:
    """An MD5, another secret's, another publisher's: each is a `bad-signature`."""
    others = [
        sign(good.raw),
        HmacSignature([b"3" * 32]).sign(good.id, good.raw),
        ed25519_hex(b"3" * 32, signed_bytes(good.id, good.raw)),
    ]
    for signature in others:
        verdict = validator.check(Record.of(good.id, good.raw, signature, T0), T0)
        assert (verdict.outcome, verdict.code) == (Outcome.REJECT, "bad-signature")
