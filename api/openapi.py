"""The OpenAPI 3.1 document of the routes, made of what each has declared (api/operation.py). Pure.

The schemas are msgspec's own of the types that parse and answer; texts are the docstrings of the views.
WebSockets, which OpenAPI has no words for, are GETs answered 101, with their messages under `x-messages`.

Source:
    OpenAPI Specification 3.1.1; JSON Schema 2020-12.
"""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple, cast

import msgspec

from api.access import OPEN_PATHS, Credentials, is_writing
from api.errors import CODE_BY_HEAD_STATUS, PROBLEM_JSON, STATUS_BY_CODE, TITLE_BY_CODE, ProblemView
from api.operation import ACCESS, ANYWHERE, JSON, Answer, Operation, Shape

HEAD_STATUSES: Final = frozenset({400, *CODE_BY_HEAD_STATUS})
"""Given before the route is known: always as problem+json."""

_HEADERS: Final[dict[int, dict[str, str]]] = {
    401: {"WWW-Authenticate": "Which credentials are taken."},
    405: {"Allow": "What is taken."},
    426: {"Upgrade": "websocket"},
    429: {"Retry-After": "Seconds until there is room again."},
}

_ABOUT: Final = (
    "Post a record to any node; it is on every node within milliseconds, and gone when its life is over. "
    "HEAD is taken wherever GET is, OPTIONS everywhere. Fields may be added to answers, codes to refusals."
)

Json = dict[str, Any]


class Route(NamedTuple):
    """A route as the application knows it. `path`: with `{name}` for what varies. `text`: for people."""

    path: str
    method: str
    text: str
    operation: Operation


def make_document(routes: Iterable[Route], version: str, credentials: Credentials) -> Json:
    """Make the document.

    Args:
        version: of this software. credentials: say what needs some.
    """
    ordered = sorted(routes)
    shapes = _Shapes(shape for route in ordered for shape in _shapes_of(route.operation))
    paths: dict[str, Json] = {}
    for route in ordered:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, shapes, credentials)
    problem = shapes.components["ProblemView"]
    problem["properties"]["code"]["enum"] = sorted(STATUS_BY_CODE)
    return {
        "openapi": "3.1.1",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Dayfly",
            "version": version,
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(shapes.components.items())),
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "x-problems": {
            code: {"status": STATUS_BY_CODE[code], "title": TITLE_BY_CODE[code]}
            for code in sorted(STATUS_BY_CODE, key=lambda code: (STATUS_BY_CODE[code], code))
        },
    }


def openapi_path(rule: str) -> str:
    """Write a rule of the router as OpenAPI does: `/a/<kind:id>` as `/a/{id}`."""
    return re.sub(r"<(?:[^:<>]*:)?([^<>]*)>", r"{\1}", rule)


def problem_codes(path: str, method: str, declared: Operation) -> tuple[str, ...]:
    """List all codes that a route may give, in order of status."""
    access = () if path in OPEN_PATHS else ACCESS
    origin = () if method == "GET" else ("bad-origin",)
    codes = {*declared.problems, *ANYWHERE, *access, *origin}
    return tuple(sorted(codes, key=lambda code: (STATUS_BY_CODE[code], code)))


class _Shapes:
    """The schemas of all types that are named, collected in one go so that each is written once."""

    def __init__(self, shapes: Iterable[Shape]) -> None:
        types = list(dict.fromkeys(shape for shape in shapes if not isinstance(shape, Mapping)))
        schemas, self.components = msgspec.json.schema_components(
            types, ref_template="#/components/schemas/{name}"
        )
        self._by_type = dict(zip(types, schemas, strict=True))
        for component in self.components.values():
            component["description"] = inspect.cleandoc(component.get("description", ""))

    def schema(self, shape: Shape) -> Json:
        """Return the schema of a type, mostly a reference."""
        return {**cast("Json", shape)} if isinstance(shape, Mapping) else self._by_type[shape]

    def content(self, content: Mapping[str, Shape]) -> Json:
        """Lay out shapes by media type."""
        return {media_type: {"schema": self.schema(shape)} for media_type, shape in content.items()}


