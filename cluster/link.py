"""One peer: a reader task, a writer task, and the outbox between the engine and the writer.

Whoever is slow here slows only this peer. The reader hands messages to the service and waits for it
(TCP then holds the peer back); the writer is the only task that writes, so no frame is ever torn, and a
write that does not end within `WRITE_TIMEOUT_S` ends the link, because half a frame may be out.
"""

from collections.abc import Awaitable, Callable, Sequence

import trio

from cluster.codec import FrameError, encode
from cluster.connection import Connection
from cluster.desk import Desk
from cluster.messages import Ack, Bye, Hello, IHave, Message, Ping, Pong, WireRecord
from cluster.outbox import Outbox
from cluster.transport import LinkError, reset_on_close, send_now
from cluster.turns import give_way
from cluster.window import ReceiveWindow, SendWindow

REST_TIMEOUT_S = 5.0
"""How long to read on what has arrived from a peer that takes nothing any more: some megabytes at most."""

ASKS_S = 5.0
"""How long after an announcement a peer may still ask for what it lacks. Our choice: slow round trips."""

BYE_TIMEOUT_S = 1.0
"""How long a link that has drained may take to say why."""


class Link:
    """A link that is up. `run` it in a task of its own; everything else is synchronous."""

    def __init__(
        self,
        connection: Connection,
        hello: Hello,
        ours: Hello,
        address: str,
        *,
        dialled: bool,
        desk: Desk,
        key: str = "",
    ) -> None:
        self.hello = hello
        self.ours = ours
        self.address = address
        self.dialled = dialled
        self.key = key  # the fingerprint of the cluster key that the peer has shown; empty: open
        self.outbox = Outbox(desk)
        self.window = SendWindow()
        self._received = ReceiveWindow()
        self.stream = connection.stream
        self._connection = connection
        self._bell = trio.Event()
        self._resting = False  # whether the writer task waits for work
        self._unsent = b""  # a write, or the rest of one, that is not out whole
        self._until_closed = trio.CancelScope()
        self._bye: Bye | None = None
        self._drain = False
        self._announced_s = -ASKS_S  # when something was last announced that the peer may ask for
        self._awaited: int | None = None  # the ping whose answer comes before the goodbye
        self._room: trio.Event | None = None

    @property
    def peer(self) -> bytes:
        """The peer's node id."""
        return self.hello.node_id

    @property
    def closing(self) -> bool:
        """Whether `close` was called: what is still read must not count any more."""
        return self._bye is not None and self._awaited is None

    def send(self, message: Message, *, flush: bool = True) -> bool:
        """Queue a message. Returns False when the peer has let the control lane fill up.

        `flush`: whether it goes now, not with whatever goes next.
        """
        queued = self.outbox.send(message)
        if isinstance(message, IHave):
            self._announced_s = trio.current_time()
        if flush:
            self.flush()
        return queued

    def push(self, frame: bytes, records: int) -> bool:
        """Queue an encoded `Push` of so many records. Returns False when the peer is too far behind."""
        queued = self.outbox.push(frame)
        if queued:
            self.window.pushed(records, len(frame))
        self.flush()
        return queued

    def admitted(self, records: Sequence[WireRecord]) -> None:
        """Count records the peer pushed, and acknowledge them if it is time."""
        if pushed := self._received.take(records):
            self.send(Ack(pushed))

    def serve(self, digests: Sequence[bytes]) -> None:
        """Queue records the peer asked for."""
        self.outbox.serve(digests)
        self._bell.set()

    def serve_page(self, after: bytes) -> None:
        """Queue the page the peer asked for."""
        self.outbox.serve_page(after)
        self._bell.set()

    def ring_when_acked(self, bell: trio.Event) -> None:
        """Set `bell` (instead of one given before) when the peer acknowledges records or the link ends."""
        self._room = bell

    def close(self, code: str, reason: str, *, drain: bool = False) -> None:
        """End the link. `drain`: after what is queued.

        Else nothing waits for the peer any more: it is told why if that fits into what the kernel takes at
        once, and not behind half of a frame. A link that lived on would count nowhere, and hold a descriptor
        and a megabyte; why it was let go a peer hears again when it comes back.
        """
        self._bye = self._bye or Bye(code, reason)
        self._drain, self._awaited = drain, None
        self._bell.set()
        if not drain:
            self._until_closed.cancel()

    def leave(self, code: str, reason: str, last: Ping) -> None:
        """End the link after what is queued and what the peer asks for of what was announced a moment ago.

        `last`: a ping. A link keeps the order, so what the peer wants it has asked for when it answers.
        """
        if self._bye is not None:
            return  # it ends already, for a better reason
        self.close(code, reason, drain=True)
        if trio.current_time() < self._announced_s + ASKS_S and self.outbox.send(last):
            self._awaited = last.seq

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
                    bye: Bye | None = None
                    while bye is None:
                        messages = self._without_acks(await self._connection.receive())
                        bye = next((m for m in messages if isinstance(m, Bye)), None)
                        # What was sent before goodbye counts.
                        await take(self, messages if bye is None else messages[: messages.index(bye)])
                        self._answered(messages)
                    reason = bye.reason
                except LinkError as error:
                    reason = self._bye.reason if self._bye else str(error)
                except FrameError as error:
                    broken = error
                nursery.cancel_scope.cancel()

            nursery.start_soon(read)
            with self._until_closed:
                try:
                    await self._write()
                except LinkError as error:
                    reason = str(error)
                    # What it sent before it was gone has arrived: the reader ends when all of it is taken.
                    with trio.move_on_after(REST_TIMEOUT_S):
                        await trio.sleep_forever()
            reason = self._bye.reason if self._bye else reason
            nursery.cancel_scope.cancel()
        self._part()
        self._ring()
        if broken is not None:
            raise broken
        return reason

    def flush(self) -> None:
        """Write what is queued at once if the writer task waits for work, else leave it to that task.

        A task switch for each of nine peers costs more than nine writes (docs/performance.md). What the
        kernel does not take is the writer's to wait for, and so is what did not fit into one write.
        """
        if self._resting and not self._bell.is_set():
            data = self._connection.seal(self.outbox.next_write())
            self._unsent = data[send_now(self._connection.stream, data) :]
            if self._unsent or self.outbox.queued_bytes:
                self._bell.set()

    def _without_acks(self, messages: list[Message]) -> list[Message]:
        """Take note of what the peer acknowledges. Raises FrameError if it was never pushed so much."""
        acks = [m for m in messages if isinstance(m, Ack)]
        for ack in acks:
            if not self.window.acked(ack.pushed):
                raise FrameError(
                    f"it acknowledges {ack.pushed} records: more than it was sent, or fewer than before"
                )
            self._ring()
        return [m for m in messages if not isinstance(m, Ack)] if acks else messages

    def _answered(self, messages: Sequence[Message]) -> None:
        """Say goodbye after what is queued now, if this is the answer that was waited for."""
        if self._awaited is not None and any(
            isinstance(m, Pong) and m.seq == self._awaited for m in messages
        ):
            self._awaited = None
            self._bell.set()

    def _ring(self) -> None:
        if self._room is not None:
            self._room.set()

    async def _write(self) -> None:
        """Write what is queued, in one call per wake-up, until the link is closing."""
        while self._bye is None or self._drain:
            self._bell = trio.Event()
            if not (self._unsent or self.outbox.queued_bytes) and self.outbox.gather():
                await give_way()
                continue
            self._unsent = self._unsent or self._connection.seal(self.outbox.next_write())
            if self._unsent:
                await self._connection.write_sealed(self._unsent)
                self._unsent = b""
            elif self._bye is None or self._awaited is not None:
                self._resting = True
                await self._bell.wait()
                self._resting = False
            else:
                break
        if self._drain:
            with trio.move_on_after(BYE_TIMEOUT_S):
                await self._connection.write_sealed(self._connection.seal(encode(self._bye)))
                # Until the peer has closed its end: a socket that is closed while it still talks takes back
                # what has not arrived (a reset, RFC 9293, 3.6.1).
                await trio.sleep_forever()

    def _part(self) -> None:
        """Say why we end it, unless that was said; behind half of a frame it could not be read."""
        if self._unsent:
            reset_on_close(self.stream)
        elif self._bye is not None and not self._drain:
            send_now(self.stream, self._connection.seal(encode(self._bye)))
