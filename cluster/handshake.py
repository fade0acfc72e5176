"""Two nodes introduce themselves; only then is there a link.

The dialling side sends `Hello`; the other answers `Hello`, or `Bye` with the reason; the dialling side
sends `Ready`, or `Bye`. Only `Ready` brings the link up at the far side. Whether the other one is
welcome is for `judge` to say (cluster/compatibility.py, membership).
"""

from collections.abc import Callable
from typing import TypeVar

import trio

from cluster.codec import FrameError, encode
from cluster.link import Connection
from cluster.messages import Bye, Hello, Message, Ready
from cluster.transport import LinkError

HANDSHAKE_TIMEOUT_S = 3.0
"""How long connecting may take, and then shaking hands: ten round trips round the globe, and a short
stay for whoever connects and says nothing."""

Kind = TypeVar("Kind", Hello, Ready)


class Refused(Exception):
    """The two did not come together. Nothing was exchanged but introductions.

    Attributes:
        code: str, stable slug: `cluster`, `clock`, `duplicate`, … or `failed`.
        reason: str, one sentence for people.
        theirs: what the other side said of itself, or None if it did not get that far.
    """

    def __init__(self, code: str, reason: str, theirs: Hello | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.theirs = theirs


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
            if dialled:
                await connection.write(encode(ours))
            theirs = _expect(await connection.receive_one(), Hello)
            refusal = judge(theirs)
            if refusal is None:
                connection.welcome()
            if refusal is None and not dialled:
                await connection.write(encode(ours))
                _expect(await connection.receive_one(), Ready)
            if refusal is not None:
                await connection.write(encode(Bye(*refusal)))
            elif dialled:
                await connection.write(encode(Ready()))
    except Refused as refused:
        raise Refused(refused.code, refused.reason, theirs) from None
    except trio.TooSlowError:
        raise Refused("failed", f"no handshake within {HANDSHAKE_TIMEOUT_S:.0f} s", theirs) from None
    except (LinkError, FrameError) as error:
        raise Refused("failed", f"handshake failed: {error}", theirs) from error
    if refusal is not None:
        raise Refused(*refusal, theirs)
    return theirs


def _expect(message: Message, kind: type[Kind]) -> Kind:
    """Return the message if it is of the expected kind. Raises Refused, with a Bye's own words."""
    if isinstance(message, kind):
        return message
    if isinstance(message, Bye):
        raise Refused(message.code, f"it refused us: {message.reason}")
    raise Refused("failed", f"a {kind.__name__} was due, not a {type(message).__name__}")
