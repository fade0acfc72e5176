"""Bytes from a client to values, or a `Problem` that says what is wrong. Pure."""

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeVar

import msgspec

from api.errors import Problem
from api.operation import Parameter
from node.values import duration_s

WAIT_TIMEOUT_S_DEFAULT = 2.0
WAIT_TIMEOUT_S_MAX = 60.0
"""How long a post may wait for nodes to hold it; nodes remember what they were asked for as long."""

_TIMEOUT = re.compile(r"([0-5]?[0-9](\.[0-9]{1,6})?|60)s?|([0-5]?[0-9]{1,4}|60000)ms|[01]m")
_WAIT = re.compile(r"all|(?!0+$)[0-9]{1,9}")

WAIT = Parameter(
    "wait",
    "query",
    "Answer when `all` nodes, or so many, hold it (202 if too few do in time).",
    {"type": "string", "pattern": f"^({_WAIT.pattern})$"},
)
TIMEOUT = Parameter(
    "timeout",
    "query",
    f"How long to wait for nodes: by default {WAIT_TIMEOUT_S_DEFAULT:.0f}s, up to {WAIT_TIMEOUT_S_MAX:.0f}s.",
    {"type": "string", "pattern": f"^({_TIMEOUT.pattern})$"},
)

JSON_DEPTH_MAX = 16
"""How deeply JSON may nest. Our objects are flat; what is in fields we ignore may not cost a stack."""

JSON_BRACKETS_MAX = 4_096
"""Opening brackets in one document besides those in the texts of known fields. They can only be in fields
we ignore, and looking at a million of them costs 200 ms."""

JSON_STRINGS_MAX = 250_000
"""Strings looked at besides the texts of known fields, in a document that has brackets enough to be too deep.
A million of them keep the loop for 55 ms, more than anything may."""

BATCH_LINES_MAX = 10_000
"""Lines of one batch: a second's work, so that a client learns of trouble soon."""

T = TypeVar("T", bound=msgspec.Struct)

_STRING = rb'"(?:[^"\\]++|\\.)*+"?'
_STRINGS = re.compile(_STRING + rb'(?:[^"\[\]{}]*+' + _STRING + b")*+", re.DOTALL)
"""A string and all that follow it without a bracket between: one match for each would take 1.2 s for two
million small ones, this takes 0.1 s. Possessive throughout, so linear."""

_NO_BRACKET = bytes(b for b in range(256) if b not in b"[]{}")
_ESCAPED_BRACKET = re.compile(rb"\\u00[57][bBdD]")
_TOO_MANY_OPEN = b"[" * (JSON_DEPTH_MAX + 1)
_SQUARE = bytes.maketrans(b"{}", b"[]")
_OPENING, _CLOSING = b"{}"


