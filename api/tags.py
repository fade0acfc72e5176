"""Entity tags: a client that holds what a route would answer is told so, and sent nothing (RFC 9110, 8.8)."""

from collections.abc import Mapping
from typing import Final

from quart import Response, request

LISTED: Final = {"ETag": "Of all that is held. While nothing comes or ends it stays."}
"""What a route that lists says of its tag."""


def listing_headers(tag: str) -> dict[str, str]:
    """Return what goes with a listing: whoever keeps it asks each time whether it still holds.

    The tag is weak: it names what is held when the answer begins. What comes meanwhile is listed too, and if
    it is over before anything else changes, the tag does not show that it is gone.
    """
    return {"etag": f'W/"{tag}"', "cache-control": "no-cache"}


def not_modified(headers: Mapping[str, str]) -> Response | None:
    """Answer 304 if the client that is being served holds what the ETag names; None: send it.

    Args:
        headers: of the answer: `etag`, and the type, which caches take from a 304 (Quart's own is HTML).

    Source: RFC 9110, 13.1.2: tags are compared weakly, and only what reads is answered so.
    """
    tag = headers["etag"].removeprefix("W/").strip('"')
    if request.method in ("GET", "HEAD") and request.if_none_match.contains_weak(tag):
        return Response(b"", 304, dict(headers))  # without a body Quart would look for an asyncio loop
    return None
