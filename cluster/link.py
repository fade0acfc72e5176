"""One peer: a reader task, a writer task, and the outbox between the engine and the writer.

Whoever is slow here slows only this peer. The reader hands messages to the service and waits for it
(TCP then holds the peer back); the writer is the only task that writes, so no frame is ever torn, and a
write that does not end within `WRITE_TIMEOUT_S` ends the link, because half a frame may be out.
"""

from collections.abc import Awaitable, Callable, Sequence

import trio

from cluster.codec import FRAME_BYTES_MAX, HELLO_BYTES_MAX, FrameError, FrameReader, encode
from cluster.desk import Desk
from cluster.messages import Bye, Hello, Message
from cluster.outbox import Outbox
from cluster.transport import LinkError, send_now, translated

READ_BYTES = 64 * 1024

WRITE_BYTES = 64 * 1024
WRITE_TIMEOUT_S = 10.0
"""How long a peer may take to accept `WRITE_BYTES`: 50 kbit/s."""

BYE_TIMEOUT_S = 1.0
"""How long a closing link may take to say why."""


class Connection:
    """A stream that speaks frames. Used bare during the handshake, then inside a `Link`.

    Until `welcome` it takes small frames only: 64 strangers at a time cost 4 MiB, not 64.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
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
        if self._ready:
            await trio.lowlevel.checkpoint()
            ready, self._ready = self._ready, []
            return ready
        with translated():
            data = await self.stream.receive_some(READ_BYTES)
        if not data:
            raise LinkError("closed by the other side")
        return list(self._reader.feed(bytes(data)))

    async def receive_one(self) -> Message:
        """Wait for exactly one message, keeping those after it. Raises as `receive`."""
        while True:
            messages = await self.receive()
            if messages:
                self._ready = messages[1:]
                return messages[0]

    async def write(self, data: bytes) -> None:
        """Write bytes whole. Raises LinkError; the connection must then be closed."""
        view = memoryview(data)
        for start in range(0, len(data), WRITE_BYTES):
            with translated(), trio.fail_after(WRITE_TIMEOUT_S):
                await self.stream.send_all(view[start : start + WRITE_BYTES])


class Link:
    """A link that is up. `run` it in a task of its own; everything else is synchronous."""

    def __init__(
        self, connection: Connection, hello: Hello, ours: Hello, address: str, *, dialled: bool, desk: Desk
    ) -> None:
        self.hello = hello
        self.ours = ours
        self.address = address
        self.dialled = dialled
        self.outbox = Outbox(desk)
        self.stream = connection.stream
        self._connection = connection
        self._bell = trio.Event()
        self._resting = False  # whether the writer task waits for work
        self._unsent = b""  # the rest of a write that the kernel took a part of
        self._bye: Bye | None = None
        self._drain = False
        self._drained: trio.Event | None = None

    @property
    def peer(self) -> bytes:
        """The peer's node id."""
        return self.hello.node_id

    @property
    def closing(self) -> bool:
        """Whether `close` was called: what is still read must not count any more."""
        return self._bye is not None

    def send(self, message: Message) -> bool:
        """Queue a message. Returns False when the peer has let the control lane fill up."""
        queued = self.outbox.send(message)
        self._flush()
        return queued

    def push(self, frame: bytes) -> bool:
        """Queue an encoded `Push`. Returns False when the peer is too far behind."""
        queued = self.outbox.push(frame)
        self._flush()
        return queued

    def serve(self, digests: Sequence[bytes]) -> None:
        """Queue records the peer asked for."""
        self.outbox.serve(digests)
        self._bell.set()

    def serve_page(self, after: bytes) -> None:
        """Queue the page the peer asked for."""
        self.outbox.serve_page(after)
        self._bell.set()

    def ring_when_drained(self, bell: trio.Event) -> None:
        """Set `bell` (instead of one given before) when the writer takes from the outbox or the link ends."""
        self._drained = bell

    def close(self, code: str, reason: str, *, drain: bool = False) -> None:
        """End the link; the peer is told why if it still listens. `drain`: after what is queued."""
        self._bye = self._bye or Bye(code, reason)
        self._drain = drain
        self._bell.set()

    async def run(self, take: Callable[["Link", list[Message]], Awaitable[None]]) -> str:
        """Read and write until either side ends the link.

        Args:
            take: awaited with what each read completed; an empty list is a sign of life.

        Returns:
            why the link ended, in words.

        Raises:
            FrameError: the peer sent what no Dayfly node sends.
        """
        reason = "closed"
        broken: FrameError | None = None
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                nonlocal reason, broken
                try:
                    while True:
                        messages = await self._connection.receive()
                        bye = next((m for m in messages if isinstance(m, Bye)), None)
                        if bye is not None:
                            reason = bye.reason
                            break
                        await take(self, messages)
                except LinkError as error:
                    reason = str(error)
                except FrameError as error:
                    broken = error
                nursery.cancel_scope.cancel()

            nursery.start_soon(read)
            try:
                await self._write()
                reason = self._bye.reason if self._bye else reason
            except LinkError as error:
                reason = str(error)
            nursery.cancel_scope.cancel()
        self._ring()
        if broken is not None:
            raise broken
        return reason

    def _flush(self) -> None:
        """Write what is queued at once if the writer task waits for work, else leave it to that task.

        A task switch for each of nine peers costs more than nine writes (docs/performance.md). What the
        kernel does not take is the writer's to wait for.
        """
        if self._resting and not self._bell.is_set():
            data = self.outbox.next_write()
            self._unsent = data[send_now(self._connection.stream, data) :]
            if self._unsent:
                self._bell.set()

    def _ring(self) -> None:
        if self._drained is not None:
            self._drained.set()

    async def _write(self) -> None:
        """Write what is queued, in one call per wake-up, until the link is closing."""
        while self._bye is None or self._drain:
            self._bell = trio.Event()
            data, self._unsent = self._unsent or self.outbox.next_write(), b""
            if data:
                self._ring()
                await self._connection.write(data)
            elif self._bye is None:
                self._resting = True
                await self._bell.wait()
                self._resting = False
            else:
                break
        with trio.move_on_after(BYE_TIMEOUT_S):
            await self._connection.write(self._unsent + encode(self._bye))
