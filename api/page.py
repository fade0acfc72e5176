"""The dashboard: one page at `/` and its parts under `/static/`, read once and served from memory.

Static ES modules, no build step. The page speaks only the public API of the node that served it, and the
policy that goes with it lets it do nothing else: no script or style but those files, none inline, no
request to another host, no markup made from text.
"""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple, Self

from quart import Blueprint, Response

from api.errors import Problem
from api.operation import SAME, TEXT, Answer, Operation, Parameter, operation
from api.tags import not_modified

FOLDER: Final = Path(__file__).parent / "static"
PAGE: Final = "index.html"

TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

HEADERS: Final = {
    "content-security-policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}
"""With every part. `no-cache`: kept, but asked for by its tag each time, so that after an upgrade no browser
puts new and old parts together; an answer of no bytes costs nothing on a local network. Trusted types: a
script that would set markup from text is stopped by the browser (W3C Trusted Types)."""


class Part(NamedTuple):
    """One file: what it holds, its media type, and its tag."""

    body: bytes
    media_type: str
    tag: str

    @classmethod
    def of(cls, body: bytes, media_type: str) -> Self:
        """Make a part and its tag."""
        return cls(body, media_type, sha256(body).hexdigest()[:32])


def read_parts(folder: Path = FOLDER) -> dict[str, Part]:
    """Read the files of the page, by name."""
    parts: dict[str, Part] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix in TYPES:
            parts[file.name] = Part.of(file.read_bytes(), TYPES[file.suffix])
    return parts


def make_blueprint() -> Blueprint:
    """Make the routes."""
    routes = Blueprint("page", __name__)
    parts = read_parts()

    @routes.get("/")
    @operation(Operation((Answer(200, "The page.", {"text/html": TEXT}), SAME)))
    async def page() -> Response:
        """The dashboard."""
        return answer_part(parts[PAGE])

    @routes.get("/static/<name>")
    @operation(
        Operation(
            (
                Answer(
                    200, "The part.", dict.fromkeys([kind.partition(";")[0] for kind in TYPES.values()], TEXT)
                ),
                SAME,
            ),
            problems=("not-found",),
            parameters=(Parameter("name", "path", "The name of its file.", TEXT),),
        )
    )
    async def part(name: str) -> Response:
        """A part of it."""
        found = parts.get(name)
        if found is None or name == PAGE:
            raise Problem("not-found", "the dashboard has no such part")
        return answer_part(found)

    return routes


def answer_part(part: Part, policy: Mapping[str, str] = {}) -> Response:
    """Answer with a part, or with 304 if the browser has this very one. `policy`: goes before `HEADERS`."""
    headers = {**HEADERS, **policy, "content-type": part.media_type, "etag": f'"{part.tag}"'}
    return not_modified(headers) or Response(part.body, 200, headers)
