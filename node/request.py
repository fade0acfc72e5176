"""One HTTP request to one node, and what can come of it."""

import http.client
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress

from node.connect import NodeAddress

JSON, NDJSON, OCTETS = "application/json", "application/x-ndjson", "application/octet-stream"

PAGE_RECORDS = 1000
"""Records asked for at once when listing: as many as a node gives."""


class NodeRefused(Exception):
    """A node did not do what was asked. The asker's fault as a rule; nothing was stored.

    Attributes:
        status: int, of HTTP. code: str, the node's stable slug, or empty if what answered is no node.
    """

    def __init__(self, status: int, code: str = "", detail: str = "") -> None:
        super().__init__(f"refused ({code}): {detail}" if code else f"refused with status {status}")
        self.status = status
        self.code = code


class NodeUnreachable(Exception):
    """No node answered, or the answer broke off. What was posted may have been stored: post it again."""


def connect(address: NodeAddress, connection: http.client.HTTPConnection) -> socket.socket:
    """Connect, and shake hands for https. Raises NodeUnreachable."""
    try:
        connection.connect()
        return connection.sock
    except ssl.SSLCertVerificationError as error:
        why = f"the certificate of {address.node} is not trusted ({error.verify_message}); see --ca"
        raise NodeUnreachable(why) from None
    except OSError as error:
        raise _nobody(address, error) from None


def send(
    address: NodeAddress,
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    accept: str = JSON,
    content_type: str = OCTETS,
) -> http.client.HTTPResponse:
    """Send one request over a fresh connection. Raises NodeUnreachable, BadOption."""
    headers = {"accept": accept, "content-type": content_type, **address.credentials()}
    try:
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before it was all sent
            connection.request(method, path, body, headers)
        return connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        raise _nobody(address, error) from None


def _nobody(address: NodeAddress, error: Exception) -> NodeUnreachable:
    return NodeUnreachable(f"no node answers at {address.node} ({error}); start one with: dayfly up")


def lines(read: Callable[[int], bytes]) -> Iterator[list[bytes]]:
    """Yield an answer's lines as they come, those of one piece together.

    An answer's own `readline` takes a connection that breaks off for a good end.
    """
    rest = b""
    while piece := read(65536):
        *whole, rest = (rest + piece).split(b"\n")
        if whole:
            yield whole
    if rest:
        yield [rest]


def refusal(answer: http.client.HTTPResponse) -> NodeRefused:
    """Word a refusal as the node words it."""
    try:
        problem = json.loads(answer.read(65536))
        return NodeRefused(answer.status, problem["code"], problem["detail"])
    except (ValueError, KeyError, TypeError):
        return NodeRefused(answer.status)