def parse_json(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode JSON into what `decoder` is for; unknown fields are ignored.

    Raises:
        Problem: `bad-json`, with what is wrong and where, never with the payload.
    """
    try:
        value = decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Problem("bad-json", f"the JSON does not fit: {error}") from None
    except msgspec.DecodeError as error:
        raise Problem("bad-json", f"the body is not JSON: {error}") from None
    except UnicodeDecodeError:
        raise Problem("bad-json", "the body is not UTF-8") from None
    except RecursionError:
        raise Problem("bad-json", f"the JSON nests deeper than {JSON_DEPTH_MAX} levels") from None
    # Looked into only when there are enough to be too deep: 0.5 in place of 1.6 µs for a record of 150 bytes.
    if body.count(b"[") + body.count(b"{") > JSON_DEPTH_MAX and too_deep(body, *_in_texts(value)):
        raise Problem(
            "bad-json", f"the JSON nests deeper than {JSON_DEPTH_MAX} levels, or is all brackets or strings"
        )
    return value


def count_lines(body: bytes) -> int:
    """Count the lines of a batch that may be records, to `BATCH_LINES_MAX` and one: then it is refused whole.

    Empty ones are none. What is behind the last line that is looked at counts as one, whatever it is: 8 MiB
    of line ends cost 0.5 ms in place of 2.4 for counting them all, lines of 1 KiB 2.9 in place of 2.2
    (measured).
    """
    lines = body.split(b"\n", BATCH_LINES_MAX)
    return len(lines) - lines.count(b"") - lines.count(b"\r")


def parse_lines(lines: Sequence[bytes], decoder: msgspec.json.Decoder[T]) -> list[T | Problem]:
    """Decode lines (none of them empty) as `parse_json` does each; where it raises stands the problem.

    As a rule all lines are good, and one call decodes them: 0.2 in place of 0.5 µs each (measured). It takes
    whatever white space stands between values, so it is asked only where each line is one value for sure:
    all begin with `{` and end with `}`, so at no end of a line can a value go on (a text that goes on is no
    JSON), and there are as many values as lines.
    """
    joined = b"\n".join(lines)
    if _all_whole(lines) and _all_flat(lines, joined):
        with suppress(ValueError, RecursionError):  # some line is bad; msgspec's errors are ValueErrors
            values = decoder.decode_lines(joined)
            if len(values) == len(lines):
                return [*values]
    return [_parse_line(line, decoder) for line in lines]


def _all_whole(lines: Sequence[bytes]) -> bool:
    return len([line for line in lines if line[0] == _OPENING and line[-1] == _CLOSING]) == len(lines)


def _all_flat(lines: Sequence[bytes], joined: bytes) -> bool:
    """Whether no line has more brackets than may nest: told of all at once where each has one pair."""
    if b"[" not in joined and joined.count(b"{") < len(lines) + JSON_DEPTH_MAX:
        return True
    return all(line.count(b"[") + line.count(b"{") <= JSON_DEPTH_MAX for line in lines)


def _parse_line(line: bytes, decoder: msgspec.json.Decoder[T]) -> T | Problem:
    try:
        return parse_json(line, decoder)
    except Problem as problem:
        return problem


def _in_texts(value: msgspec.Struct) -> tuple[int, int]:
    """Count opening brackets and quotes in the texts of known fields."""
    texts = [text for name in value.__struct_fields__ if isinstance(text := getattr(value, name), str)]
    return sum(t.count("[") + t.count("{") for t in texts), sum(t.count('"') for t in texts)


def too_deep(body: bytes, brackets_in_texts: int = 0, quotes_in_texts: int = 0) -> bool:
    """Tell whether JSON nests deeper than `JSON_DEPTH_MAX`, or has more to look at than `JSON_BRACKETS_MAX`
    brackets or `JSON_STRINGS_MAX` strings.

    Strings and all but brackets are cut out and all brackets made alike; then each pass removes the
    innermost level of pairs. What is left after the last pass nests deeper, or is no JSON at all. Time is
    linear in the length.

    Args:
        brackets_in_texts, quotes_in_texts: how many opening brackets and quotes are known to be in strings.
    """
    opening = body.count(b"[") + body.count(b"{")
    if opening - brackets_in_texts > JSON_BRACKETS_MAX:
        return True
    if opening <= JSON_DEPTH_MAX:
        return False
    if opening - brackets_in_texts <= JSON_DEPTH_MAX and not _ESCAPED_BRACKET.search(body):
        return False
    if body.count(b'"') - quotes_in_texts > 2 * JSON_STRINGS_MAX:
        return True
    brackets = _STRINGS.sub(b"", body).translate(_SQUARE, _NO_BRACKET)
    for _ in range(JSON_DEPTH_MAX):
        if not brackets:
            return False
        if _TOO_MANY_OPEN in brackets:
            return True
        before = len(brackets)
        brackets = brackets.replace(b"[]", b"")
        if len(brackets) == before:
            return True  # what is left never closes
    return bool(brackets)


def parse_text(body: bytes) -> str:
    """Decode a body that is a record's raw.

    Raises:
        Problem: it is not UTF-8, or empty.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Problem(
            "bad-request",
            f"the body is not UTF-8 (byte {error.start}); encode binary data, for example base64",
        ) from None
    if not text:
        raise Problem("empty-field", "the body is empty; it becomes the record's raw")
    return text


def parse_limit(text: str | None, default: int, limit_max: int) -> int:
    """Read `?limit=`. Raises Problem when it is not a number from 1 to `limit_max`."""
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or not 1 <= int(text) <= limit_max:
        raise Problem("bad-request", f"limit={text[:40]!r} is not a number from 1 to {limit_max}")
    return int(text)


def parse_wait(text: str) -> int | None:
    """Read `?wait=`: how many nodes shall hold a record, the answering one included; None for all.

    Raises:
        Problem: it is neither `all` nor a number from 1 on.
    """
    if text == "all":
        return None
    if not _WAIT.fullmatch(text):
        raise Problem("bad-request", f"wait={text[:40]!r} is neither all nor a number of nodes from 1 on")
    return int(text)


def parse_timeout(text: str | None) -> float:
    """Read `?timeout=` as seconds. Raises Problem when it is no duration up to `WAIT_TIMEOUT_S_MAX`."""
    if text is None:
        return WAIT_TIMEOUT_S_DEFAULT
    if not _TIMEOUT.fullmatch(text):
        raise Problem(
            "bad-request",
            f"timeout={text[:40]!r} is not a duration up to {WAIT_TIMEOUT_S_MAX:.0f}s, such as 500ms or 2s",
        )
    return duration_s(text)
