"""Sizes and forms at their edges, and the window of time at its edges."""

import pytest

from validator import (
    ACCEPT,
    FUTURE_MS_MAX,
    ID_BYTES_MAX,
    RAW_BYTES_MAX,
    Outcome,
    Record,
    SizeLimits,
    TimeWindow,
)
from validator.limits import SIGNATURE_BYTES_MAX

T0 = 1_800_000_000_000
TTL_MS = 24 * 3600 * 1000


def sized(id: str = "a", raw: str = "hello", signature: str = "s") -> str:
    """Return the code the size check gives."""
    return SizeLimits().check(Record.of(id, raw, signature, T0), T0).code


@pytest.mark.parametrize(("character", "size"), [("a", 1), ("é", 2), ("€", 3), ("🦋", 4)])
def test_an_id_is_measured_in_bytes_of_utf8(character: str, size: int) -> None:
    """256 bytes pass whatever they are made of; one byte more does not."""
    fits = character * (ID_BYTES_MAX // size)
    fits += "a" * (ID_BYTES_MAX - len(fits.encode()))
    assert len(fits.encode()) == ID_BYTES_MAX
    assert sized(id=fits) == ""
    assert sized(id=fits + "a") == "too-large"


def test_a_character_that_crosses_the_limit_counts_whole() -> None:
    """255 bytes and a character of two are 257."""
    assert sized(id="a" * 255 + "é") == "too-large"
    assert sized(id="a" * 254 + "é") == ""


@pytest.mark.parametrize("character", ["a", "é", "🦋"])
def test_a_raw_of_one_mebibyte_passes_and_one_byte_more_does_not(character: str) -> None:
    """The limit of raw is exact, in bytes."""
    fits = character * (RAW_BYTES_MAX // len(character.encode()))
    assert len(fits.encode()) == RAW_BYTES_MAX
    assert sized(raw=fits) == ""
    assert sized(raw=fits[:-1]) == ""
    assert sized(raw=fits + "a") == "too-large"


def test_a_signature_has_a_limit_too() -> None:
    """A signature is no place to hide a payload."""
    assert sized(signature="f" * SIGNATURE_BYTES_MAX) == ""
    assert sized(signature="f" * (SIGNATURE_BYTES_MAX + 1)) == "too-large"


@pytest.mark.parametrize("field", ["id", "raw", "signature"])
def test_an_empty_field_is_refused_by_its_name(field: str) -> None:
    """All three texts are due, as in the original; the reason says which is missing."""
    texts = {"id": "a", "raw": "b", "signature": "c"} | {field: ""}
    record = Record.of(**texts, time_stamp=T0)
    verdict = SizeLimits().check(record, T0)
    assert (verdict.outcome, verdict.code) == (Outcome.REJECT, "empty-field")
    assert field in verdict.reason


@pytest.mark.parametrize("code_point", [*range(0x20), *range(0x7F, 0xA0)])
def test_no_control_character_passes_in_an_id(code_point: int) -> None:
    """C0, DEL and C1 can neither be shown nor logged safely."""
    assert sized(id=f"a{chr(code_point)}b") == "bad-id"
    assert sized(id=chr(code_point)) == "bad-id"
    assert sized(id=f"a{chr(code_point)}") == "bad-id"


@pytest.mark.parametrize("id", [" ", "~", "\xa0", "a/b", "..", "%00", "é", "🦋", "\u202e", "\u2028"])
def test_what_is_no_control_character_passes_in_an_id(id: str) -> None:
    """Whatever else Unicode has may stand in an id; showing it safely is up to who shows it."""
    assert sized(id=id) == ""


def test_a_raw_may_hold_any_character() -> None:
    """Only ids go into logs and tables; raw is the client's own."""
    assert sized(raw="\x00\r\n\x1b[0m\u2028") == ""


def test_a_size_reason_names_the_limit_and_not_the_value() -> None:
    """A refusal can be logged: it never holds the payload."""
    verdict = SizeLimits().check(Record.of("a", "secret" * 200_000, "s", T0), T0)
    assert "raw" in verdict.reason
    assert str(RAW_BYTES_MAX) in verdict.reason
    assert "secret" not in verdict.reason


@pytest.mark.parametrize(
    ("age_ms", "code"),
    [
        (0, ""),
        (TTL_MS - 1, ""),
        (TTL_MS, "expired"),
        (TTL_MS + 1, "expired"),
        (-FUTURE_MS_MAX, ""),
        (-FUTURE_MS_MAX - 1, "bad-time"),
        (-10 * 365 * 86_400_000, "bad-time"),
    ],
)
def test_a_record_passes_from_a_minute_before_its_time_to_just_before_its_end(age_ms: int, code: str) -> None:
    """Life is [time_stamp, time_stamp + ttl); a clock may be a minute behind the sender's."""
    verdict = TimeWindow(TTL_MS).check(Record.of("a", "b", "c", T0), T0 + age_ms)
    assert verdict.code == code
    assert verdict.outcome is (Outcome.IGNORE if code else Outcome.ACCEPT)


@pytest.mark.parametrize("time_stamp", [0, 2**63 - 1])
def test_the_ends_of_time_are_out_of_the_window(time_stamp: int) -> None:
    """The smallest and the largest time stamp a record can carry do no harm."""
    verdict = TimeWindow(TTL_MS).check(Record.of("a", "b", "c", time_stamp), T0)
    assert verdict.outcome is Outcome.IGNORE


def test_a_time_reason_says_how_far_off_it_is() -> None:
    """Who reads the log of a wrong clock must see by how much it is wrong."""
    window = TimeWindow(TTL_MS)
    assert "90.0 s ahead" in window.check(Record.of("a", "b", "c", T0 + 90_000), T0).reason
    assert "ended 2.5 s ago" in window.check(Record.of("a", "b", "c", T0), T0 + TTL_MS + 2500).reason


def test_limits_can_be_narrower() -> None:
    """The limits are fields, so that a test or another node can set its own."""
    small = SizeLimits(id_bytes_max=2, raw_bytes_max=3)
    assert small.check(Record.of("ab", "abc", "s", T0), T0) is ACCEPT
    assert small.check(Record.of("abc", "abc", "s", T0), T0).code == "too-large"
    assert small.check(Record.of("ab", "abcd", "s", T0), T0).code == "too-large"
