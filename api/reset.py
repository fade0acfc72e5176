"""A TCP connection that is reset: by us, and how to learn that the client has done it."""

import struct
import sys
from socket import SO_LINGER, SOL_SOCKET
from typing import Final

import trio

LOOK_S: Final = 1.0
"""How often a half-closed connection is looked at for a reset: its end was read, so no event tells."""

_TCP_CLOSE: Final = 7
"""The state of a connection that was reset, the first byte of TCP_INFO (Linux, tcp_states.h)."""

_AT_ONCE: Final = struct.pack("ii", 1, 0)


async def wait_for_reset(socket: trio.socket.SocketType) -> None:
    """Wait until a connection whose end was read is reset, by the client or by us.

    Where the system does not tell (elsewhere than on Linux, in some sandboxes): for ever.
    """
    if sys.platform != "linux":
        await trio.sleep_forever()
    try:
        while socket.getsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_INFO, 1)[0] != _TCP_CLOSE:  # noqa: ASYNC110
            await trio.sleep(LOOK_S)
    except OSError:
        if socket.fileno() >= 0:  # else `reset` was called while we slept
            await trio.sleep_forever()


def reset(socket: trio.socket.SocketType) -> None:
    """Close a socket so that the client learns that what it got is not whole; twice does no harm."""
    if socket.fileno() >= 0:
        socket.setsockopt(SOL_SOCKET, SO_LINGER, _AT_ONCE)
        socket.close()
