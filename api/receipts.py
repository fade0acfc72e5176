"""`?wait=all|N&timeout=`: a posting route that answers when enough nodes hold the record."""

from typing import NamedTuple

from quart import request

from api.errors import Problem
from api.parse import parse_timeout, parse_wait
from node.exports import Node, Receipt, ReceiptsFull


class Wait(NamedTuple):
    """What a client wants to wait for. `wanted`: how many nodes, None for all of them."""

    wanted: int | None
    timeout_s: float


def asked() -> Wait | None:
    """Read the request's parameters; None when it asks for no wait. Raises Problem."""
    wait, timeout_s = request.args.get("wait"), parse_timeout(request.args.get("timeout"))
    return None if wait is None else Wait(parse_wait(wait), timeout_s)


def begin(node: Node, records_max: int, wait: Wait) -> Receipt:
    """Make a receipt before anything is stored. Raises Problem when too many wait already."""
    try:
        return node.receipts.begin(records_max, *wait)
    except ReceiptsFull as full:
        raise Problem(
            "busy", f"{full}; nothing was stored; post without wait", {"retry-after": "1"}
        ) from None
