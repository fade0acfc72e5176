"""Two nodes introduce themselves; only then is there a link.

If the cluster has a key, TLS comes first, and who cannot show a certificate of it hears nothing more. Then
the dialling side sends `Hello`; the other answers `Hello`, or `Bye` with the reason; the dialling side
sends `Ready`, or `Bye`. Only `Ready` brings the link up at the far side. Whether the other one is
welcome is for `judge` to say (cluster/compatibility.py, membership).
"""

import contextlib
from collections.abc import Callable
from typing import TypeVar

import trio

from cluster.codec import EncryptedError, FrameError, encode
from cluster.connection import Connection
from cluster.messages import Bye, Hello, Message, Ready
from cluster.tls import TlsChannel, TlsError
from cluster.transport import LinkError

HANDSHAKE_TIMEOUT_S = 3.0
"""How long connecting may take, and then shaking hands: ten round trips round the globe, and a short
stay for whoever connects and says nothing."""

KEY_HERE = Bye("encrypted", "links are encrypted there and we have no key; start with the cluster's key file")
"""Said in plain to whoever has no key and greets a node that has one."""

NO_KEY_HERE = Bye("open", "there is no key there and we have one")
"""Said in plain to whoever has a key and greets a node that has none. It hears only that it is plain."""

Kind = TypeVar("Kind", Hello, Ready)


class Refused(Exception):
    """The two did not come together. Nothing was exchanged but introductions.

    Attributes:
        code: str, stable slug: `cluster`, `clock`, `duplicate`, … or `failed`.
        reason: str, one sentence for people.
        theirs: what the other side said of itself, or None if it did not get that far.
        node_id: who is there, as it says in its hello or its goodbye, or None.
    """

    def __init__(
        self, code: str, reason: str, theirs: Hello | None = None, node_id: bytes | None = None
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.theirs = theirs
        self.node_id = node_id if theirs is None else theirs.node_id


def goodbye(refusal: tuple[str, str], ours: Hello) -> Bye:
    """Return what to say to whom `judge` refuses.

    Who dialled hears no hello then, and would dial this address for ever if it did not know from this that it
    is linked with us already, or is us. (A hello before the goodbye could be taken for a link, for a moment:
    the other side may have lost the one we have, and would welcome another.)
    """
    code, reason = refusal
    return Bye(code, reason, ours.node_id if code in ("duplicate", "self") else None)


async def shake_hands(
    connection: Connection,
    ours: Hello,
    judge: Callable[[Hello], tuple[str, str] | None],
    *,
    dialled: bool,
) -> Hello:
    """Introduce ourselves and judge who is there.

    Args:
        judge: returns why the sender of a hello is not welcome, as (code, reason), or None.
        dialled: whether we made the connection.

    Returns:
        the other side's hello. Whether the link stays is settled when it comes up, because another one
        with the same node may have come up meanwhile (`ClusterService`).

    Raises:
        Refused: either side did not want it, or it failed; the connection must be closed.
    """
    theirs: Hello | None = None
    try:
        with trio.fail_after(HANDSHAKE_TIMEOUT_S):
            if connection.tls is not None:
                await _encrypt(connection, connection.tls, dialled=dialled)
            if dialled:
                await _say(connection, ours)
            theirs = _expect(await connection.receive_one(), Hello)
            refusal = judge(theirs)
            if refusal is None:
                connection.welcome()
            if refusal is None and not dialled:
                await _say(connection, ours)
                _expect(await connection.receive_one(), Ready)
            if refusal is not None:
                await _say(connection, goodbye(refusal, ours))
            elif dialled:
                await _say(connection, Ready())
    except Refused as refused:
        raise Refused(refused.code, refused.reason, theirs, refused.node_id) from None
    except trio.TooSlowError:
        raise Refused("failed", f"no handshake within {HANDSHAKE_TIMEOUT_S:.0f} s", theirs) from None
    except TlsError as error:
        raise Refused(error.code, error.reason, theirs) from error
    except EncryptedError as error:
        await _part(connection, encode(NO_KEY_HERE))
        raise Refused("encrypted", f"{error}; start it with the cluster's key file") from error
    except (LinkError, FrameError) as error:
        raise Refused("failed", f"handshake failed: {error}", theirs) from error
    if refusal is not None:
        raise Refused(*refusal, theirs)
    return theirs


async def _encrypt(connection: Connection, tls: TlsChannel, *, dialled: bool) -> None:
    """Bring TLS up. What is left to be sent then goes out with the first message.

    Raises:
        TlsError: with the reason; the other side has been told. LinkError: it is gone.
    """
    arrived, first = b"", True
    while True:
        try:
            done = tls.advance(arrived)
        except TlsError:
            await _part(connection, tls.outgoing())
            raise
        if done:
            connection.take_early()
            return
        if outgoing := tls.outgoing():
            await connection.write_sealed(outgoing)
        arrived = await connection.read_sealed()
        if first and arrived[0] not in _TLS_FIRST_BYTES:
            await _part(connection, b"" if dialled else encode(KEY_HERE))
            raise _not_encrypted(arrived)
        first = False


_TLS_FIRST_BYTES = (0x15, 0x16)
"""An alert or a handshake: all that TLS begins with (RFC 8446, section 5.1)."""


def _not_encrypted(arrived: bytes) -> TlsError:
    """Say who speaks plain: frames begin with a zero, because none is so long that it needs this byte."""
    if arrived[0] == 0:
        return TlsError("open", "it has no cluster key and we have one; start it with the same key file")
    if arrived.startswith(b"HTTP/"):
        return TlsError("failed", "it speaks HTTP; give the peer port of the node, not the HTTP port")
    return TlsError("failed", "handshake failed: it does not speak TLS")


async def _part(connection: Connection, last_words: bytes) -> None:
    """Tell whoever is refused why, in a form it understands; it may be gone."""
    with contextlib.suppress(LinkError):
        await connection.write_sealed(last_words)


async def _say(connection: Connection, message: Message) -> None:
    await connection.write_sealed(connection.seal(encode(message)))


def _expect(message: Message, kind: type[Kind]) -> Kind:
    """Return the message if it is of the expected kind. Raises Refused, with a Bye's own words."""
    if isinstance(message, kind):
        return message
    if isinstance(message, Bye):
        raise Refused(message.code, f"it refused us: {message.reason}", node_id=message.node_id)
    raise Refused("failed", f"a {kind.__name__} was due, not a {type(message).__name__}")
