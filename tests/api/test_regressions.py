"""Faults that were found by use, each with the request that showed it."""

import base64
import os
import socket

from tests.api.nodes import lone_node, rss_mb
from tests.processes import NodeProcess, wait_until


def talk(node: NodeProcess, request: bytes) -> bytes:
    """Send bytes on a connection of their own and read to the end."""
    with socket.create_connection(("127.0.0.1", node.port), timeout=10) as connection:
        connection.sendall(request)
        received = b""
        while data := connection.recv(65536):
            received += data
        return received


def test_a_conditional_get_leaves_the_connection_usable() -> None:
    """Two 304s and a full answer on one connection, and no word of it in the log."""
    with lone_node() as node:
        node.post("hello", "id")
        ask = b"GET /v1/records/id HTTP/1.1\r\nhost: localhost\r\nif-none-match: *\r\n\r\n"
        last = b"GET /v1/records/id HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        received = talk(node, ask + ask + last)

        assert received.count(b"HTTP/1.1 304") == 2
        assert received.count(b"HTTP/1.1 200") == 1
        assert received.endswith(b"}")
        assert "failed" not in node.log.read_text()


def test_a_websocket_handshake_to_no_route_is_a_404_with_a_problem() -> None:
    """There is no WebSocket here yet; the answer says so, and the log holds no line per handshake."""
    with lone_node() as node:
        key = base64.b64encode(os.urandom(16))
        handshake = (
            b"GET /v1/records/MYSECRET HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n"
            b"connection: Upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: " + key + b"\r\n\r\n"
        )
        received = talk(node, handshake)

        assert received.startswith(b"HTTP/1.1 404")
        assert b'"code":"not-found"' in received
        assert "MYSECRET" not in node.log.read_text()


def test_readers_that_do_not_read_do_not_fill_the_memory() -> None:
    """Thirty deaf readers of 36 MB, as NDJSON and as pages: the node holds a little for each."""
    with lone_node() as node:
        for number in range(600):
            node.ask("PUT", f"/v1/records/r{number}", b"x" * 60_000)
        before_mb = rss_mb(node)
        deaf = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(30)]
        try:
            for number, connection in enumerate(deaf):
                accept = b"application/x-ndjson" if number % 2 else b"application/json"
                connection.sendall(
                    b"GET /v1/records?limit=1000 HTTP/1.1\r\nhost: localhost\r\naccept: "
                    + accept
                    + b"\r\n\r\n"
                )
            wait_until(lambda: node.ask("GET", "/healthz").status == 200, "it answers", 5)
            wait_until(lambda: node.get("/v1/node")["clients"]["connections_open"] > 30, "all are open", 5)
            assert rss_mb(node) - before_mb < 120
        finally:
            for connection in deaf:
                connection.close()


def test_refusals_before_a_request_is_one_are_problems_too() -> None:
    """A head that is no HTTP gets a code like everything else."""
    with lone_node() as node:
        received = talk(node, b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 40_000 + b"\r\n\r\n")

        assert received.startswith(b"HTTP/1.1 431 Request Header Fields Too Large")
        assert b'"code":"head-too-large"' in received
