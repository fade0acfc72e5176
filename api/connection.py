"""One TCP connection of the HTTP server, from accept to close: whatever happens on it ends with it.

Stock hypercorn lets an exception of one connection end the process, shields writes from every deadline,
closes the socket under a client that is still sending (the kernel then throws the answer away), and starts
a timer task per request. Here:

- one scope around the reading loop is the only timer: its deadline is moved as the connection goes from
  head to request to idle to closing, and costs no task;
- one scope around all tasks is the linger: once the client is gone, handlers have a little time left, and
  theirs when it has only shut its sending side;
- the first write after a read goes to the kernel at once; only what it does not take has to wait;
- a write has a deadline, and whatever stops it short, the connection is reset: half a message is no message;
- closing means: shut the sending side, read and drop until the client closes too, then close.
"""

import math
import os
import ssl
from typing import Final

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState, LifespanState

from api.fastpath import FastPath
from api.guard import Guard
from api.inbox import ConnectionTasks, log_failure
from api.protocol import GuardedH11
from api.reset import reset, wait_for_reset
from api.tls import TlsStream

RECEIVE_BYTES_MAX: Final = 64 * 1024
"""Bytes asked of the socket at once."""

FAST_WAIT_S: Final = 0.05
"""How long a small body may come after its head and still take the fast path. Many clients send the two in
two packets, microseconds apart; longer than this the ordinary way and its time limits take over."""

WRITE_BYTES: Final = 64 * 1024
"""Bytes of one deadlined write: `write_timeout_s` is a promise about this much."""


