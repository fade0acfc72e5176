"""TCP as a node sees it, and the handshake over it.

Within a connection bytes arrive in order or not at all: what a cut holds up is sent again until the cut
ends, and whatever was written behind it waits. A socket takes `SOCKET_BYTES` that nobody has read; then
the writer waits, the outbox fills, and its own bounds apply. The handshake goes the steps of
cluster/handshake.py, message by message, so that a link can be up on one side only.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from cluster import vocabulary as v
from cluster.codec import FrameError, FrameReader, encode
from cluster.compatibility import incompatible
from cluster.connection import READ_BYTES
from cluster.handshake import HANDSHAKE_TIMEOUT_S, goodbye
from cluster.messages import Bye, Hello, Message, Ready
from cluster.outbox import Outbox
from tests.sim.world import Violation, World

if TYPE_CHECKING:
    from tests.sim.host import Host

PAGE_BYTES = 8 * 1024
"""Pages of a hundred records or so, so that a catch-up takes several."""

SOCKET_BYTES = 256 * 1024
"""Bytes between two nodes that were written and not read yet; about Linux's default for both ends."""

RETRANSMIT_S = 0.3
RETRANSMIT_FOR_S = 60.0
"""When a connection that gets nothing through ends by itself. Real systems take 15 minutes; nodes are
quicker, so that this only keeps forgotten connections from living for ever."""


class Pipe:
    """One direction of a connection. b"" is its end."""

    def __init__(self, world: World, source: str, target: str, deliver: Callable[[bytes], None]) -> None:
        self.unread_bytes = 0
        self._world = world
        self._way = (source, target)
        self._deliver = deliver
        self._queue: deque[bytes] = deque()
        self._last_s = 0.0
        self._due_s: deque[float] = deque()
        self._blocked_s: float | None = None

    def send(self, data: bytes) -> None:
        """Put bytes on their way."""
        self._last_s = max(self._world.now_s + self._world.delay(), self._last_s)
        self._queue.append(data)
        self._due_s.append(self._last_s)
        self.unread_bytes += len(data)
        if len(self._queue) == 1:
            self._world.at(self._last_s, self._arrive)

    def clear(self) -> None:
        """Lose what is on its way: the machine that would send it again has no power."""
        self._queue.clear()
        self._due_s.clear()

    def _arrive(self) -> None:
        if not self._queue:
            return
        now_s = self._world.now_s
        if not self._world.passes(*self._way):
            self._blocked_s = now_s if self._blocked_s is None else self._blocked_s
            if now_s - self._blocked_s < RETRANSMIT_FOR_S:
                self._world.at(now_s + RETRANSMIT_S, self._arrive)
            return
        self._blocked_s = None
        data, _ = self._queue.popleft(), self._due_s.popleft()
        if self._queue:
            self._world.at(self._due_s[0], self._arrive)
        self._deliver(data)


