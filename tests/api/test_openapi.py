"""`/openapi.json` and `/docs`: they say what the routes do, all of it, and nothing that is not so."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any, cast

import pytest
from quart import Blueprint
from quart_trio import QuartTrio

from api import Access, Credentials, Feeds, HttpLimits, ServerStatistics, create_app
from api.errors import STATUS_BY_CODE, TITLE_BY_CODE
from api.openapi import openapi_path
from api.operation import Operation, operation
from api.reference import add_reference, routes_of
from api.sockets import SOCKET_ROUTES
from tests.api.live import live, make_node
from tests.api.nodes import lone_node
from tests.processes import NodeProcess

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


@pytest.fixture(scope="module")
def node() -> Iterator[NodeProcess]:
    """One node for all tests here."""
    with lone_node("--ttl", "1h") as node:
        yield node


@pytest.fixture(scope="module")
def document(node: NodeProcess) -> dict[str, Any]:
    """What it says of itself."""
    shown: dict[str, Any] = node.get("/openapi.json")
    return shown


async def make_app() -> QuartTrio:
    """Make an application over a node that never ran."""
    node = make_node()
    app = create_app(Feeds(node), HttpLimits(), ServerStatistics())
    node.close()
    return app


def every(value: object, key: str) -> Iterator[Any]:
    """Yield what stands under `key`, anywhere in JSON."""
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        if key in fields:
            yield fields[key]
        for each in fields.values():
            yield from every(each, key)
    elif isinstance(value, list):
        for each in cast("list[object]", value):
            yield from every(each, key)


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """List operations by path and method."""
    paths = document["paths"].items()
    return {(path, method): shown for path, methods in paths for method, shown in methods.items()}


async def test_the_document_has_every_route_and_no_other(document: dict[str, Any]) -> None:
    """The router's own table is the measure; WebSocket routes are in it as what they answer without one."""
    rules = list((await make_app()).url_map.iter_rules())
    described = operations(document).keys()
    routed = {
        (openapi_path(rule.rule), method.lower())
        for rule in rules
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert described == routed
    assert {path for path, shown in operations(document).items() if "101" in shown["responses"]} == {
        (path, "get") for path in SOCKET_ROUTES
    }
    for rule in rules:  # what the document says of all routes in one sentence
        methods = rule.methods or set()
        assert "OPTIONS" in methods
        assert ("HEAD" in methods) == ("GET" in methods)


def test_the_document_has_every_problem_code_with_its_status(document: dict[str, Any]) -> None:
    """The error table, the enumeration, and what routes give are one set."""
    assert document["x-problems"] == {
        code: {"status": STATUS_BY_CODE[code], "title": TITLE_BY_CODE[code]} for code in STATUS_BY_CODE
    }
    given: set[str] = set()
    for shown in operations(document).values():
        for status, answer in shown["responses"].items():
            codes = re.findall(r"`([a-z-]+)`: ", answer["description"])
            assert {STATUS_BY_CODE[code] for code in codes} <= {int(status)}
            given.update(codes)
    assert given == STATUS_BY_CODE.keys()
    assert set(document["components"]["schemas"]["ProblemView"]["properties"]["code"]["enum"]) == given


def test_the_document_is_openapi_3_1(document: dict[str, Any]) -> None:
    """What the specification demands of a document of this kind; JSON Schema's words are used as it says."""
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert {"title", "version"} <= document["info"].keys()
    shown = operations(document)
    ids = [each["operationId"] for each in shown.values()]
    assert len(set(ids)) == len(ids)
    for (path, method), each in shown.items():
        assert path.startswith("/")
        assert method in METHODS
        assert each["summary"]
        in_path = {p["name"] for p in each["parameters"] if p["in"] == "path"}
        assert in_path == set(re.findall(r"{(.*?)}", path))
        assert all(p["required"] is (p["in"] == "path") and "type" in p["schema"] for p in each["parameters"])
        assert len({(p["name"], p["in"]) for p in each["parameters"]}) == len(each["parameters"])
        assert all(answer["description"] for answer in each["responses"].values())
        assert all(re.fullmatch(r"[1-5]\d\d", status) for status in each["responses"])
        for needed in each["security"]:
            assert needed.keys() <= document["components"]["securitySchemes"].keys()
    schemas = document["components"]["schemas"]
    assert set(every(document, "$ref")) == {f"#/components/schemas/{n}" for n in schemas}
    for pattern in every(document, "pattern"):
        re.compile(pattern)
    types = {"string", "integer", "number", "boolean", "object", "array", "null"}
    assert {t for t in every(document["components"]["schemas"], "type") if isinstance(t, str)} <= types


def test_the_types_in_the_document_are_those_that_parse(document: dict[str, Any]) -> None:
    """A field that the parser wants or takes is there, with its bounds."""
    posted = document["components"]["schemas"]["PostedRecord"]
    assert posted["required"] == ["raw"]
    assert posted["properties"].keys() == {"raw", "id", "signature"}
    assert {"type": "string", "minLength": 1, "maxLength": 256} in posted["properties"]["id"]["anyOf"]
    post = document["paths"]["/v1/records"]["post"]
    assert post["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/PostedRecord")
    assert {p["name"] for p in post["parameters"]} == {"wait", "timeout"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/v1/node", {}, 200),
        ("GET", "/v1/peers", {}, 200),
        ("GET", "/v1/ws", {}, 426),
        ("GET", "/websocket?since=all", {}, 426),
        ("PUT", "/v1/records/a", {}, 201),
        ("GET", "/v1/stream?since=rubbish", {"last_event_id": "now"}, 400),
        ("GET", "/v1/stream?since=now", {"last_event_id": "rubbish"}, 400),
        ("PUT", "/v1/records/b?timeout=rubbish", {}, 400),
        ("TRACE", "/v1/records", {}, 405),
        ("QUERY", "/v1/records/a", {}, 405),
        ("POST", "/docs", {}, 405),
    ],
)
def test_a_node_answers_as_its_document_says(
    node: NodeProcess, document: dict[str, Any], method: str, path: str, headers: dict[str, str], status: int
) -> None:
    """Status, media type, required headers and the fields that are always there are as described."""
    answer = node.ask(method, path, "hi" if method in ("PUT", "POST") else None, **headers)
    assert answer.status == status
    template = re.sub(r"^(/v1/records/).*", r"\1{id}", path.partition("?")[0])
    methods = document["paths"][template]
    described = methods.get(method.lower(), methods.get("get"))["responses"][str(status)]
    content = described["content"][answer.headers["content-type"].partition(";")[0]]
    assert all(name.lower() in answer.headers for name in described.get("headers", {}))
    (ref,) = set(every(content, "$ref"))
    schema = document["components"]["schemas"][ref.rpartition("/")[2]]
    assert set(schema["required"]) <= answer.json().keys() <= schema["properties"].keys()
    if status >= 400:
        assert answer.json()["code"] in [code for codes in every(content, "enum") for code in codes]


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/static/docs.css"])
def test_a_client_that_has_it_gets_no_second_copy(node: NodeProcess, path: str) -> None:
    """The tag is of the bytes; with it, also where a proxy that compresses made it weak, the answer is 304
    and empty (RFC 9110 section 13.1.2)."""
    first = node.ask("GET", path)
    for tag in (first.headers["etag"], f"W/{first.headers['etag']}"):
        again = node.ask("GET", path, if_none_match=tag)
        assert (first.status, again.status, again.body) == (200, 304, b"")
    assert node.ask("GET", path, if_none_match='"other"').body == first.body


