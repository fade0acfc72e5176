"""Which request heads are refused before anything is started for them. Pure.

h11 has checked the grammar. What is left are heads that are well formed and still must not pass: too much
of them, ambiguous about where their body ends (two readings of one request are how requests are smuggled
past a proxy), of another protocol version, or a WebSocket handshake no browser would send.
"""

import h11

from api.limits import HttpLimits

_HANDSHAKE_HEADERS = frozenset({b"connection", b"upgrade"})


def refusal_status(
    request: h11.Request, headers: list[tuple[bytes, bytes]], limits: HttpLimits
) -> int | None:
    """Judge a request's head.

    Args:
        headers: the request's, as a list: h11's own sequence is slow to walk.

    Returns:
        None if it may pass; else the status to close the connection with: 400, 431 or 505.

    Source:
        RFC 9112 section 6.1 (both body lengths, and Transfer-Encoding in HTTP/1.0, are refused), RFC 6585
        section 5 (431), RFC 6455 section 4.2.1 (handshake).
    """
    if request.http_version not in (b"1.1", b"1.0"):
        return 505
    size = len(request.method) + len(request.target) + sum(len(n) + len(v) + 4 for n, v in headers)
    if len(headers) > limits.headers_max or size > limits.header_bytes_max:
        return 431
    if request.target[:1] != b"/":
        return 400  # the absolute form is for proxies, `*` for servers with something to say about it
    names = {name for name, _ in headers}
    if b"transfer-encoding" in names and (b"content-length" in names or request.http_version == b"1.0"):
        return 400
    if is_websocket(request) and not _is_proper_handshake(request, names):
        return 400
    return None


def is_websocket(request: h11.Request) -> bool:
    """Whether a request asks for a WebSocket, properly or not."""
    if request.method != b"GET":
        return False
    upgrade = b""
    tokens: list[bytes] = []
    for name, value in request.headers:
        if name == b"upgrade":
            upgrade = value
        elif name == b"connection":
            tokens = value.lower().split(b",")
    return upgrade.strip().lower() == b"websocket" and any(t.strip() == b"upgrade" for t in tokens)


def _is_proper_handshake(request: h11.Request, names: set[bytes]) -> bool:
    """Whether hypercorn and wsproto can read a handshake: they take ASCII for granted, and no body."""
    if b"content-length" in names or b"transfer-encoding" in names:
        return False
    if b"sec-websocket-key" not in names or request.http_version == b"1.0":
        return False
    if dict(request.headers).get(b"sec-websocket-version") != b"13":
        return False
    return all(
        value.isascii()
        for name, value in request.headers
        if name in _HANDSHAKE_HEADERS or name.startswith(b"sec-websocket-")
    )
