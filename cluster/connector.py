"""How links come to be: dial or accept, shake hands, hand the link on.

Every failure ends here, as a reason in words; nothing that an incoming connection does may reach the
accept loop, and nothing that a dialled one does may end the node.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
import trio
from cachetools import LRUCache, TTLCache

from cluster.address import counted_address, format_address
from cluster.connection import Connection
from cluster.desk import Desk
from cluster.handshake import HANDSHAKE_TIMEOUT_S, Refused, shake_hands
from cluster.link import Link
from cluster.messages import Hello
from cluster.security import LinkSecurity
from cluster.transport import LinkError, dial, remote_host
from cluster.vocabulary import DialFailed

_log = structlog.get_logger("dayfly.cluster")

HANDSHAKES_MAX = 64
"""Incoming connections that have not shaken hands yet; more are closed unheard."""

HANDSHAKES_PER_ADDRESS_MAX = 32
"""Of these, how many may come from one address, or one /64 of IPv6: half, so that one host cannot lock out
the others."""

REFUSALS_MAX = 64
"""Addresses whose last refusal is remembered for people."""

LOG_AGAIN_S = 60.0
"""How soon the same refusal of the same address is logged again. At most `REFUSALS_MAX` different ones are
logged in this time: whoever connects chooses its port and its words, and must not fill a disk with them."""


class Connector:
    """Bring links up.

    Args:
        hello: makes what we say of ourselves to whoever is at a host, fresh for each handshake.
        judge: says why the sender of the second hello is not welcome to us, who sent the first, as (code,
            reason), or None; told whether we dialled.
        run_link: awaited with each link that comes up, until it is over.
        security: what encrypts the links, if they are.
    """

    def __init__(
        self,
        desk: Desk,
        hello: Callable[[str], Hello],
        judge: Callable[[Hello, Hello, bool], tuple[str, str] | None],
        run_link: Callable[[Link], Awaitable[None]],
        security: LinkSecurity,
    ) -> None:
        self._desk = desk
        self._hello = hello
        self._judge = judge
        self._run_link = run_link
        self._security = security
        self._handshakes: Counter[str] = Counter()  # by counted address
        self.refused_total = 0
        self.refusals: LRUCache[str, tuple[str, str]] = LRUCache(REFUSALS_MAX)  # code, reason
        self._logged: TTLCache[tuple[str, str], bool] = TTLCache(
            REFUSALS_MAX, LOG_AGAIN_S, timer=trio.current_time
        )

    async def dial(self, address: str) -> DialFailed | None:
        """Connect to `address` and run the link.

        Returns:
            None after a link that was up, else what came of it.
        """
        try:
            with trio.fail_after(HANDSHAKE_TIMEOUT_S):
                stream = await dial(address)
        except LinkError as error:
            return DialFailed(address, str(error))
        except trio.TooSlowError:
            return DialFailed(address, f"no answer within {HANDSHAKE_TIMEOUT_S:.0f} s")
        async with _closing(stream):
            link = await self._introduce(stream, address, dialled=True)
            if isinstance(link, DialFailed):
                return link
            await self._run_link(link)
            return None

    async def accept(self, stream: trio.SocketStream) -> None:
        """Serve one incoming connection until it is over."""
        async with _closing(stream):
            try:
                host = remote_host(stream)
            except LinkError:
                return  # gone before it was looked at
            counted = counted_address(host)
            if (
                self._handshakes.total() >= HANDSHAKES_MAX
                or self._handshakes[counted] >= HANDSHAKES_PER_ADDRESS_MAX
            ):
                self.refused_total += 1
                return
            self._handshakes[counted] += 1
            try:
                link = await self._introduce(stream, host, dialled=False)
            finally:
                self._handshakes[counted] -= 1
                self._handshakes += Counter()  # drops what has come to nothing
            if isinstance(link, DialFailed):
                self.refused_total += 1
            else:
                await self._run_link(link)

    async def _introduce(
        self, stream: trio.SocketStream, address: str, *, dialled: bool
    ) -> Link | DialFailed:
        """Shake hands. `address`: what was dialled, or the remote host of an incoming connection."""
        host = address
        if dialled:
            try:
                host = remote_host(stream)
            except LinkError as error:
                return DialFailed(address, str(error))
        channel = self._security.channel(dialled=dialled)
        connection, ours = Connection(stream, channel), self._hello(host)
        try:
            theirs = await shake_hands(
                connection, ours, lambda theirs: self._judge(ours, theirs, dialled), dialled=dialled
            )
            key = self._security.key_of(channel)
            if key is None:
                raise Refused("key", "its key was removed from our key file a moment ago", theirs)
        except Refused as refused:
            if not dialled and refused.theirs is not None:
                address = format_address(address, refused.theirs.port)
            return self._refused(address, refused, ours)
        if not dialled:
            address = format_address(address, theirs.port)
        self.refusals.pop(address, None)
        self.refusals.pop(host, None)  # where one stands that was refused before it had said its port
        return Link(connection, theirs, ours, address, dialled=dialled, desk=self._desk, key=key)

    def _refused(self, address: str, refused: Refused, ours: Hello) -> DialFailed:
        """Note why a link did not come up, for people and for the engine."""
        if refused.code == "self" and refused.node_id == ours.node_id:
            return DialFailed(address, refused.reason, is_self=True)
        if refused.code == "duplicate":
            return DialFailed(address, refused.reason, refused.node_id)
        if refused.code in ("failed", "full"):
            return DialFailed(address, refused.reason)
        self.refusals[address] = refused.code, refused.reason
        if (address, refused.code) not in self._logged and len(self._logged) < REFUSALS_MAX:
            self._logged[address, refused.code] = True
            _log.warning("link refused", address=address, code=refused.code, reason=refused.reason)
        return DialFailed(address, refused.reason, refused=True)


@asynccontextmanager
async def _closing(stream: trio.SocketStream) -> AsyncGenerator[None, None]:
    """Close a connection whatever happens, without waiting for the other side."""
    try:
        yield
    finally:
        await trio.aclose_forcefully(stream)