class GuardedConnection(TCPServer):
    """One connection. Awaiting it serves the connection to its end.

    Overrides `run`, `protocol_send` and `_read_data`; the idle timer of the base is not used.
    """

    def __init__(
        self,
        guard: Guard,
        fast_path: FastPath,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        state: LifespanState,
        tls: ssl.SSLContext | None,
        stream: trio.SocketStream,
    ) -> None:
        super().__init__(app, config, context, state, stream)  # type: ignore[arg-type]  # annotated for TLS
        self._guard = guard
        self._limits = guard.limits
        self._fast_path = fast_path
        self._transport = stream
        self._stream = stream if tls is None else TlsStream(stream, tls)
        self._http: GuardedH11
        self._reading = trio.CancelScope()
        self._life = trio.CancelScope()
        self._idle = True
        self._client_ended = False
        self._may_write_now = False
        self._was_cut = False
        self._left_s = 0.0

    async def run(self) -> None:
        """Serve the connection; let nothing but cancellation and the interpreter's own exceptions out.

        Stock catches OSError only, and `trio.serve_listeners` above it nothing, so that any other
        exception ends the process.
        """
        try:
            address = str(self._transport.socket.getpeername()[0])
        except OSError:
            return  # reset before it was accepted
        if not self._guard.admit(address):
            return
        try:
            if await self._shake_hands():
                await self._serve()
        except* Exception as failed:  # no single connection may end the node
            self._guard.statistics.connections_failed += 1
            log_failure("connection failed", failed)
        finally:
            self._guard.idle.discard(self._reading)
            self._transport.socket.close()
            self._guard.release(address)

    async def protocol_send(self, event: Event) -> None:
        """Do what the protocol asks for: write, close, or mark the connection busy or idle.

        Stock shields the write from every deadline and cancellation.
        """
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Closed):
            await self._finish()
        elif isinstance(event, Updated):
            self._mark_idle(event.idle)

    async def _shake_hands(self) -> bool:
        """Agree on TLS if it is spoken here; False if that failed. Each waits in a task of its own."""
        if isinstance(self._stream, TlsStream):
            with trio.move_on_after(self._limits.handshake_timeout_s) as scope:
                try:
                    await self._stream.do_handshake()
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self._guard.statistics.handshakes_failed += 1
                    return False
            self._count_cut(scope.cancelled_caught)
            return not scope.cancelled_caught
        return True

    async def _serve(self) -> None:
        socket = self._transport.socket
        with self._life:
            async with ConnectionTasks() as tasks:
                self._http = GuardedH11(
                    self._limits,
                    self._fast_path,
                    self.app,
                    self.config,
                    self.context,
                    tasks,
                    ConnectionState(self.state),
                    isinstance(self._stream, TlsStream),
                    socket.getpeername()[:2],
                    socket.getsockname()[:2],
                    self.protocol_send,
                )
                await self._read_data()
        self._count_cut(self._life.cancelled_caught)

    async def _read_data(self) -> None:
        """Read to the end of the connection, then give the tasks that are left their time.

        Stock has no deadline for a head, and none for handlers whose client is gone.
        """
        half_closed = False
        self._guard.idle.add(self._reading)
        self._reading.deadline = trio.current_time() + self._limits.head_timeout_s
        self._idle = False  # the first head has its deadline already
        if self.context.terminated.is_set():
            self._reading.cancel()  # accepted in the last moment
        with self._reading:
            half_closed = await self._read_requests()
            await self._drain()
        self._client_ended = True
        if self._reading.cancelled_caught and not (self._idle or self._http.finished):
            self._count_cut(not self.context.terminated.is_set())
        await self._outlast(half_closed)

    async def _outlast(self, half_closed: bool) -> None:
        """Give the tasks that are left `linger_timeout_s`; more when their client may still read the answer.

        A client that has shut its sending side looks like one that is gone until something is sent to it.
        """
        limits = self._limits
        self._left_s = limits.half_closed_timeout_s if half_closed else limits.linger_timeout_s
        self._life.deadline = trio.current_time() + self._left_s
        await self._http.hang_up()
        if half_closed:
            self._reading = trio.CancelScope()
            with self._reading:  # ended by the end of the answer, or a write that fails
                await wait_for_reset(self._transport.socket)
            await self._outlast(half_closed=False)

    async def _read_requests(self) -> bool:
        """Read while anything comes; return whether a client that may still read awaits an answer."""
        while True:
            try:
                data = await self._receive()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return False
            if self._http.finished:
                return False  # these bytes came after the last answer
            self._may_write_now = True
            if self._idle and data:
                self._idle = False
                self._reading.deadline = trio.current_time() + self._limits.head_timeout_s
            await self._http.handle(RawData(bytes(data)))
            if not data:
                return self._http.answering

    async def _receive(self) -> bytes | bytearray:
        """Receive something; a body that the fast path awaits has `FAST_WAIT_S` to come."""
        if self._http.awaits_body:
            with trio.move_on_after(FAST_WAIT_S):
                return await self._stream.receive_some(RECEIVE_BYTES_MAX)
            await self._http.go_on()
        return await self._stream.receive_some(RECEIVE_BYTES_MAX)

    async def _drain(self) -> None:
        """Read and drop what a client sends after its last answer, so that the kernel does not reset.

        Source:
            RFC 9112 section 9.6.
        """
        drained = 0
        while self._http.finished and drained <= self._limits.drain_bytes_max:
            try:
                data = await self._transport.receive_some(RECEIVE_BYTES_MAX)  # of TLS the bare bytes: unread
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            if not data:
                return
            drained += len(data)

    def _count_cut(self, is_cut: bool) -> None:
        """Count a connection that a deadline has ended, once: the write's and the end's may both run out."""
        self._guard.statistics.connections_cut += is_cut and not self._was_cut
        self._was_cut = self._was_cut or is_cut

    def _mark_idle(self, idle: bool) -> None:
        self._idle = idle
        if idle:
            self._reading.deadline = trio.current_time() + self._limits.keep_alive_timeout_s
            self._guard.idle.add(self._reading)
        else:
            self._reading.deadline = math.inf
            self._guard.idle.discard(self._reading)

    async def _finish(self) -> None:
        """Shut the sending side; the reader drops what still comes, for a bounded time."""
        if self._http.finished:
            return
        self._http.finished = True
        drain_s = 0.0 if self._client_ended else self._limits.linger_timeout_s
        self._reading.deadline = trio.current_time() + drain_s
        async with self.send_lock:
            try:
                await self._stream.send_eof()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._reading.cancel()

    async def _write(self, data: bytes) -> None:
        """Send all of `data`, or reset the connection and return.

        The application is not told by an exception (ASGI forbids it); its next sends are dropped.
        """
        rest = memoryview(data)[self._write_now(data) :]
        sent = not rest or await self._write_rest(rest)
        if self._client_ended and sent:
            # Its side is shut, but it takes what we send: it is there.
            self._life.deadline = trio.current_time() + self._left_s

    def _write_now(self, data: bytes) -> int:
        """Hand the kernel what it takes at once, if it is the first write since the last read.

        A write that may wait costs a deadline, a lock and a task switch, 30 µs of CPU, and most answers fit
        the socket's buffer. Only the first one, because a loop of writes that never wait would let nobody
        else have a turn.

        Returns:
            how many bytes it took; 0 also when the socket is gone: whoever waits to write will learn why.
        """
        if not self._may_write_now or self.send_lock.locked() or self._stream is not self._transport:
            return 0
        self._may_write_now = False
        try:
            return os.write(self._transport.socket.fileno(), data)
        except OSError:
            return 0

    async def _write_rest(self, rest: memoryview) -> bool:
        """Send all of `rest`, or reset the connection; return whether it was sent."""
        try:
            self.send_lock.acquire_nowait()  # the async form costs a task switch
        except trio.WouldBlock:
            await self.send_lock.acquire()
        sent = False
        try:
            for start in range(0, len(rest), WRITE_BYTES):
                with trio.fail_after(self._limits.write_timeout_s):
                    await self._stream.send_all(rest[start : start + WRITE_BYTES])
            sent = True
        except trio.TooSlowError:
            self._count_cut(True)
            self._http.cut = True
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.lowlevel.checkpoint()  # a broken TLS stream does not yield
        finally:
            if not sent:
                self._reset()  # also lets later sends yield: trio's do on a closed socket, not after EOF
            self.send_lock.release()
        return sent

    def _reset(self) -> None:
        """Close at once, drop what the kernel still holds for the client, and begin nothing more for it.

        The reader may be waiting for the end of this answer to go on to the requests behind it.
        """
        self._http.finished = True
        self._reading.cancel()
        reset(self._transport.socket)
