"""`/openapi.json` and `/docs`: what this node's routes take and give, for programs and for people.

Both are made once, when the application is, from the routes it has. The page is HTML and one style sheet
(a part of `api/page.py`): no script, nothing from elsewhere, so it works where there is no internet.
"""

import inspect
from collections.abc import Iterator
from typing import Final

import msgspec
from quart import Blueprint, Response
from quart_trio import QuartTrio

from api.access import Credentials
from api.openapi import Route, make_document, openapi_path
from api.operation import JSON, SAME, TEXT, Answer, Operation, operation, operation_of
from api.page import TYPES, Part, answer_part
from api.reference_page import make_page
from node.exports import VERSION

POLICY: Final = {
    "content-security-policy": (
        "default-src 'self'; script-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; object-src 'none'"
    )
}
"""Here, unlike on the dashboard, no script at all."""

_TAG: Final = {"ETag": "Of this very text."}


def add_reference(app: QuartTrio, credentials: Credentials) -> None:
    """Add the routes to an application that has all others, and make what they answer with.

    Raises:
        ValueError: a route has declared nothing (a bug, seen at the start).
    """
    parts: dict[str, Part] = {}
    app.register_blueprint(_make_blueprint(parts))
    document = make_document(routes_of(app), VERSION, credentials)
    encoded = msgspec.json.encode(document)
    parts["document"] = Part.of(encoded, JSON)
    parts["page"] = Part.of(make_page(document).encode(), TYPES[".html"])


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
    @operation(Operation((Answer(200, "The document.", {JSON: {"type": "object"}}, _TAG), SAME)))
    async def openapi_json() -> Response:
        """Describe every route of this node: OpenAPI 3.1."""
        return answer_part(parts["document"], POLICY)

    @routes.get("/docs")
    @operation(Operation((Answer(200, "The page.", {"text/html": TEXT}, _TAG), SAME)))
    async def docs() -> Response:
        """Describe every route of this node, for people."""
        return answer_part(parts["page"], POLICY)

    return routes
