"""A route's answer before anybody puts it on the wire, so that a route is written once.

The busiest routes are reached through Quart or, when a request is in hand whole, past it (api/fastpath.py).
Both call the same function: body and content type in, `Reply` out, or a `Problem`.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from quart import Response

from api.errors import Problem, render


class Reply(NamedTuple):
    """An answer with its whole body; `headers` by lower-case name, content-length left out."""

    status: int
    headers: dict[str, str]
    body: bytes

    def response(self) -> Response:
        """Return it as Quart wants it."""
        return Response(self.body, self.status, self.headers)

    @classmethod
    def refusing(cls, problem: Problem, path: str) -> "Reply":
        """Word a problem as the route at `path` does."""
        return cls(*render(problem, path))


Handler = Callable[[bytes, str], Awaitable[Reply]]
"""Answers a POST, given its body and its Content-Type (empty when there is none). Raises Problem."""


def media_type(content_type: str) -> str:
    """Return the type without parameters, in lower case: `application/json` of `Application/JSON; a=b`."""
    return content_type.partition(";")[0].strip().lower()
