"""How bytes reach a peer: TCP. The one place that would change for another channel.

A transport is two coroutines, `dial` and `listen`, that give trio streams; errors of the runtime are
translated here, so that links know one: `LinkError`.
"""

import os
import socket as _socket
import struct
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final

import trio

from cluster.address import format_address, parse_address

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""`SO_LINGER`: on, for no time. Else a peer that does not read keeps megabytes in the kernel for minutes."""


class LinkError(Exception):
    """The channel to a peer failed or ended. Nobody's fault; what was written may not have arrived."""


@contextmanager
def translated() -> Generator[None, None, None]:
    """Turn the runtime's ways of saying that a stream is gone into `LinkError`."""
    try:
        yield
    except trio.BrokenResourceError as error:
        raise LinkError(str(error.__cause__ or error) or "connection broken") from error
    except trio.ClosedResourceError as error:
        raise LinkError("connection closed") from error
    except trio.TooSlowError as error:
        raise LinkError("too slow") from error
    except OSError as error:
        raise LinkError(error.strerror or str(error)) from error
    except ValueError as error:  # UnicodeError too: a name that is none
        raise LinkError(str(error)) from error


async def dial(address: str) -> trio.SocketStream:
    """Connect to `host:port`. Raises LinkError when nobody answers there."""
    with translated():
        host, port = parse_address(address)
        return await trio.open_tcp_stream(host, port)


def send_now(stream: trio.abc.Stream, data: bytes) -> int:
    """Hand the kernel what it takes of `data` at once, without waiting.

    Returns:
        how many bytes it took: 0 when the buffer is full, the stream is gone (whoever waits to write will
        learn why), or this kind of stream has no way to tell.
    """
    if not isinstance(stream, trio.SocketStream):
        return 0
    try:
        return os.write(stream.socket.fileno(), data)
    except OSError:
        return 0


def reset_on_close(stream: trio.abc.Stream) -> None:
    """Have the kernel drop what it still holds for the peer when the stream is closed."""
    if isinstance(stream, trio.SocketStream):
        with suppress(OSError):
            stream.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, _RESET_ON_CLOSE)


async def listen(host: str, port: int) -> list[trio.SocketListener]:
    """Listen on `host` and `port` (0: any free one). Raises OSError, worded for people."""
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        where = format_address(host, port)
        raise OSError(error.errno, f"cannot listen for peers on {where}: {error.strerror or error}") from None


async def resolve(seed: str) -> list[str]:
    """Return every address behind `host:port`, as `ip:port`. Raises LinkError with the resolver's words."""
    try:
        host, port = parse_address(seed)
        found = await trio.socket.getaddrinfo(host, port, type=_socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise LinkError(f"cannot look up {seed!r}: {getattr(error, 'strerror', '') or error}") from error
    return list(dict.fromkeys(format_address(str(a[4][0]), port) for a in found))


def remote_host(stream: trio.SocketStream) -> str:
    """Return the address of the other end. Raises LinkError when it is gone already."""
    with translated():
        return str(stream.socket.getpeername()[0])
