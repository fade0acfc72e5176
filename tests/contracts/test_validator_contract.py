"""What every validator owes: pure, never raising, and a reason and a known code for each objection.

To add a validator: one line in `VALIDATORS`, with a record that it accepts.
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
    Verdict,
    default_chain,
    sign,
)

T0 = 1_800_000_000_000
TTL_MS = 24 * 3600 * 1000
GOOD = Record.of("id", "hello", sign("hello"), T0)

VALIDATORS: dict[str, tuple[Validator, Record]] = {
    "size": (SizeLimits(), GOOD),
    "time": (TimeWindow(TTL_MS), GOOD),
    "md5": (Md5Signature(), GOOD),
    "chain": (default_chain(TTL_MS), GOOD),
}

every_validator = pytest.mark.parametrize(
    ("validator", "accepted"), VALIDATORS.values(), ids=VALIDATORS.keys()
)

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
records = st.builds(
    Record.of,
    any_text,
    any_text,
    any_text | st.just(sign("hello")),
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
