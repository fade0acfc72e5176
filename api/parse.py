"""Bytes from a client to values, or a `Problem` that says what is wrong. Pure."""

import re
from typing import TypeVar

import msgspec

from api.errors import Problem

JSON_DEPTH_MAX = 16
"""How deeply JSON may nest. Our objects are flat; what is in fields we ignore may not cost a stack."""

T = TypeVar("T")

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NO_BRACKET = bytes(b for b in range(256) if b not in b"[]{}")


def parse_json(body: bytes, kind: type[T]) -> T:
    """Decode JSON into `kind`; unknown fields are ignored.

    Raises:
        Problem: `bad-json`, with what is wrong and where, never with the payload.
    """
    if too_deep(body):
        raise Problem("bad-json", f"the JSON nests deeper than {JSON_DEPTH_MAX} levels")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise Problem("bad-json", f"the JSON does not fit: {error}") from None
    except msgspec.DecodeError as error:
        raise Problem("bad-json", f"the body is not JSON: {error}") from None
    except UnicodeDecodeError:
        raise Problem("bad-json", "the body is not UTF-8") from None
    except RecursionError:
        raise Problem("bad-json", f"the JSON nests deeper than {JSON_DEPTH_MAX} levels") from None


def too_deep(body: bytes) -> bool:
    """Tell whether JSON nests deeper than `JSON_DEPTH_MAX`, in time linear in its length.

    Strings and all but brackets are cut out; then each pass removes one level of pairs. What is left
    after the last pass nests deeper, or is no JSON at all.
    """
    if body.count(b"[") + body.count(b"{") <= JSON_DEPTH_MAX:
        return False
    brackets = _STRING.sub(b"", body).translate(None, _NO_BRACKET)
    for _ in range(JSON_DEPTH_MAX):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
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
