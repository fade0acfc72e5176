"""One WebSocket as its routes use it: messages in, made frames out, and a reason when it ends.

Past Quart: its WebSocket turns an empty binary message into None, and its queue and signals cost more per
message than all that a feed does.
"""

from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import parse_qs

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, WebsocketScope

from api.body import client_address
from api.exchange import CUT

GOING_AWAY: Final = 1001
"""The node stops; connect to another, or again later, with the cursor in the reason. (Who followed several
feeds has been told each before.)"""

UNSUPPORTED: Final = 1003
"""A binary message where only JSON as text is taken."""

NOT_UTF8: Final = 1007
"""A binary message that should become a record is no UTF-8. (A text message that is none gets 1007 too.)"""

POLICY: Final = 1008
"""The socket may not do what it tried; the reason says what."""

TOO_LARGE: Final = 1009
"""A message, or the record in it, is larger than the node takes."""

TRY_LATER: Final = 1013
"""The node cannot take records now (full, or its disk cannot be written); this one is lost."""

REASON_BYTES_MAX: Final = 123
"""What a close frame has room for beside the code (RFC 6455 section 5.5)."""


@dataclass(frozen=True, slots=True)
class Closed(Exception):
    """The route wants the socket closed."""

    code: int
    reason: str


class Socket:
    """One WebSocket.

    Attributes:
        cut: bool, the client was cut because it took nothing for the time of a write.
        gone: bool, nobody is there any more.
    """

    def __init__(self, scope: WebsocketScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        self.cut = self.gone = False
        self._scope = scope
        self._receive = receive
        self._send = send

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The handshake's headers: name in lower case, value."""
        return list(self._scope["headers"])

    @property
    def address(self) -> str:
        """The client's address."""
        return client_address(self._scope)

    def argument(self, name: str) -> str:
        """Return the first value of a query argument; empty if there is none."""
        values = parse_qs(self._scope["query_string"].decode("latin-1"), errors="replace")
        return values.get(name, [""])[0]

    async def accept(self) -> None:
        """Answer the handshake with 101."""
        await self._receive()  # websocket.connect
        await self._send({"type": "websocket.accept", "subprotocol": None, "headers": []})

    async def receive(self) -> str | bytes | None:
        """Return the next message, text or binary, maybe empty; None when there will be none."""
        message = await self._receive()
        if message["type"] != "websocket.receive":
            self.gone = True
            self.cut = message.get("reason") == CUT
            return None
        text = message["text"]
        return text if text is not None else message["bytes"] or b""

    async def send(self, frames: bytes) -> None:
        """Send frames that are made already (`api.forms.text_frame`)."""
        await self._send(cast("ASGISendEvent", {"type": "websocket.send", "frames": frames}))

    async def close(self, code: int, reason: str) -> None:
        """Say why and end it."""
        while len(reason.encode()) > REASON_BYTES_MAX:
            reason = reason[:-1]
        await self._send({"type": "websocket.close", "code": code, "reason": reason})
