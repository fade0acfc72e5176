"""Every refusal the HTTP floor can give: one table, two shapes.

A `Problem` is raised anywhere on this floor and rendered at its edge. `/v1` gets RFC 9457 problem+json
with a stable `code`; the two seed routes get the original's `{"result":false,"msg":…}` with the right
status (the original answered 200 to everything; its document never promised that).
"""

from typing import Final

import msgspec

SEED_ROUTES: Final = frozenset({"/postNewData", "/listAllRecentData"})

PROBLEM_JSON: Final = "application/problem+json"

SEED_JSON: Final = "application/json; charset=utf-8"
"""What the original routes answer with, as the original did."""

STATUS_BY_CODE: Final[dict[str, int]] = {
    "bad-json": 400,
    "bad-request": 400,
    "bad-id": 400,
    "bad-signature": 400,
    "bad-time": 400,
    "empty-field": 400,
    "expired": 400,
    "auth-required": 401,
    "unsigned": 400,
    "bad-origin": 403,
    "forbidden": 403,
    "not-found": 404,
    "method": 405,
    "timeout": 408,
    "id-conflict": 409,
    "too-large": 413,
    "bad-host": 421,
    "upgrade-required": 426,
    "too-many": 429,
    "head-too-large": 431,
    "internal": 500,
    "not-implemented": 501,
    "busy": 503,
    "bad-version": 505,
    "store-full": 507,
    "not-durable": 507,
}
"""All codes and their HTTP status. A code never changes its meaning; new ones may come."""

TITLE_BY_CODE: Final[dict[str, str]] = {
    "bad-json": "The body is not the JSON this route takes",
    "bad-request": "The request has a bad parameter",
    "bad-id": "The id cannot be used",
    "bad-signature": "The signature does not match",
    "bad-time": "The time stamp is out of bounds",
    "empty-field": "A required field is empty",
    "expired": "The record's life is over",
    "unsigned": "The record has no signature and the node makes none",
    "bad-origin": "Requests from this web origin are refused",
    "auth-required": "Credentials are needed",
    "forbidden": "These credentials do not allow that",
    "too-many": "Too much came from this address",
    "not-found": "There is nothing here",
    "method": "This route does not take that method",
    "timeout": "The request took too long",
    "id-conflict": "Another raw is stored under this id",
    "too-large": "The request is too large",
    "bad-host": "This node does not answer to that host name",
    "upgrade-required": "This route speaks WebSocket",
    "head-too-large": "The request's head is too large",
    "not-implemented": "This transfer coding is not implemented",
    "bad-version": "This version of HTTP is not spoken here",
    "internal": "The node failed; the record may or may not be stored",
    "busy": "The node has too much in hand just now",
    "store-full": "The store is full",
    "not-durable": "The record cannot be saved to disk now",
}

CODE_BY_HEAD_STATUS: Final = {431: "head-too-large", 501: "not-implemented", 505: "bad-version"}
"""Codes for what is refused before it is a request; anything else there is a `bad-request`."""

_SEED_MSG_BY_CODE: Final[dict[str, str]] = {
    "bad-json": "Error parsing data",
    "id-conflict": "Different raw data with same id",
    "bad-id": "Invalid data",
    "bad-signature": "Invalid data",
    "empty-field": "Invalid data",
    "unsigned": "Invalid data",
}


class ProblemView(msgspec.Struct, frozen=True):
    """A refusal (RFC 9457). `code` is stable and for programs, `detail` is for people."""

    type: str
    title: str
    status: int
    code: str
    detail: str


class SeedAnswer(msgspec.Struct, frozen=True):
    """How the two original routes answer, well or not: `msg` says what became of it."""

    result: bool
    msg: str


class Problem(Exception):
    """A refusal with a code of the table and one sentence that names the bad value and the fix.

    Attributes:
        code: str, a key of `STATUS_BY_CODE`.
        detail: str, for people; never holds a payload.
        headers: extra response headers, for example `Allow` or `Retry-After`.
    """

    def __init__(self, code: str, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.headers = headers or {}

    @property
    def status(self) -> int:
        """The HTTP status of the code."""
        return STATUS_BY_CODE[self.code]


def internal(error: Exception) -> Problem:
    """Say that there is a bug, and no more of it than its type."""
    return Problem("internal", f"an internal error ({type(error).__name__}); it is logged")


def render(problem: Problem, path: str) -> tuple[int, dict[str, str], bytes]:
    """Lay out a problem as the route at `path` words its errors.

    Returns:
        status, headers (content-type included, content-length not), body.
    """
    if path in SEED_ROUTES:
        msg = _SEED_MSG_BY_CODE.get(problem.code, TITLE_BY_CODE[problem.code])
        body = msgspec.json.encode(SeedAnswer(False, msg))
        content_type = SEED_JSON
    else:
        body = problem_json(problem)
        content_type = PROBLEM_JSON
    return problem.status, {**problem.headers, "content-type": content_type}, body


def problem_json(problem: Problem) -> bytes:
    """Encode a problem as RFC 9457 JSON, one line without the line end."""
    return msgspec.json.encode(
        ProblemView("about:blank", TITLE_BY_CODE[problem.code], problem.status, problem.code, problem.detail)
    )
