"""Bytes to values: depth, types and encodings at their edges, and never a surprise exception."""

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import Problem
from api.parse import (
    JSON_BRACKETS_MAX,
    JSON_DEPTH_MAX,
    JSON_STRINGS_MAX,
    parse_json,
    parse_limit,
    parse_lines,
    parse_text,
    too_deep,
)


class Shape(msgspec.Struct):
    """What is asked for here."""

    raw: str
    count: int = 0


SHAPE = msgspec.json.Decoder(Shape)


def refused(body: bytes) -> str:
    with pytest.raises(Problem) as caught:
        parse_json(body, SHAPE)
    assert caught.value.code == "bad-json"
    return caught.value.detail


def nested(levels: int, opening: str = "[", closing: str = "]") -> bytes:
    """Write an object whose ignored field makes it `levels` deep in all."""
    return f'{{"raw":"x","y":{opening * (levels - 1)}{closing * (levels - 1)}}}'.encode()


def depth(value: Any) -> int:
    """Count levels the plain way."""
    if isinstance(value, dict | list):
        parts: list[Any] = list(value.values() if isinstance(value, dict) else value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType] - JSON is untyped
        return 1 + max(map(depth, parts), default=0)
    return 0


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"z":', "}")])
def test_sixteen_levels_pass_and_seventeen_do_not(opening: str, closing: str) -> None:
    """The edge of the depth, in a field that nobody asked for."""
    for levels in (JSON_DEPTH_MAX - 1, JSON_DEPTH_MAX):
        body = nested(levels, opening, closing).replace(b":}", b":1}")
        assert parse_json(body, SHAPE).raw == "x"
    body = nested(JSON_DEPTH_MAX + 1, opening, closing).replace(b":}", b":1}")
    assert "16 levels" in refused(body)


GOOD = b'{"raw":"x"}'
LINES = st.lists(
    st.sampled_from(
        [
            *(
                GOOD,
                GOOD,
                GOOD,
                b'{"raw":"{}","count":2}',
                nested(JSON_DEPTH_MAX),
                nested(JSON_DEPTH_MAX + 1),
            ),
            *(GOOD + GOOD, GOOD + b" " + GOOD, b" " + GOOD, GOOD + b"\r", b'{"raw":1}', b"{}", b"\xff", b"x"),
            # What begins on one line and ends on another, though each begins and ends as a value does.
            *(
                b'{"raw":"x","y":{}',
                b'{"raw":"a}',
                b'{"}',
                b'{"raw":',
                b'"b"}',
                b'{"y":[[1',
                b'{"z":2}]],"raw":"c"}',
            ),
        ]
    ),
    max_size=5,
)


@given(lines=LINES)
def test_lines_are_judged_as_each_by_itself(lines: list[bytes]) -> None:
    """One call for many lines takes no value that spans two, nor two that share a line."""

    def alone(line: bytes) -> Shape | str:
        try:
            return parse_json(line, SHAPE)
        except Problem as problem:
            return problem.detail

    together = [p.detail if isinstance(p, Problem) else p for p in parse_lines(lines, SHAPE)]
    assert together == [alone(line) for line in lines]


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"a":' * 100_000, b"[{" * 50_000, b'{"raw":' + b"[" * 99_999]
)
def test_a_pile_of_brackets_costs_neither_stack_nor_time(body: bytes) -> None:
    """A hundred thousand levels are refused within 100 ms of CPU time."""
    start = time.thread_time()
    assert refused(body)
    assert time.thread_time() - start < 0.1


@pytest.mark.parametrize(
    "body",
    [
        b'{"raw":"' + b"[" * 1000 + b'"}',
        b'{"raw":"' + rb"\"[" * 1000 + b'"}',
        b'{"raw":"\\\\","y":"' + b"{" * 1000 + b'"}',
        b'{"raw":"x","y":[' + b"[]," * 1000 + b"[]]}",
    ],
)
def test_brackets_in_strings_and_beside_each_other_are_not_depth(body: bytes) -> None:
    """Only nesting counts; a raw may be full of brackets."""
    assert parse_json(body, SHAPE).raw == json.loads(body)["raw"]


def test_a_raw_may_be_all_brackets_and_other_fields_may_not() -> None:
    """The edge of what there is to look at, and brackets that only an escape hides."""
    side_by_side = b"[]," * (JSON_BRACKETS_MAX - 3) + b"[]"
    for raw in (b"[" * 1_000_000, rb"\u005b" * 1_000):
        body = b'{"raw":"' + raw + b'","y":[' + side_by_side + b"]}"
        assert parse_json(body, SHAPE).raw == json.loads(body)["raw"]
    assert "all brackets" in refused(b'{"raw":"x","y":[' + b"[]," * JSON_BRACKETS_MAX + b"[]]}")
    hidden = rb"\u005B" * 100 + b'","y":' + b"[" * JSON_DEPTH_MAX + b"]" * JSON_DEPTH_MAX
    assert "16 levels" in refused(b'{"raw":"' + hidden + b"}")


