"""A route's answer before anybody puts it on the wire, so that a route is written once.

The busiest routes are reached through Quart or, when a request is in hand whole, past it (api/fastpath.py).
Both call the same function: body and content type in, `Reply` out, or a `Problem`.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from quart import Response, request

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


LISTED: Final = {"ETag": "Of all that is held. While nothing comes or ends it stays."}


def listing_headers(tag: str) -> dict[str, str]:
    """Return what goes with a listing: whoever keeps it asks each time whether it still holds.

    The tag is weak: it names what is held when the answer begins. What comes meanwhile is listed too, and if
    it is over before anything else changes, the tag does not show that it is gone.
    """
    return {"etag": f'W/"{tag}"', "cache-control": "no-cache"}


def same(headers: Mapping[str, str]) -> Response | None:
    """Answer 304 if the client that is being served holds what the ETag names; None: send it.

    Args:
        headers: of the answer: `etag`, and the type, which caches take from a 304 (Quart's own is HTML).

    Source: RFC 9110, 13.1.2: tags are compared weakly, and only what reads is answered so.
    """
    tag = headers["etag"].removeprefix("W/").strip('"')
    if request.method in ("GET", "HEAD") and request.if_none_match.contains_weak(tag):
        return Response(b"", 304, dict(headers))  # without a body Quart would look for an asyncio loop
    return None


def media_type(content_type: str) -> str:
    """Return the type without parameters, in lower case: `application/json` of `Application/JSON; a=b`."""
    return content_type.partition(";")[0].strip().lower()
