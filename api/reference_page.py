"""The page `/docs`: an OpenAPI document of ours as HTML. Pure. Every text is escaped; there is no script."""

import re
from html import escape
from typing import Any, Final

CSS: Final = "docs.css"

Json = dict[str, Any]

_HEAD: Final = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    f'<title>Dayfly: HTTP API</title><link rel="stylesheet" href="/static/{CSS}"></head><body>'
)


def make_page(document: Json) -> str:
    """Lay out a document."""
    info = document["info"]
    operations = [
        (path, method, shown)
        for path, methods in document["paths"].items()
        for method, shown in methods.items()
    ]
    index = "".join(
        f'<li><a href="#{shown["operationId"]}"><b>{method.upper()}</b> {escape(path)}</a></li>'
        for path, method, shown in operations
    )
    schemas = document["components"]["schemas"].items()
    return "".join(
        [
            _HEAD,
            f"<header><h1>Dayfly {escape(info['version'])}: HTTP API</h1>{_text(info['description'])}",
            '<p><a href="/openapi.json">openapi.json</a> is this page for programs.</p></header>',
            f'<nav aria-label="Routes"><ul>{index}</ul></nav><main>',
            *(_operation(*each) for each in operations),
            _problems(document["x-problems"]),
            "<h2>Types</h2>",
            *(_type(name, schema) for name, schema in schemas),
            "</main></body></html>\n",
        ]
    )


def _operation(path: str, method: str, shown: Json) -> str:
    parameters = [
        [_code(p["name"]), p["in"], _schema(p["schema"]), _inline(p["description"])]
        for p in shown["parameters"]
    ]
    body = shown.get("requestBody", {}).get("content", {})
    answers = [
        [status, _inline(answer["description"]), _content(answer.get("content", {})), _headers(answer)]
        for status, answer in shown["responses"].items()
    ]
    messages = [
        [side, "<br>".join(map(_schema, schemas))]
        for side, schemas in shown.get("x-messages", {}).items()
        if schemas
    ]
    return "".join(
        [
            f'<article id="{shown["operationId"]}"><h2><b>{method.upper()}</b> {escape(path)}</h2>',
            _text(shown["summary"]) + _text(shown.get("description", "")) + _security(shown["security"]),
            _table("Parameters", ["name", "in", "takes", "meaning"], parameters),
            _table(
                "Body", ["type", "holds"], [[_code(kind), _schema(c["schema"])] for kind, c in body.items()]
            ),
            _table("Messages", ["the client", "each one of"], messages),
            _table("Answers", ["status", "meaning", "holds", "headers"], answers),
            "</article>",
        ]
    )


def _security(needed: list[Json]) -> str:
    if not needed:
        return ""
    kinds = " or ".join(name for each in needed for name in each)
    return f"<p>Credentials: {kinds}{', or none' if {} in needed else ''}.</p>"


def _problems(problems: Json) -> str:
    rows = [[_code(code), str(p["status"]), escape(p["title"])] for code, p in problems.items()]
    return "<h2>Problem codes</h2>" + _table("", ["code", "status", "meaning"], rows)


def _type(name: str, schema: Json) -> str:
    required = schema.get("required", [])
    fields = [
        [_code(field), _schema(each), "always" if field in required else ""]
        for field, each in schema.get("properties", {}).items()
    ]
    return (
        f'<section id="{name}"><h3>{name}</h3>{_text(schema.get("description", ""))}'
        f"{_table('', ['field', 'type', 'there'], fields)}</section>"
    )


def _content(content: Json) -> str:
    return "<br>".join(f"{_code(kind)} {_schema(each['schema'])}" for kind, each in content.items())


def _headers(answer: Json) -> str:
    return ", ".join(_code(name) for name in answer.get("headers", {}))


def _schema(schema: Json) -> str:
    """Say in a few words what a schema takes, with links to the types."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f'<a href="#{name}">{name}</a>'
    for several in ("anyOf", "allOf"):
        if several in schema:
            named = (_schema(each) for each in schema[several] if "$ref" in each or "type" in each)
            return " or ".join(named)
    if "const" in schema or "enum" in schema:
        return ", ".join(_code(str(each)) for each in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_schema(schema.get('items', {}))}"
    bounds = [f"{name} {_code(str(schema[name]))}" for name in _BOUNDS if name in schema]
    extra = _inline(schema["description"]) if "description" in schema else ""
    return ", ".join(filter(None, [escape(str(schema.get("type", "anything"))), *bounds, extra]))


_BOUNDS: Final = ("minimum", "maximum", "minLength", "maxLength", "pattern")


def _table(caption: str, heads: list[str], rows: list[list[str]]) -> str:
    """Lay out rows of markup; nothing if there are none."""
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{each}</th>' for each in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    named = f"<caption>{caption}</caption>" if caption else ""
    return f"<table>{named}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _text(text: str) -> str:
    return "".join(f"<p>{_inline(part)}</p>" for part in text.split("\n\n") if part)


def _inline(text: str) -> str:
    """Escape a text; what stands between backticks becomes code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"
