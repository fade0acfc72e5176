"""One end of an encrypted link: Python's TLS between bytes and bytes, without a socket.

`TlsChannel` turns what arrives into plain bytes and plain bytes into what is to be sent; who waits and
writes is the link's business, so that its one writer stays the only one, and a write that needs no waiting
stays one (docs/decisions/0009-tls-without-a-stream.md). TLS 1.3 only, both sides show a certificate.

What goes wrong is worded here, on both sides: TLS 1.3 tells the other side why it was refused by an alert.
"""

import contextlib
import os
import ssl
from collections.abc import Generator, Iterable
from typing import Any, cast

from cluster.transport import LinkError

RECORD_BYTES = 16 * 1024
"""The most that one read gives: a TLS record (RFC 8446, section 5.1)."""

SAME_KEY = "give both nodes the same key file"
SET_CLOCK = "one of the two clocks is wrong"

_OUR_VERDICTS = {
    7: ("cluster", "it has our key but another cluster name; give both the same --cluster"),
    9: ("certificate", f"its certificate is not valid yet: {SET_CLOCK}"),
    10: ("certificate", f"its certificate has expired: {SET_CLOCK}"),
    18: ("key", f"its certificate is not of our cluster key; {SAME_KEY}"),
    19: ("key", f"its certificate is not of our cluster key; {SAME_KEY}"),
    20: ("key", f"its certificate is not of our cluster key; {SAME_KEY}"),
    21: ("key", f"its certificate is not of our cluster key; {SAME_KEY}"),
}
"""By OpenSSL's result of verifying a certificate (x509_vfy.h): 7 bad signature, 9 not yet valid, 10 expired,
18 to 21 no issuer that we trust."""

_THEIR_VERDICTS = {
    "UNKNOWN_CA": ("key", f"it refused us: our key is not in its key file; {SAME_KEY}"),
    "DECRYPT_ERROR": ("cluster", "it refused us: it has our key but another cluster name"),
    "CERTIFICATE_EXPIRED": ("certificate", f"it refused us: our certificate has expired there: {SET_CLOCK}"),
    "BAD_CERTIFICATE": ("certificate", f"it refused us: our certificate is not valid there: {SET_CLOCK}"),
    "CERTIFICATE_REQUIRED": ("key", f"it refused us: it wants a certificate of its cluster key; {SAME_KEY}"),
    "DID_NOT_RETURN_A_CERTIFICATE": ("key", f"it showed no certificate; {SAME_KEY}"),
    "PROTOCOL_VERSION": ("version", "it refused us: it does not speak TLS 1.3"),
    "UNSUPPORTED_PROTOCOL": ("version", "it does not speak TLS 1.3"),
}
"""By the end of OpenSSL's reason: the alerts of RFC 8446, section 6.2, and what a server finds by itself."""


class TlsError(LinkError):
    """The two ends cannot trust each other. `code`, `reason`: as in `cluster.handshake.Refused`."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class TlsChannel:
    """One end of a connection: call `advance` until it is done, then `open` and `seal`."""

    def __init__(self, context: ssl.SSLContext, *, dialled: bool) -> None:
        self._arrived, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._arrived, self._to_send, server_side=not dialled)
        self._over = False

    @property
    def peer_issuer(self) -> str:
        """The common name of who issued the other end's certificate; empty before the end is known."""
        certificate = cast("dict[str, Any]", self._tls.getpeercert() or {})
        names: Iterable[tuple[tuple[str, str], ...]] = certificate.get("issuer", ())
        return next((value for rdn in names for name, value in rdn if name == "commonName"), "")

    def advance(self, arrived: bytes) -> bool:
        """Go on with the handshake after `arrived`; what is to be sent is in `outgoing`, also after an error.

        Returns:
            Whether this end is done. The other one may still refuse: then the first `open` says so.

        Raises:
            TlsError: the two do not come together.
        """
        self._arrived.write(arrived)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise _worded(error) from None
        return True

    def outgoing(self) -> bytes:
        """Take what is to be sent as it is."""
        return self._to_send.read()

    def seal(self, data: bytes) -> bytes:
        """Return what to send for `data`, after whatever was to be sent before. Never fails: of a channel
        that is over nothing comes out, and whoever reads learns why."""
        view = memoryview(data)
        with contextlib.suppress(ssl.SSLError):
            while view:
                view = view[self._tls.write(view) :]
        return self._to_send.read()

    def open(self, data: bytes) -> bytes:
        """Return the plain bytes that `data` completes; may be none.

        Raises:
            LinkError: the other end is gone, or what it sent was changed on the way.
        """
        self._arrived.write(data)
        parts: list[bytes] = []
        try:
            while part := self._tls.read(RECORD_BYTES):
                parts.append(part)
            self._over = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._over = True
        except ssl.SSLError as error:
            raise _worded(error) from None
        if self._over and not parts:
            raise LinkError("closed by the other side")
        return parts[0] if len(parts) == 1 else b"".join(parts)


def make_context(
    certificate: bytes, private_key: bytes, authorities: Iterable[bytes], *, dialled: bool
) -> ssl.SSLContext:
    """Make what the channels of one direction share.

    Args:
        certificate, private_key: PEM, our own.
        authorities: DER, whose certificates are accepted.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if dialled else ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = (
        False  # a node has no name that could be checked: the authority is all that counts
    )
    context.verify_mode = ssl.CERT_REQUIRED
    if not dialled:
        context.num_tickets = 0  # no resumption: who comes again is verified again, under the keys of then
    context.load_verify_locations(cadata=b"".join(authorities))
    with _readable(certificate) as certificate_path, _readable(private_key) as key_path:
        context.load_cert_chain(certificate_path, key_path)
    return context


@contextlib.contextmanager
def _readable(text: bytes) -> Generator[str]:
    """Give a path from which `text` can be read once: Python loads certificates from files only, and a
    private key has no business on a disk. A pipe holds 4 KiB at least; ours is 1 KiB at most."""
    read_end, write_end = os.pipe()
    try:
        try:
            os.write(write_end, text)
        finally:
            os.close(write_end)
        yield f"/dev/fd/{read_end}"
    finally:
        os.close(read_end)


def _worded(error: ssl.SSLError) -> TlsError:
    """Turn OpenSSL's error into a code and a sentence."""
    if isinstance(error, ssl.SSLCertVerificationError):
        unknown = ("certificate", f"its certificate is not accepted: {error.verify_message}")
        return TlsError(*_OUR_VERDICTS.get(error.verify_code, unknown))
    for ending, (code, reason) in _THEIR_VERDICTS.items():
        if (error.reason or "").endswith(ending):
            return TlsError(code, reason)
    return TlsError("failed", f"TLS failed: {(error.reason or str(error)).replace('_', ' ').lower()}")
