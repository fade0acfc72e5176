"""api.heads: which well-formed request heads are refused all the same."""

import h11
import pytest

from api.heads import is_websocket, refusal_status
from api.limits import HttpLimits
from tests.api.rawhttp import GET, HANDSHAKE

LIMITS = HttpLimits(headers_max=10, header_bytes_max=1000)


def parse(data: bytes) -> h11.Request:
    """Parse a request's head."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    return event


def status(data: bytes) -> int | None:
    """Judge one head under `LIMITS`."""
    request = parse(data)
    return refusal_status(request, list(request.headers), LIMITS)


def with_headers(count: int) -> bytes:
    """Write a GET with `count` headers, Host included."""
    more = b"".join(b"X%d: 1\r\n" % n for n in range(count - 1))
    return b"GET / HTTP/1.1\r\nHost: a\r\n" + more + b"\r\n"


@pytest.mark.parametrize(
    "data",
    [
        GET,
        HANDSHAKE,
        b"GET / HTTP/1.0\r\n\r\n",
        b"POST /x?y=%20 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        HANDSHAKE.replace(b"GET", b"POST"),
    ],
)
def test_ordinary_heads_pass(data: bytes) -> None:
    """Requests with and without bodies, handshakes, and upgrades that are merely ignored."""
    assert status(data) is None


def test_headers_are_counted_to_the_limit() -> None:
    """As many as the limit pass, one more is 431."""
    assert status(with_headers(LIMITS.headers_max)) is None
    assert status(with_headers(LIMITS.headers_max + 1)) == 431


def test_header_bytes_are_counted_to_the_limit() -> None:
    """A head of exactly the limit passes, one byte more is 431, even when it came in one packet."""
    empty = b"GET /%s HTTP/1.1\r\nhost: a\r\n\r\n"
    spare = LIMITS.header_bytes_max - len(b"GET/") - len(b"host: a\r\n") + 1
    assert status(empty % (b"x" * (spare - 1))) is None
    assert status(empty % (b"x" * spare)) == 431


@pytest.mark.parametrize("version", [b"2.0", b"9.9", b"0.9", b"1.2"])
def test_other_versions_are_505(version: bytes) -> None:
    """Only HTTP/1.0 and 1.1 are spoken; the HTTP/2 preface is an HTTP/2.0 request too."""
    assert status(b"GET / HTTP/" + version + b"\r\nHost: a\r\n\r\n") == 505
    assert status(b"PRI * HTTP/2.0\r\n\r\n") == 505


@pytest.mark.parametrize("target", [b"http://[::1/", b"?", b"*", b"http://a/", b"a:443"])
def test_a_target_that_is_not_a_path_is_400(target: bytes) -> None:
    """A node is no proxy; two of these ended in an exception of the framework."""
    assert status(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n") == 400


@pytest.mark.parametrize(
    "data",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_a_body_of_two_lengths_is_400(data: bytes) -> None:
    """Where a proxy and the node may disagree about a body's end, requests can be smuggled."""
    assert status(data) == 400


@pytest.mark.parametrize(
    "change",
    [
        (b"Version: 13", b"Version: 12"),
        (b"Sec-WebSocket-Version: 13\r\n", b""),
        (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b""),
        (b"Host: 127.0.0.1\r\n", b"Host: 127.0.0.1\r\nContent-Length: 0\r\n"),
        (b"Host: 127.0.0.1\r\n", b"Host: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"),
        (b"Host: 127.0.0.1\r\n", b"Host: 127.0.0.1\r\nSec-WebSocket-Protocol: \xe2\r\n"),
        (b"Host: 127.0.0.1\r\n", b"Host: 127.0.0.1\r\nSec-WebSocket-Extensions: permessage\xe2-deflate\r\n"),
        (b"Connection: Upgrade", b"Connection: Upgrade, \xe2"),
        (b"dGhlIHNhb", b"\xe2"),
        (b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
def test_a_handshake_no_browser_sends_is_400(change: tuple[bytes, bytes]) -> None:
    """Bytes that are not ASCII, a body, or parts missing."""
    assert is_websocket(parse(HANDSHAKE))
    assert change[0] in HANDSHAKE
    assert status(HANDSHAKE.replace(*change, 1)) == 400


@pytest.mark.parametrize("upgrade", [b"h2c", b"websockets", b""])
def test_other_upgrades_are_no_websockets(upgrade: bytes) -> None:
    """They are served as plain HTTP."""
    assert not is_websocket(parse(HANDSHAKE.replace(b"Upgrade: websocket", b"Upgrade: " + upgrade)))
