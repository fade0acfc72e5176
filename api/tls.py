"""HTTPS: the certificate, and a TLS stream that can be half-closed as a socket can.

The stream is OpenSSL between two buffers, as in trio's own. What trio's lacks is an end that does not cut the
client short: it says no goodbye while bytes of the client are unread, and closes the socket right behind it;
the kernel then throws the answer away. Here our sending side ends, and the connection reads on.
"""

import ssl
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from api.errors import PROBLEM_JSON, Problem, problem_json

RECEIVE_BYTES_MAX: Final = 64 * 1024
"""Bytes asked of the socket at once; four of TLS's largest records."""

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption only. TLS 1.3 has no others.

Source: RFC 9325 section 4.2.
"""


_MISMATCHES: Final = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
"""What OpenSSL calls a key of another certificate, by kind and by version."""


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
        if error.reason in _MISMATCHES:
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
        text, mode = file.read_bytes(), file.stat().st_mode
    except OSError as error:
        raise ValueError(
            f"{file} cannot be read: {error.strerror}; name a readable file by {setting}"
        ) from None
    if f"{mark}-----".encode() not in text:
        raise ValueError(f"{file} holds no {what} in PEM; name one by {setting}")
    if mark == "PRIVATE KEY" and mode & 0o007:  # a group may: tools that renew certificates have one
        raise ValueError(f"the private key in {file} is open to all users; type: chmod o= {file}")
    if mark == "PRIVATE KEY" and b"ENCRYPTED" in text:
        raise ValueError(
            f"the private key in {file} is encrypted; decrypt it first (openssl pkey -in ... -out ...)"
        )


def _plain_answer() -> bytes:
    """Answer a request that came without TLS; a person sees why nothing else would have come."""
    body = problem_json(Problem("bad-request", "this port speaks HTTPS only; write https:// in the address"))
    head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: {PROBLEM_JSON}\r\nconnection: close\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def _refuse_password() -> str:
    raise ssl.SSLError("the key is encrypted")  # never asked for on the terminal


class TlsStream:
    """The server's end of one TLS connection over a socket that the caller owns and closes.

    One task may receive while another sends. What the library has to say while receiving (it seldom has)
    leaves with the next thing sent, so that only the sender ever writes.
    """

    def __init__(self, transport: trio.SocketStream, context: ssl.SSLContext) -> None:
        self._transport = transport
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def do_handshake(self) -> None:
        """Agree with the client. Raises trio.BrokenResourceError: it spoke no TLS that is taken here."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._refill()
            except ssl.SSLError as error:
                if error.reason == "HTTP_REQUEST":
                    await self._transport.send_all(_plain_answer())
                await self._flush()  # the alert that says why
                raise trio.BrokenResourceError from error
            else:
                await self._flush()
                return

    async def receive_some(self, bytes_max: int) -> bytes:
        """Receive something; b"" when the client said goodbye. Raises as a SocketStream does."""
        while True:
            try:
                data = self._tls.read(bytes_max)
            except ssl.SSLWantReadError:
                await self._refill()
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError as error:
                raise trio.BrokenResourceError from error
            else:
                await trio.lowlevel.checkpoint()  # there may be more without a wait
                return data

    async def send_all(self, data: memoryview) -> None:
        """Send all of it. Raises as a SocketStream does."""
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            raise trio.BrokenResourceError from error
        await self._flush()

    async def send_eof(self) -> None:
        """Say goodbye and shut the sending side. Raises as a SocketStream does."""
        with suppress(ssl.SSLError):  # "wants to read" or "there is more to read": said is said
            self._tls.unwrap()
        await self._flush()
        await self._transport.send_eof()

    async def _refill(self) -> None:
        data = await self._transport.receive_some(RECEIVE_BYTES_MAX)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._transport.send_all(self._outgoing.read())