class Links(HTMLParser):
    """Collects what a page refers to, its anchors, and what a strict policy would stop."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.ids: set[str] = set()
        self.stopped: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one tag."""
        for name, value in attrs:
            if name in ("href", "src"):
                self.links.add(value or "")
            elif name == "id":
                self.ids.add(value or "")
            if name == "style" or name.startswith("on"):
                self.stopped.append(f"{tag} {name}")
        if tag in ("script", "style"):
            self.stopped.append(tag)


def test_the_page_shows_every_route_and_code_and_needs_nobody_else(
    node: NodeProcess, document: dict[str, Any]
) -> None:
    """It refers to this node and to itself only, and its policy lets no script run."""
    answer = node.ask("GET", "/docs")
    page = Links(text := answer.body.decode())
    assert page.stopped == []
    assert {link for link in page.links if link[0] != "#"} == {"/static/docs.css", "/openapi.json"}
    assert {link[1:] for link in page.links if link[0] == "#"} <= page.ids
    assert all(shown["operationId"] in page.ids for shown in operations(document).values())
    assert all(f"<code>{code}</code>" in text for code in STATUS_BY_CODE)
    assert answer.headers["content-security-policy"].startswith("default-src 'self'; script-src 'none'")
    assert b"url(" not in node.ask("GET", "/static/docs.css").body


def test_a_route_that_declares_nothing_stops_the_start() -> None:
    """So none can be forgotten; a declaration with a code that is not in the table cannot be made."""
    app = QuartTrio("test", static_folder=None)
    routes = Blueprint("bare", __name__)

    @routes.get("/bare")
    async def bare() -> str:
        """Nothing."""
        return ""

    app.register_blueprint(routes)
    with pytest.raises(ValueError, match=r"/bare declares nothing"):
        add_reference(app, Credentials())
    with pytest.raises(KeyError):
        operation(Operation((), ("no-such-code",)))


async def test_the_document_says_which_routes_need_credentials() -> None:
    """As this node is set: posting is protected, reading is not, health checks never are."""
    access = Access(credentials=Credentials(write_token=b"x" * 32))
    async with live(access=access) as node:
        client = await node.get("/openapi.json", "Connection: close")
        head = await client.until(b"\r\n\r\n")
        size = int(re.findall(rb"content-length: (\d+)", head)[0])
        document = json.loads(await client.take(size))
    needed: list[dict[str, list[str]]] = [{"basic": []}, {"bearer": []}]
    assert document["paths"]["/v1/records"]["post"]["security"] == needed
    assert document["paths"]["/v1/records"]["get"]["security"] == [{}, *needed]
    assert document["paths"]["/listAllRecentData"]["post"]["security"] == [{}, *needed]
    assert document["paths"]["/healthz"]["get"]["security"] == []


async def test_every_route_has_a_text() -> None:
    """The summary is the docstring of the view."""
    assert [route.path for route in routes_of(await make_app()) if not route.text] == []