def _shapes_of(declared: Operation) -> Iterator[Shape]:
    for answer in declared.answers:
        yield from answer.content.values()
    yield from (*declared.body.values(), *declared.says, *declared.hears, ProblemView)
    if declared.refusal is not None:
        yield declared.refusal


def _operation(route: Route, shapes: _Shapes, credentials: Credentials) -> Json:
    declared = route.operation
    summary, _, rest = route.text.partition("\n\n")
    shown: Json = {
        "operationId": re.sub(r"\W+", "_", f"{route.method.lower()}{route.path}").strip("_"),
        "summary": " ".join(summary.split()),
        "tags": ["v1" if route.path.startswith("/v1") else "original" if declared.refusal else "node"],
        "security": _security(route, credentials),
        "parameters": [
            {
                "name": p.name,
                "in": p.place,
                "required": p.place == "path",
                "description": p.text,
                "schema": dict(p.schema),
            }
            for p in declared.parameters
        ],
        "responses": _responses(route, shapes),
    }
    if rest:
        shown["description"] = inspect.cleandoc(rest)
    if declared.body:
        shown["requestBody"] = {"required": True, "content": shapes.content(declared.body)}
    if declared.hears:
        messages = {"says": declared.says, "hears": declared.hears}
        shown["x-messages"] = {name: [*map(shapes.schema, each)] for name, each in messages.items()}
    return shown


def _security(route: Route, credentials: Credentials) -> list[Json]:
    """Say which credentials are needed; an empty object among them says that none is."""
    if route.path in OPEN_PATHS or not (credentials.protect_writing or credentials.protect_reading):
        return []
    writes = is_writing(route.method, route.path)
    needed = credentials.protect_writing if writes else credentials.protect_reading
    return [*([] if needed else [{}]), {"basic": []}, {"bearer": []}]


def _responses(route: Route, shapes: _Shapes) -> Json:
    responses = {str(answer.status): _answer(answer, shapes) for answer in route.operation.answers}
    by_status: dict[int, list[str]] = {}
    for code in problem_codes(route.path, route.method, route.operation):
        by_status.setdefault(STATUS_BY_CODE[code], []).append(code)
    for status, codes in by_status.items():
        refusal = _refusal(route.operation, status, codes, shapes)
        shown = responses.setdefault(str(status), {"description": refusal["description"], "content": {}})
        if shown["description"] != refusal["description"]:
            shown["description"] += " Or: " + refusal["description"]
        shown["content"] = {**shown.get("content", {}), **refusal["content"]}
        if "headers" in refusal:
            shown["headers"] = refusal["headers"]
    return dict(sorted(responses.items()))


def _answer(answer: Answer, shapes: _Shapes) -> Json:
    shown: Json = {"description": answer.text}
    if answer.content:
        shown["content"] = shapes.content(answer.content)
    if answer.headers:
        shown["headers"] = _headers(answer.headers)
    return shown


def _refusal(declared: Operation, status: int, codes: list[str], shapes: _Shapes) -> Json:
    """Describe the refusals of one status: the codes that come with it, in the words of the route."""
    narrowed = {"properties": {"code": {"enum": codes}, "status": {"const": status}}}
    problem = {"allOf": [shapes.schema(ProblemView), narrowed]}
    content: Json = {}
    if declared.refusal is None or status in HEAD_STATUSES:
        content[PROBLEM_JSON] = {"schema": problem}
    if declared.refusal is not None:
        content[JSON] = {"schema": shapes.schema(declared.refusal)}
    titles = "; ".join(f"`{code}`: {TITLE_BY_CODE[code]}" for code in codes)
    shown: Json = {"description": f"{HTTPStatus(status).phrase}. {titles}.", "content": content}
    if status in _HEADERS:
        shown["headers"] = _headers(_HEADERS[status])
    return shown


def _headers(texts: Mapping[str, str]) -> Json:
    return {
        name: {"description": text, "required": True, "schema": {"type": "string"}}
        for name, text in texts.items()
    }
