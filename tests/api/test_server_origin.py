"""api.origin: which hosts a node answers to, and which web pages may talk to it."""

import pytest

from api.origin import check_host_and_origin

OWN = frozenset({"dayfly.lan"})


def code(method: str, host: str | None, origin: str | None, is_websocket: bool = False) -> str | None:
    """Judge one request; return the problem's code."""
    headers = [(b"accept", b"*/*")]
    if host is not None:
        headers.append((b"host", host.encode("latin-1")))
    if origin is not None:
        headers.append((b"origin", origin.encode("latin-1")))
    problem = check_host_and_origin(headers, method, is_websocket, OWN)
    return problem.code if problem else None


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8080",
        "10.77.0.2:1",
        "[::1]",
        "[::1]:8080",
        "[fe80::1]:65535",
        "localhost",
        "LOCALHOST:8080",
        "localhost.",
        "node-1.localhost:8080",
        "dayfly.lan",
        "Dayfly.LAN:8080",
        "dayfly.lan.:80",
    ],
)
def test_names_no_stranger_can_hold_are_answered(host: str) -> None:
    """Addresses, localhost and what the owner listed pass, in any case, with or without a port."""
    assert code("GET", host, None) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "notlocalhost",
        "127.0.0.1.evil.example",
        "dayfly.lan.evil.example",
        "127.1",
        "0x7f000001",
        "",
        "127.0.0.1:port",
        "127.0.0.1:123456",
        "user@127.0.0.1",
        "[::1",
        "::1",
        "127.0.0.1/x",
        "local\xe9host",
    ],
)
def test_a_name_a_stranger_could_hold_is_refused(host: str) -> None:
    """With DNS rebinding the browser sends the stranger's own name: 421 for it and for malformed ones."""
    assert code("GET", host, None) == "bad-host"
    assert code("POST", host, f"http://{host}") == "bad-host"


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("localhost", "http://localhost"),
        ("localhost:80", "http://localhost"),
        ("dayfly.lan", "https://dayfly.lan"),
        ("dayfly.lan", "https://dayfly.lan:443"),
        ("DAYFLY.lan:8080", "http://dayfly.LAN:8080"),
        ("[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_the_nodes_own_pages_may_post_and_open_sockets(host: str, origin: str) -> None:
    """Same host and port pass; the scheme may differ, since TLS may end in a proxy."""
    assert code("POST", host, origin) is None
    assert code("GET", host, origin, is_websocket=True) is None


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8080", "http://evil.example"),
        ("127.0.0.1:8080", "http://127.0.0.1:8081"),
        ("127.0.0.1:8080", "http://127.0.0.1"),
        ("127.0.0.1:8080", "http://localhost:8080"),
        ("localhost", "https://localhost:80"),
        ("127.0.0.1", "null"),
        ("127.0.0.1", ""),
        ("127.0.0.1", "file://127.0.0.1"),
        ("127.0.0.1", "moz-extension://127.0.0.1"),
        ("127.0.0.1", "http://127.0.0.1/"),
        ("127.0.0.1", "http://user@127.0.0.1"),
    ],
)
def test_foreign_pages_may_neither_post_nor_open_sockets(host: str, origin: str) -> None:
    """Another site, port, name or scheme of page is refused, for every method that may change something."""
    for method in ("POST", "PUT", "DELETE", "PATCH", "QUERY"):
        assert code(method, host, origin) == "bad-origin"
    assert code("GET", host, origin, is_websocket=True) == "bad-origin"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_foreign_page_may_ask_what_it_cannot_read(method: str) -> None:
    """Links to the dashboard from anywhere work; without CORS headers a script cannot read the answer."""
    assert code(method, "127.0.0.1", "http://evil.example") is None


def test_programs_that_are_not_browsers_need_no_origin() -> None:
    """curl and the other nodes send no Origin."""
    assert code("POST", "127.0.0.1", None) is None
    assert code("GET", "127.0.0.1", None, is_websocket=True) is None


def test_no_host_passes_only_without_an_origin() -> None:
    """HTTP/1.0 health checks have no Host; a page whose host cannot be compared does not pass."""
    assert code("GET", None, None) is None
    assert code("POST", None, "http://127.0.0.1") == "bad-origin"


@pytest.mark.parametrize("name", [b"host", b"origin"])
def test_two_hosts_or_two_origins_are_ambiguous(name: bytes) -> None:
    """What the check sees must be what anybody else sees."""
    problem = check_host_and_origin([(name, b"localhost"), (name, b"evil")], "POST", False, OWN)
    assert problem is not None
    assert problem.code == "bad-request"