class Endpoint:
    """One node's side of a connection: `hello`, then `ready`, then `up`, then `over`."""

    def __init__(self, host: "Host", other: "Host", address: str, *, dialled: bool) -> None:
        self.host = host
        self.address = address
        self.dialled = dialled
        self.state = "hello"
        self.ours: Hello
        self.theirs: Hello | None = None
        self.outbox = Outbox(host.desk, PAGE_BYTES)
        self.spoilt = False
        self.peer_end: Endpoint
        self.peer_name = ""
        self._full = False  # the socket: there may be more to write
        self._garbage: bytes | None = None
        self._reader = FrameReader()
        self._out = Pipe(host.world, host.address, other.address, self._carried)

    @property
    def peer(self) -> bytes:
        """The node id at the other end, known once the link is up."""
        assert self.theirs is not None
        return self.theirs.node_id

    # --- writing ----------------------------------------------------------------------------------------

    def write(self) -> None:
        """Write what is queued as far as the socket takes it."""
        while self.state == "up":
            self._full = self._out.unread_bytes >= SOCKET_BYTES
            data = b"" if self._full else self.outbox.next_write()
            if not data:
                return
            self._send(self._without_lost(data) if self.host.world.loss else data)

    def _send(self, data: bytes) -> None:
        self.host.world.totals["bytes"] += len(data)
        for start in range(0, len(data), READ_BYTES):
            self._out.send(data[start : start + READ_BYTES])

    def _without_lost(self, data: bytes) -> bytes:
        """Leave out whole frames by chance: what a bug or an overflow would do, never TCP."""
        world, kept, at = self.host.world, bytearray(), 0
        while at < len(data):
            end = at + 4 + int.from_bytes(data[at : at + 4], "big")
            if world.rng.random() < world.loss.get(data[at + 4], 0.0):
                world.totals["frames lost"] += 1
            else:
                kept += data[at:end]
            at = end
        return bytes(kept)

    def spoil(self, garbage: bytes, *, harmful: bool) -> None:
        """Write what no node writes. `harmful`: it must cost this side its link."""
        self.spoilt = self.spoilt or harmful
        self._garbage = garbage if harmful else None
        self._out.send(garbage)

    # --- reading ----------------------------------------------------------------------------------------

    def _carried(self, data: bytes) -> None:
        """Bytes of ours have come to the other machine; its node reads them when it runs."""
        if self.peer_end.host.alive:
            self.peer_end.host.do(partial(self.peer_end.read, data))
        elif data:
            self.host.do(partial(self.end, "connection reset"))

    def read(self, data: bytes) -> None:
        """Take bytes off the socket."""
        self.peer_end.was_read(len(data))
        if self.state == "over":
            return
        if not data:
            self.end("closed by the other side")
            return
        was_up = self.state == "up"
        try:
            messages = list(self._reader.feed(data))
        except FrameError as error:
            self._refuse(error)
            return
        bye = next((m for m in messages if isinstance(m, Bye)), None)
        if was_up and bye is not None:
            self.end(bye.reason)
            return
        if was_up and not messages:
            self.host.feed(v.Heard(self.peer, None))
        for message in messages:
            self._take(message)
        if was_up and self.state == "up" and self.peer_end.unpunished(data):
            raise Violation(f"{self.host} kept the link of {self.peer_end.host}, which sent garbage")

    def was_read(self, count_bytes: int) -> None:
        """The other side took bytes of ours: the socket has room."""
        self._out.unread_bytes -= count_bytes
        if self._full:
            self.write()

    def unpunished(self, data: bytes) -> bool:
        """Whether this very chunk was harmful garbage."""
        return data is self._garbage

    def _refuse(self, error: FrameError) -> None:
        if not self.peer_end.spoilt:
            raise Violation(f"{self.host} cannot read {self.peer_end.host}: {error}")
        if self.state == "up":
            self.host.world.totals["garbage refused"] += 1
            self.end(self.host.engine.membership.ban(self.peer, str(error), self.host.now()))
        else:
            self.end(str(error))

    def _take(self, message: Message) -> None:
        if self.state == "over":
            return
        if self.state == "up":
            self.host.take(self, message)
        elif self.state == "hello" and isinstance(message, Hello):
            self._met(message)
        elif self.state == "ready" and isinstance(message, Ready) and self.theirs is not None:
            refusal = self._judge(self.theirs)
            if refusal is None:
                self._up()
            else:
                self.close(*refusal)
        elif isinstance(message, Bye):
            self._fail(message.code, message.reason, message.node_id)
        else:
            raise Violation(f"{self.host} got {type(message).__name__} in state {self.state}")

    # --- the handshake ----------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin the handshake; the side that dialled speaks first."""
        world, host = self.host.world, self.host
        self.ours = host.hello(self.peer_end.host.address.rpartition(":")[0])
        world.at(world.now_s + HANDSHAKE_TIMEOUT_S, lambda: host.do(self._expire))
        if self.dialled:
            self._send(encode(self.ours))

    def _met(self, theirs: Hello) -> None:
        self.theirs = theirs
        refusal = self._judge(theirs)
        if refusal is not None:
            self._send(encode(goodbye(refusal, self.ours)))
            self._fail(*refusal)
        elif self.dialled:
            self._send(encode(Ready()))
            self._up()
        else:
            self._send(encode(self.ours))
            self.state = "ready"

    def _judge(self, theirs: Hello) -> tuple[str, str] | None:
        """Say why the other side is not welcome; as cluster/connector.py."""
        now = self.host.now()
        refusal = incompatible(self.ours, theirs, now.wall_ms)
        return refusal or self.host.engine.refusal(theirs, dialled=self.dialled, now=now)

    def _up(self) -> None:
        assert self.theirs is not None
        self.state = "up"
        self.peer_name = self.peer.hex()[:4]
        if not self.dialled:
            self.address = f"{self.peer_end.host.address.rpartition(':')[0]}:{self.theirs.port}"
        self.host.link_up(self)

    def _expire(self) -> None:
        if self.state in ("hello", "ready"):
            self._fail("failed", f"no handshake within {HANDSHAKE_TIMEOUT_S:.0f} s")

    def _fail(self, code: str, reason: str, node_id: bytes | None = None) -> None:
        """The handshake came to nothing; the dialling side tells its engine."""
        self._over()
        if self.dialled:
            there = self.theirs.node_id if self.theirs else node_id
            known = there if code == "duplicate" else None
            is_self = code == "self" and there == self.ours.node_id
            refused = code not in ("failed", "duplicate") and not is_self
            self.host.feed(v.DialFailed(self.address, reason, known, is_self, refused))

    # --- the end ----------------------------------------------------------------------------------------

    def close(self, code: str, reason: str) -> None:
        """Say why, and end the connection; the engine knows."""
        self._send(encode(Bye(code, reason)))
        self._over()

    def end(self, reason: str) -> None:
        """The connection has ended under us: tell the engine what it does not know."""
        if self.state == "up":
            self._over()
            self.host.link_down(self, reason)
        elif self.state != "over":
            self._fail("failed", reason)

    def _over(self) -> None:
        self.state = "over"
        self._out.send(b"")

    def unwrite(self) -> None:
        """Take back what is on its way, as if its process had not come to writing it. It must end now."""
        self._out.clear()

    def vanish(self, *, power: bool) -> None:
        """This side's process is gone. Its system says so to the other side, if it still has power."""
        if not power:
            self.state = "over"
            self._out.clear()
        elif self.state != "over":
            self._over()


def dial(host: "Host", address: str) -> None:
    """Connect to an address and shake hands; what fails comes back as `DialFailed`."""
    world = host.world

    def failed(reason: str, after_s: float) -> None:
        world.at(world.now_s + after_s, lambda: host.hear(v.DialFailed(address, reason)))

    def connected() -> None:
        target = world.host_at(address)
        if target is None or not host.alive:
            host.hear(v.DialFailed(address, "connection refused"))
            return
        here = Endpoint(host, target, address, dialled=True)
        there = Endpoint(target, host, host.address, dialled=False)
        here.peer_end, there.peer_end = there, here
        for end in (here, there):
            end.host.endpoints.append(end)
            end.host.do(end.begin)

    if not (world.passes(host.address, address) and world.passes(address, host.address)):
        failed(f"no answer within {HANDSHAKE_TIMEOUT_S:.0f} s", HANDSHAKE_TIMEOUT_S)
    else:
        world.at(world.now_s + world.delay() + world.delay(), connected)
