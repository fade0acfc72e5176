"""How far a record has come, as nodes tell clients."""

import msgspec


class PeerReach(msgspec.Struct, frozen=True):
    """A peer that holds a record. `ms`: when its word came, in milliseconds from when the client asked."""

    name: str
    ms: float


class Reach(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a record has come.

    Attributes:
        ok: nodes known to hold it now, this one included; 0 when this one holds it no more.
        of: nodes of the cluster, as this one knew it when it asked.
        ms: how long the client has waited, in milliseconds.
        scope: `tree` where nodes report for others, too, because not all are linked with this one.
        peers: of a record that was posted alone, the others that are known to hold it, the first first; not
            in a `tree`.
    """

    ok: int
    of: int
    ms: int
    scope: str = ""
    peers: list[PeerReach] = []
