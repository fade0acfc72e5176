"""HTTPS: the certificate, and a TLS stream that can be half-closed as a socket can.

Trio's own stream does the work. What it lacks is an end that does not cut the client short: it closes the
socket right behind its goodbye, and what the client still sends then makes the kernel throw the answer
away. Here the goodbye is followed by the end of our sending side only; the connection goes on reading.
"""

import ssl
from pathlib import Path

import trio

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption only. TLS 1.3 has no others.

Source: RFC 9325 section 4.2.
"""


def server_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """Make the TLS settings of a server: TLS 1.2 or newer, HTTP/1.1 only.

    Args:
        certificate: PEM file, the server's certificate first, then its chain.
        key: PEM file with the private key; None if it is in `certificate`.

    Raises:
        ValueError: names the file and the fix (the owner's fault).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    _read(certificate, "certificate", "CERTIFICATE", "--http-cert")
    _read(key or certificate, "private key", "PRIVATE KEY", "--http-key" if key else "--http-key beside it")
    try:
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(
                f"the private key in {key or certificate} is not that of the certificate in {certificate}; "
                "name its own by --http-key"
            ) from None
        raise ValueError(
            f"{certificate} and its key cannot be used ({error.reason}); are they whole?"
        ) from None
    return context


def _read(file: Path, what: str, mark: str, setting: str) -> None:
    """Refuse a file that cannot hold what it should; OpenSSL's own words name no file."""
    try:
        text = file.read_bytes()
    except OSError as error:
        raise ValueError(
            f"{file} cannot be read: {error.strerror}; name a readable file by {setting}"
        ) from None
    if f"{mark}-----".encode() not in text:
        raise ValueError(f"{file} holds no {what} in PEM; name one by {setting}")
    if mark == "PRIVATE KEY" and b"ENCRYPTED" in text:
        raise ValueError(
            f"the private key in {file} is encrypted; decrypt it first (openssl pkey -in ... -out ...)"
        )


def _refuse_password() -> str:
    raise ssl.SSLError("the key is encrypted")  # never asked for on the terminal


class TlsStream:
    """The server's end of one TLS connection over a socket that the caller owns and closes."""

    def __init__(self, transport: trio.SocketStream, context: ssl.SSLContext) -> None:
        self._tls = trio.SSLStream(_HalfClosing(transport), context, server_side=True)

    async def do_handshake(self) -> None:
        """Agree with the client. Raises trio.BrokenResourceError: it spoke no TLS that is taken here."""
        await self._tls.do_handshake()

    async def receive_some(self, bytes_max: int) -> bytes | bytearray:
        """Receive something; b"" when the client said goodbye. Raises as a SocketStream does."""
        return await self._tls.receive_some(bytes_max)

    async def send_all(self, data: memoryview) -> None:
        """Send all of it. Raises as a SocketStream does."""
        await self._tls.send_all(data)

    async def send_eof(self) -> None:
        """Say goodbye and shut the sending side. Raises as a SocketStream does."""
        await self._tls.aclose()


class _HalfClosing(trio.abc.Stream):
    """A socket whose close shuts its sending side only."""

    def __init__(self, transport: trio.SocketStream) -> None:
        self._transport = transport

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._transport.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._transport.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._transport.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._transport.send_eof()
