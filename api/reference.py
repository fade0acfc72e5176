"""`/openapi.json` and `/docs`: what this node's routes take and give, for programs and for people.

Both are made once, when the application is, from the routes it has. The page is HTML and one style sheet:
no script, nothing from elsewhere, so it works where there is no internet.
"""

import inspect
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from quart import Blueprint, Response, request
from quart_trio import QuartTrio

from api.access import Credentials
from api.openapi import Route, make_document, openapi_path
from api.operation import JSON, TEXT, Answer, Operation, operation, operation_of
from api.reference_page import CSS, make_page
from node import VERSION

HTML: Final = "text/html; charset=utf-8"

POLICY: Final = {
    "content-security-policy": (
        "default-src 'self'; script-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; object-src 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
"""With every part. `no-cache`: kept, but asked for by its tag each time, so that an upgrade shows at once."""

_TAG: Final = {"ETag": "Of this very text."}
_SAME = Answer(304, "It is the one that the client has (If-None-Match).")


class Part(NamedTuple):
    """What one of the routes answers with."""

    body: bytes
    media_type: str
    tag: str


def add_reference(app: QuartTrio, credentials: Credentials) -> None:
    """Add the routes to an application that has all others, and make what they answer with.

    Raises:
        ValueError: a route has declared nothing (a bug, seen at the start).
    """
    parts: dict[str, Part] = {}
    app.register_blueprint(_make_blueprint(parts))
    document = make_document(routes_of(app), VERSION, credentials)
    encoded = msgspec.json.encode(document)
    parts["document"] = _part(encoded, JSON)
    parts["page"] = _part(make_page(document).encode(), HTML)
    parts["style"] = _part((Path(__file__).parent / "static" / CSS).read_bytes(), "text/css; charset=utf-8")


def routes_of(app: QuartTrio) -> Iterator[Route]:
    """Yield every route of an application with what it declares. Raises ValueError as `add_reference`."""
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        declared = operation_of(view)
        if declared is None:
            raise ValueError(f"{rule.rule} declares nothing; put @operation(...) above {rule.endpoint}")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            yield Route(openapi_path(rule.rule), method, inspect.getdoc(view) or "", declared)


def _make_blueprint(parts: dict[str, Part]) -> Blueprint:
    routes = Blueprint("reference", __name__)

    @routes.get("/openapi.json")
    @operation(Operation((Answer(200, "The document.", {JSON: {"type": "object"}}, _TAG), _SAME)))
    async def openapi_json() -> Response:
        """Describe every route of this node: OpenAPI 3.1."""
        return _answer(parts["document"])

    @routes.get("/docs")
    @operation(Operation((Answer(200, "The page.", {"text/html": TEXT}, _TAG), _SAME)))
    async def docs() -> Response:
        """Describe every route of this node, for people."""
        return _answer(parts["page"])

    @routes.get(f"/static/{CSS}")
    @operation(Operation((Answer(200, "The style sheet.", {"text/css": TEXT}, _TAG), _SAME)))
    async def docs_style() -> Response:
        """Say how that page looks."""
        return _answer(parts["style"])

    return routes


def _part(body: bytes, media_type: str) -> Part:
    return Part(body, media_type, sha256(body).hexdigest()[:32])


def _answer(part: Part) -> Response:
    """Answer with a part, or with 304 if the client has this very one."""
    fresh = request.if_none_match.contains_weak(part.tag)
    headers = {**POLICY, "content-type": part.media_type, "etag": f'"{part.tag}"'}
    return Response(b"" if fresh else part.body, 304 if fresh else 200, headers)