def test_other_fields_may_hold_so_many_strings_where_brackets_must_be_looked_at() -> None:
    """Their edge; quotes in a raw do not count, and without brackets nothing is looked at."""
    nested, own = b"[[" * 7 + b"]]" * 7 + b",[[[[]]]]", 3  # "raw", its text and "y"
    quotes = rb"\"" * 1_000
    for strings, brackets, fits in (
        (JSON_STRINGS_MAX - own, nested, True),
        (JSON_STRINGS_MAX - own + 1, nested, False),
        (JSON_STRINGS_MAX, b"0", True),
    ):
        body = b'{"raw":"' + quotes + b'","y":[' + b'"",' * strings + brackets + b"]}"
        if fits:
            assert parse_json(body, SHAPE).raw == '"' * 1_000
        else:
            assert "all brackets or strings" in refused(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.text('[]{}"\\', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text('ab[{"', max_size=2), inner, max_size=2)
    ),
    max_leaves=60,
)


@given(json_values, st.lists(st.booleans(), max_size=20), st.booleans())
def test_depth_is_measured_as_a_parser_would(value: object, wraps: list[bool], ascii_only: bool) -> None:
    """The shortcut over bytes agrees with counting levels of the parsed value."""
    for as_list in wraps:
        value = [value] if as_list else {"a": value}
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert too_deep(body) == (depth(value) > JSON_DEPTH_MAX)


@given(st.binary(max_size=60) | st.text('[]{}":,\\0truex', max_size=60).map(str.encode))
def test_no_bytes_raise_anything_but_a_problem(body: bytes) -> None:
    """A parser that is fed noise says so; what it says can be shown."""
    problem: Problem | None = None
    try:
        parse_json(body, SHAPE)
    except Problem as caught:
        problem = caught
    assert problem is None or (problem.code == "bad-json" and len(problem.detail) < 200)


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b" ",
            b"null",
            b"1",
            b'"x"',
            b"[]",
            b"true",
            b"nonsense",
            b"{",
            b'{"raw":"x"',
            b'{"raw":"x"}}',
            b"{}",
        ),
        *(b'{"raw":1}', b'{"raw":null}', b'{"raw":["x"]}', b'{"raw":{}}', b'{"raw":true}', b"{'raw':'x'}"),
        *(b'{"raw":"x","count":"1"}', b'{"raw":"x","count":1.5}', b'{"raw":"x","count":1e999}'),
        *(
            b'{"raw":"x","count":NaN}',
            b'{"raw":"x","count":Infinity}',
            b'{"raw":"x","count":' + b"9" * 900_000 + b"}",
        ),
        *(
            b'{"raw":"\xff"}',
            b'{"raw":"\xed\xa0\x80"}',
            b'{"raw":"\xc0\xaf"}',
            b'\xff\xfe{\x00"\x00',
            b'{"raw":"\\ud800"}',
        ),
        *(
            b'\xef\xbb\xbf{"raw":"x"}',
            b'{"raw":"x\n"}',
            b'{"raw":"\\x41"}',
            b'{"raw":"x",}',
            b'{"raw":"x"} x',
        ),
        '{"raw":"x"}'.encode("utf-16"),
        '{"raw":"x"}'.encode("utf-32-le"),
    ],
    ids=lambda body: repr(body[:30]),
)
def test_what_is_no_json_or_of_another_type_is_refused(body: bytes) -> None:
    """Strict types: a number is no text, and what is no JSON is nothing."""
    assert len(refused(body)) < 200


def test_a_refusal_says_where_and_never_quotes_the_payload() -> None:
    """Enough to mend it, nothing to leak: the message can be logged."""
    assert "$.raw" in refused(b'{"raw":1,"secret":"hunter2"}')
    for body in (b'{"raw":"hunter2"', b'hunter2{"raw":"x"}', b'{"raw":"hunter2","count":"hunter2"}'):
        assert "hunter2" not in refused(body)


def test_fields_nobody_asked_for_and_repeated_ones_do_no_harm() -> None:
    """Unknown fields are ignored, of repeated ones the last counts, eighty thousand cost little."""
    assert parse_json(b'{"raw":"a","raw":"b","more":[1,{}]}', SHAPE).raw == "b"
    many = ",".join(f'"k{i}":{i}' for i in range(80_000))
    start = time.thread_time()
    assert parse_json(f'{{{many},"raw":"x"}}'.encode(), SHAPE).raw == "x"
    assert time.thread_time() - start < 0.1


def test_a_text_body_is_utf_8_and_not_empty() -> None:
    """The plain way in: what `curl -d` sends, line ends and all."""
    assert parse_text("é\r\n\x00".encode()) == "é\r\n\x00"
    for body, code in ((b"", "empty-field"), (b"ok\xff", "bad-request"), (b"\xed\xa0\x80", "bad-request")):
        with pytest.raises(Problem) as caught:
            parse_text(body)
        assert caught.value.code == code
    with pytest.raises(Problem, match="byte 2"):
        parse_text(b"ok\xff")


@pytest.mark.parametrize(("text", "limit"), [(None, 100), ("1", 1), ("1000", 1000), ("007", 7)])
def test_a_limit_is_a_number_within_its_bounds(text: str | None, limit: int) -> None:
    """Absent is the default; both edges are in."""
    assert parse_limit(text, 100, 1000) == limit


@pytest.mark.parametrize(
    "text", ["", "0", "1001", "-1", "+1", "1.0", "1e2", "abc", " 1", "\u0661", "9" * 5000]
)
def test_any_other_limit_is_refused_with_the_bounds(text: str) -> None:
    """Zero, too many, and everything that is no plain number."""
    with pytest.raises(Problem, match="1 to 1000") as caught:
        parse_limit(text, 100, 1000)
    assert caught.value.code == "bad-request"
    assert len(caught.value.detail) < 200
