"""A client of any node of a cluster: post, list, watch. `node/trio_client.py` is the same for trio.

    from node.client import Client

    client = Client("http://127.0.0.1:8080", "http://127.0.0.1:8081")
    client.post("the door is open", id="alerts/door")
    for record in client.watch(prefix="alerts/"):
        print(record.id, record.raw)

Nodes are equal, so several are one: who does not answer is passed over, in the order given. The commands
of `dayfly` are built on this.
"""

import http.client
import json
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlencode

import msgspec

from node.connect import NodeAddress
from node.following import Page, Record, WatchState
from node.ids import new_id
from node.reach import Reach
from node.request import JSON, OCTETS, PAGE_RECORDS, Answer, NodeRefused, NodeUnreachable, connect, send
from node.watching import Watch

__all__ = [
    "Client",
    "NodeRefused",
    "NodeUnreachable",
    "Page",
    "Reach",
    "Receipt",
    "Record",
    "Watch",
    "WatchState",
]


class Receipt(msgspec.Struct, frozen=True):
    """What became of a record that was posted. `result`: `stored`, or `exists` if it was there already.
    `reach` is None if nothing was waited for."""

    id: str
    result: str
    time_stamp: int
    expires_at: int
    digest: str
    size: int
    reach: Reach | None = None


class Client:
    """Talk to a cluster through one or several of its nodes. Holds no connection; safe to share.

    Args:
        nodes: URLs such as `http://127.0.0.1:8080`, in the order in which they are tried.
        user, token: `name:password`, or a bearer token, for nodes that ask for one; `file:PATH` reads it.
        ca: PEM file of the certificates to trust with https; None for the system's.
        timeout_s: how long a node may take for its next bytes.
    """

    def __init__(
        self,
        *nodes: str,
        user: str = "",
        token: str = "",
        ca: Path | None = None,
        timeout_s: float | None = None,
    ) -> None:
        if not nodes:
            raise ValueError("name at least one node")
        self.addresses = [NodeAddress(node, user, token, ca) for node in nodes]
        self._timeout_s = timeout_s

    def post(
        self,
        raw: str | bytes,
        *,
        id: str | None = None,
        signature: str | None = None,
        wait: Literal["all"] | int | None = None,
        wait_s: float = 2.0,
    ) -> Receipt:
        """Post a record. Repeated on the next node if one does not answer, under the same id; with a
        signature only if that one was not reached.

        Args:
            raw: UTF-8 if bytes.
            id: made here if None.
            signature: made by the node if None.
            wait: until so many nodes hold it, or `wait_s` seconds are over; see the receipt's `reach`.

        Raises:
            NodeRefused, NodeUnreachable.
        """
        id = new_id(time.time_ns() // 1_000_000) if id is None else id
        query = (
            "" if wait is None else "?" + urlencode({"wait": wait, "timeout": f"{round(wait_s * 1000)}ms"})
        )
        if signature is None:
            body = raw.encode() if isinstance(raw, str) else raw
            asked = self.ask("PUT", f"/v1/records/{quote(id, safe='')}{query}", body)
        else:
            text = raw if isinstance(raw, str) else raw.decode()
            body = json.dumps({"id": id, "raw": text, "signature": signature}).encode()
            asked = self.ask("POST", f"/v1/records{query}", body, content_type=JSON)
        with asked as answer:
            return answer.decode(Receipt)

    def list(self, *, since: str = "all", prefix: str = "") -> Iterator[Record]:
        """Yield living records in the order they arrived at the first node that answers.

        Args:
            since: `all`, a cursor, a time back (`10m`) or a Unix time.
            prefix: of the ids.

        Raises:
            NodeRefused, NodeUnreachable.
        """
        for page in self.pages(since=since, prefix=prefix):
            yield from page.records

    def pages(self, *, since: str = "all", prefix: str = "") -> Iterator[Page]:
        """Yield what `list` does, a page at a time; arguments and errors as there."""
        page = self._page(since, prefix)
        yield page
        while page.more:
            page = self._page(page.next, prefix)
            if page.reset:
                raise NodeUnreachable("the node went away in the middle of its listing")
            yield page

    def _page(self, since: str, prefix: str) -> Page:
        query = urlencode({"since": since, "prefix": prefix, "limit": PAGE_RECORDS})
        with self.ask("GET", f"/v1/records?{query}") as answer:
            return answer.decode(Page)

    def get(self, id: str) -> Record | None:
        """Return the record held under this id, or None. Raises NodeRefused, NodeUnreachable."""
        try:
            with self.ask("GET", f"/v1/records/{quote(id, safe='')}") as answer:
                return answer.decode(Record)
        except NodeRefused as refused:
            if refused.code == "not-found":
                return None
            raise

    def show(self, path: str) -> dict[str, Any]:
        """Read what a node shows of itself: `/v1/node` or `/v1/peers`. Errors as for `list`."""
        with self.ask("GET", path) as answer:
            return answer.decode(dict[str, Any])

    def watch(self, *, since: str = "now", prefix: str = "", resume: WatchState | None = None) -> Watch:
        """Follow records as they come, for ever, moving to another node when one goes away.

        Args:
            since: as for `list`, or `now`.
            prefix: of the ids.
            resume: where an earlier watch was; goes before `since`.

        Returns:
            an iterator of records; see `Watch`.
        """
        return Watch(self, since, prefix, resume)

    # --- one request --------------------------------------------------------------------------------------

    @contextmanager
    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        accept: str = JSON,
        content_type: str = OCTETS,
    ) -> Generator[Answer]:
        """Send one request to the first node that answers and give its successful answer.

        A POST that was sent and not answered may have been done: it is not repeated elsewhere.

        Raises:
            NodeRefused: by the first that answered. NodeUnreachable: none did, or its answer broke off;
                also by reading what is given.
            BadOption: an address or a credential cannot be used.
        """
        troubles: list[str] = []
        for address in self.addresses:
            connection = self.connection(address)
            sent = False
            try:
                connect(address, connection)
                sent = True
                response = send(address, connection, method, path, body, accept, content_type)
                answer = Answer(address, response)
                break
            except NodeUnreachable as error:
                connection.close()
                if sent and method == "POST":
                    raise
                troubles.append(str(error))
        else:
            raise NodeUnreachable("; ".join(troubles))
        try:
            answer.check()
            yield answer
        finally:
            connection.close()

    def connection(self, address: NodeAddress) -> http.client.HTTPConnection:
        """Make a connection, not open yet. Raises BadOption."""
        address.credentials()  # what cannot be used is said before anything is sent
        connection = address.connection()
        if self._timeout_s is not None:
            connection.timeout = self._timeout_s
        return connection
