"""One HTTP request to one node, and what can come of it."""

import http.client
import json
import socket
import ssl
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from typing import TypeVar

import msgspec

from node.connect import NodeAddress
from node.following import Record

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


T = TypeVar("T")


class Answer:
    """What a node answers, while it is read.

    Whatever ends the reading, and whatever is read that no node says, is NodeUnreachable. What goes wrong
    with the asker meanwhile is not, and keeps its name.

    Attributes:
        status: int, of HTTP.
    """

    def __init__(self, address: NodeAddress, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self._address = address
        self._response = response
        self._body: bytes | None = None

    def check(self) -> None:
        """Raise NodeRefused if the node did not do what was asked; NodeUnreachable."""
        if self.status >= 400:
            with self._reading():
                raise refusal(self._response)

    def decode(self, type: type[T]) -> T:
        """Read JSON of this type; it can be read as several. Raises NodeUnreachable."""
        with self._reading():
            if self._body is None:
                self._body = self._response.read()
            return msgspec.json.decode(self._body, type=type)

    def records(self) -> Iterator[tuple[bytes, Record]]:
        """Yield lines as they come, each with the record that it is. Raises NodeUnreachable."""
        with self._reading():
            for line in chain.from_iterable(lines(self._response.read1)):
                yield line, msgspec.json.decode(line, type=Record)  # also finds a line that was cut off

    def text(self, bytes_max: int) -> str:
        """Read the beginning of a text. Raises NodeUnreachable."""
        with self._reading():
            return self._response.read(bytes_max).decode()

    @contextmanager
    def _reading(self) -> Generator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            why = f"what answers at {self._address.node} broke off or is no dayfly node ({error})"
            raise NodeUnreachable(why) from None


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
