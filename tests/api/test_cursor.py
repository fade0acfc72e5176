"""Cursors and `?since=`: what is understood, what begins again, what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cursor import Position, make_cursor, parse_since, parse_wait_s
from api.errors import Problem

BOOT, OTHER = "0123456789ab", "ba9876543210"
NOW_MS = 1_800_000_000_000

boots = st.text("0123456789abcdef", min_size=12, max_size=12)


@given(boots, st.integers(0, 10**18 - 1), st.integers(0, 10**15 - 1))
def test_a_cursor_comes_back_as_the_position_it_was_made_of(boot: str, seq: int, floor_ms: int) -> None:
    """What a reader was given it can give back."""
    assert parse_since(make_cursor(boot, seq, floor_ms), boot, NOW_MS, 7) == Position(seq, floor_ms)


@given(boots, boots, st.integers(0, 10**18 - 1), st.integers(0, 10**15 - 1))
def test_a_cursor_of_another_start_begins_again_and_says_so(a: str, b: str, seq: int, floor_ms: int) -> None:
    """It is no error to change the node: the floor stays, the count begins again, `reset` is told."""
    reset = a != b
    expected = Position(0, floor_ms, True) if reset else Position(seq, floor_ms)
    assert parse_since(make_cursor(a, seq, floor_ms), b, NOW_MS, 7) == expected


def test_now_means_after_the_newest() -> None:
    """What is held already is left out, by its number."""
    assert parse_since("now", BOOT, NOW_MS, 7) == Position(7)


@pytest.mark.parametrize(
    ("text", "wait_s"), [(None, 0), ("", 0), ("0s", 0), ("250ms", 0.25), ("1m", 60), ("60s", 60)]
)
def test_a_wait_is_a_duration_up_to_its_limit(text: str | None, wait_s: float) -> None:
    """As `since` has them."""
    assert parse_wait_s(text, 60) == wait_s


@pytest.mark.parametrize("text", ["61s", "30", "-1s", "s", "1.5s", "now"])
def test_any_other_wait_is_refused(text: str) -> None:
    """With words that say what would be right."""
    with pytest.raises(Problem, match=r"wait=.* is no duration such as 30s up to 60s"):
        parse_wait_s(text, 60)


@pytest.mark.parametrize("text", [None, "", "all"])
def test_nothing_means_from_the_beginning(text: str | None) -> None:
    """Everything that lives."""
    assert parse_since(text, BOOT, NOW_MS, 7) == Position()


@pytest.mark.parametrize(
    ("text", "floor_ms"),
    [
        ("0s", NOW_MS),
        ("250ms", NOW_MS - 250),
        ("90s", NOW_MS - 90_000),
        ("10m", NOW_MS - 600_000),
        ("24h", NOW_MS - 86_400_000),
        ("7d", NOW_MS - 7 * 86_400_000),
        ("999999999d", 0),
        ("0", 0),
        ("1800000000", NOW_MS),
        ("99999999999", 99_999_999_999_000),
    ],
)
def test_a_span_counts_back_from_now_and_a_number_is_unix_time(text: str, floor_ms: int) -> None:
    """Time works on every node, cursor or not; a span longer than time itself is from the beginning."""
    assert parse_since(text, BOOT, NOW_MS, 7) == Position(floor_ms=floor_ms)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "yesterday",
            "-5m",
            "10 m",
            "10w",
            "1.5h",
            "m",
            "1e3",
            "2026-01-01T00:00:00Z",
            "\u0661\u0660m",
            "\u0661",
        ),
        *("1234567890123456", "1234567890m", "all ", "\x00", "null"),
        *(
            f"{BOOT}.1",
            f"{BOOT}.1.0.0",
            f"{BOOT}.-1.0",
            f"{BOOT}.1.-1",
            f"{BOOT.upper()}.1.0",
            f"{BOOT}.1.0\n",
        ),
        *(f"{BOOT}.{'9' * 19}.0", f"{BOOT}.0.{'9' * 16}", f"{BOOT[:-1]}.1.0", f"{BOOT}.\u0661.0"),
    ],
)
def test_anything_else_is_refused_with_what_would_be_right(text: str) -> None:
    """A reader that is not understood is told so, not given everything."""
    with pytest.raises(Problem) as caught:
        parse_since(text, BOOT, NOW_MS, 7)
    assert caught.value.code == "bad-request"
    assert "10m" in caught.value.detail
    assert caught.value.detail.isprintable()


@given(st.text(max_size=60))
def test_no_text_does_harm(text: str) -> None:
    """Whatever it is: a position with sane numbers or a refusal of bounded length."""
    try:
        position = parse_since(text, BOOT, NOW_MS, 7)
    except Problem as problem:
        position, said = Position(), problem.detail
    else:
        said = ""
    assert len(said) < 400
    assert 0 <= position.after_seq < 10**18
    assert 0 <= position.floor_ms < 10**15
