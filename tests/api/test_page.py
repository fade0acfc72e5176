"""How the dashboard is served: with which policy, kept by tag, and nothing but its parts."""

import re
from collections.abc import Iterator

import pytest

from tests.api.nodes import lone_node
from tests.processes import NodeProcess

POLICY = {
    "default-src": ["'self'"],
    "base-uri": ["'none'"],
    "form-action": ["'none'"],
    "frame-ancestors": ["'none'"],
    "object-src": ["'none'"],
    "require-trusted-types-for": ["'script'"],
    "trusted-types": ["'none'"],
}
"""The whole of it, by directive: one that is missing opens a door, one that is added may."""

REFERENCE_POLICY = {
    "default-src": ["'self'"],
    "script-src": ["'none'"],
    "base-uri": ["'none'"],
    "form-action": ["'none'"],
    "frame-ancestors": ["'none'"],
    "object-src": ["'none'"],
}

ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}


def policy(text: str) -> dict[str, list[str]]:
    """Read a content security policy; no directive may stand there twice, for the second would not count."""
    directives = [part.split() for part in text.split(";")]
    read = {name: values for name, *values in directives}
    assert len(read) == len(directives)
    return read


@pytest.fixture(scope="module", name="node")
def served() -> Iterator[NodeProcess]:
    """Run a node alone."""
    with lone_node() as node:
        yield node


@pytest.mark.parametrize(
    ("path", "media_type", "allowed"),
    [
        ("/", "text/html; charset=utf-8", POLICY),
        ("/static/main.js", "text/javascript; charset=utf-8", POLICY),
        ("/static/base.css", "text/css; charset=utf-8", POLICY),
        ("/docs", "text/html; charset=utf-8", REFERENCE_POLICY),
        ("/openapi.json", "application/json", REFERENCE_POLICY),
    ],
)
def test_every_page_is_served_with_a_policy_that_lets_nothing_else_in(
    node: NodeProcess, path: str, media_type: str, allowed: dict[str, list[str]]
) -> None:
    """Every directive of it and nothing beside, the right type, kept by tag."""
    page = node.ask("GET", path)
    assert (page.status, page.headers["content-type"]) == (200, media_type)
    again = node.ask("GET", path, if_none_match=page.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    for answer in (page, again):
        assert policy(answer.headers["content-security-policy"]) == allowed
        assert {name: answer.headers[name] for name in ALWAYS} == ALWAYS


def test_the_page_needs_nothing_that_the_policy_forbids(node: NodeProcess) -> None:
    """No script, style or handler within it, nothing from elsewhere."""
    page = node.ask("GET", "/").body.decode()
    assert not re.search(r"<style|\bstyle=|\bon[a-z]+=|javascript:|<base|<iframe|<object|<embed", page)
    assert set(re.findall(r"<script[^>]*>([^<]*)</script>", page)) == {""}
    sources = re.findall(r"<script[^>]* src=\"([^\"]*)\"|<link[^>]* href=\"([^\"]*)\"", page)
    assert len(sources) == page.count("<script") + page.count("<link")
    assert all("".join(source).startswith("/static/") for source in sources)


@pytest.mark.parametrize(
    "path", ["/static/none.js", "/static/../page.py", "/static/%2e%2e/page.py", "/static/index.html"]
)
def test_a_part_that_is_none_is_a_problem_like_any_other(node: NodeProcess, path: str) -> None:
    """Whatever way it is asked for, nothing outside the folder comes."""
    missing = node.ask("GET", path)
    assert (missing.status, missing.json()["code"]) == (404, "not-found")
