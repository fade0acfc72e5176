"""Frames over one stream, plain or encrypted: read in parts that leave others their turns, written whole.

Between a stranger and us it stands bare (cluster/handshake.py); whoever is welcome gets a `Link` around it.
"""

import trio

from cluster.codec import FRAME_BYTES_MAX, HELLO_BYTES_MAX, FrameError, FrameReader
from cluster.messages import Message
from cluster.tls import TlsChannel
from cluster.transport import LinkError, translated
from cluster.turns import give_way

READ_BYTES = 64 * 1024

FRAMES_MAX = 256
"""Frames decoded at a time: 64 KiB hold 7,000 small messages, which would keep the loop 11 ms (measured), and
10,922 that nobody knows, for 8 ms."""

SKIPPED_MAX = 16
"""Frames of later releases in a handshake after which no more is read for a message that is due. They are
counted between one decoding and the next: one that comes with up to `FRAMES_MAX` - 1 of them is still taken.
Our choice: none comes yet. Eight strangers who sent nothing else made a post take 127 ms for 2 (measured)."""

WRITE_BYTES = 64 * 1024
WRITE_TIMEOUT_S = 10.0
"""How long a peer may take to accept `WRITE_BYTES`: 50 kbit/s."""


class Connection:
    """A stream that speaks frames. Used bare during the handshake, then inside a `Link`.

    Until `welcome` it takes small frames only: 64 strangers at a time cost 4 MiB, not 64.

    Args:
        tls: our end of the encryption, which `shake_hands` brings up; None: frames travel as they are.
    """

    def __init__(self, stream: trio.abc.Stream, tls: TlsChannel | None = None) -> None:
        self.stream = stream
        self.tls = tls
        self._reader = FrameReader(HELLO_BYTES_MAX)
        self._ready: list[Message] = []

    def welcome(self) -> None:
        """Whoever is there is one of us: take frames of any size from now on."""
        self._reader.frame_bytes_max = FRAME_BYTES_MAX

    async def receive(self) -> list[Message]:
        """Wait for bytes and return the messages they complete; an empty list is a sign of life.

        Raises:
            LinkError: the peer is gone. FrameError: the peer does not speak our protocol.
        """
        if self._ready or self._reader.left:
            await give_way()
            ready, self._ready = self._ready, []
            return ready or self._decode(b"")
        return self.take(await self.read_sealed())

    def take(self, sealed: bytes) -> list[Message]:
        """Return the messages these bytes complete, of `FRAMES_MAX` frames at most. Raises as `receive`."""
        return self._decode(sealed if self.tls is None else self.tls.open(sealed))

    def _decode(self, data: bytes) -> list[Message]:
        return list(self._reader.feed(data, FRAMES_MAX))

    async def receive_one(self) -> Message:
        """Wait for exactly one message of the handshake, keeping those after it. Raises as `receive`, and
        FrameError if it has not come when more than `SKIPPED_MAX` frames that nobody knows have."""
        while self._reader.skipped_total <= SKIPPED_MAX:
            messages = await self.receive()
            if messages:
                self._ready = messages[1:]
                return messages[0]
        raise FrameError(f"more than {SKIPPED_MAX} frames that nobody knows, and no message that is due")

    def take_early(self) -> None:
        """Keep what came in one read with the end of the handshake of TLS. Raises as `receive`."""
        self._ready = self.take(b"")

    def seal(self, data: bytes) -> bytes:
        """Return what to send for `data`. What is sealed must be sent, in this order."""
        return data if self.tls is None else self.tls.seal(data)

    async def read_sealed(self) -> bytes:
        """Wait for bytes as they travel. Raises LinkError when the peer is gone."""
        with translated():
            data = await self.stream.receive_some(READ_BYTES)
        if not data:
            raise LinkError("closed by the other side")
        return bytes(data)

    async def write_sealed(self, data: bytes) -> None:
        """Write sealed bytes whole. Raises LinkError; the connection must then be closed."""
        view = memoryview(data)
        for start in range(0, len(data), WRITE_BYTES):
            with translated(), trio.fail_after(WRITE_TIMEOUT_S):
                await self.stream.send_all(view[start : start + WRITE_BYTES])
