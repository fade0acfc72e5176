"""Following records over real connections: one stream at a time, the next node when it ends."""

import http.client
import secrets
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Self
from urllib.parse import urlencode

import msgspec

from node.connect import TIMEOUT_S, BadOption, NodeAddress
from node.following import Delivery, Following, Page, Progress, Record, WatchState
from node.request import (
    JSON,
    NDJSON,
    PAGE_RECORDS,
    NodeRefused,
    NodeUnreachable,
    connect,
    lines,
    refusal,
    send,
)

if TYPE_CHECKING:
    from node.client import Client

SILENCE_S = 35.0
"""Longest silence of a stream: two signs of life, which come every 15 s, and a delay."""

BEFORE_NOW_MS = 60_000
"""How far a node's clock may be behind another's (links are refused beyond it): what was posted so long
before a watch for what comes from `now` on is looked at, to tell what was there from what arrives late."""

_TRY_ANOTHER = (408, 429)
"""Statuses below 500 with which a node refuses now what another one may take."""


class Watch(Iterator[Record]):
    """Records as they come, each once, for ever. `close` it from anywhere; then it ends.

    A node that ends its stream, falls silent or refuses for the moment is left for the next, with growing
    pauses once all have been tried. A record is known by its id and raw while it lives: of two that claimed
    one id at once the losing one may be seen before the winning one.

    Raises:
        NodeUnreachable: at the first step only, when no node answers.
        NodeRefused: no node will ever answer this (credentials, prefix).
        BadOption: an address or a credential cannot be used.
    """

    def __init__(self, client: "Client", since: str, prefix: str, resume: WatchState | None) -> None:
        self._client = client
        self._prefix = prefix
        nodes = [address.node for address in client.addresses]
        self._following = Following(nodes, since, resume, Random(secrets.randbits(64)))
        self._progress = Progress(resume)
        self._batches = self._follow()
        self.ready: deque[Delivery] = deque()
        self._closed = threading.Event()
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def __next__(self) -> Record:
        while True:
            record = self.take()
            if record is not None:
                return record
            batch = self.batch()
            if not batch:
                raise StopIteration
            self.ready.extend(batch)

    def take(self) -> Record | None:
        """Give the next of what is `ready`, or None; never waits."""
        while self.ready:
            delivery = self.ready.popleft()
            self._progress.begin(delivery)
            self._progress.done(delivery)
            if delivery.record is not None:
                return delivery.record
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def batch(self) -> list[Delivery]:
        """Wait for what comes next and return it; nothing once closed. For who keeps a `Progress` himself."""
        for batch in self._batches:
            return batch
        return []

    def state(self) -> WatchState:
        """Where to `resume` behind the records that the iterator has given."""
        return self._progress.state()

    def close(self) -> None:
        """End the watch, also while another thread waits in it."""
        self._closed.set()
        with self._lock:
            if self._socket is not None:
                _shut(self._socket)

    def _follow(self) -> Iterator[list[Delivery]]:
        following = self._following
        while not self._closed.is_set():
            trouble = ""
            try:
                yield from self._stream(self._client.addresses[following.node])
            except NodeRefused as refused:
                if refused.status < 500 and refused.status not in _TRY_ANOTHER:
                    raise
                trouble = str(refused)
            except NodeUnreachable as error:
                trouble = str(error)
            except BadOption:  # a ValueError, and no node's
                raise
            except (OSError, http.client.HTTPException, ValueError) as error:
                trouble = str(error)
            pause_s = following.failed()
            if following.given_up and not self._closed.is_set():
                raise NodeUnreachable(trouble)
            self._closed.wait(pause_s)

    def _stream(self, address: NodeAddress) -> Iterator[list[Delivery]]:
        """Follow one node until its answer ends."""
        following = self._following
        if following.since == "now":
            yield [self._begin(address)]
        query = urlencode({"since": following.since, "prefix": self._prefix})
        connection, answer = self._open(address, f"/v1/stream?{query}", NDJSON)
        try:
            following.connected()
            for some in lines(answer.read1):
                if self._closed.is_set():
                    return
                yield [following.take(line) for line in some]
        finally:
            with self._lock:
                self._socket = None
            connection.close()

    def _begin(self, address: NodeAddress) -> Delivery:
        """Find out where now is at a node, in a form that holds at other nodes too."""
        now = msgspec.json.decode(self._read(address, "/v1/node"), type=_Now)
        since, held = str(now.wall_ms - BEFORE_NOW_MS), list[Record]()
        while True:
            query = urlencode({"since": since, "prefix": self._prefix, "limit": PAGE_RECORDS})
            page = msgspec.json.decode(self._read(address, f"/v1/records?{query}"), type=Page)
            held += page.records
            since = page.next
            if not page.more:
                return self._following.begin(since, held)

    def _read(self, address: NodeAddress, path: str) -> bytes:
        connection, answer = self._open(address, path, JSON, TIMEOUT_S)
        try:
            return answer.read()
        finally:
            connection.close()

    def _open(
        self, address: NodeAddress, path: str, accept: str, timeout_s: float = SILENCE_S
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Ask one node; the answer is a success. Raises NodeRefused, NodeUnreachable."""
        connection = self._client.connection(address)
        connection.timeout = timeout_s
        try:
            made = connect(address, connection)  # not under the lock: `close` waits for nobody
            with self._lock:
                self._socket = made
            if self._closed.is_set():
                raise NodeUnreachable("closed")
            answer = send(address, connection, "GET", path, accept=accept)
            if answer.status >= 400:
                raise refusal(answer)
        except BaseException:  # interrupted or not, nobody is left to close it
            connection.close()
            raise
        return connection, answer


class _Now(msgspec.Struct):
    wall_ms: int


def _shut(stream: socket.socket) -> None:
    """Wake whoever waits for this socket, in whatever thread."""
    with suppress(OSError):  # it is closed already
        socket.socket.shutdown(stream, socket.SHUT_RDWR)  # TLS or not: what is below it ends
