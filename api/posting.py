"""Turn the node's answer to a client's record into what every posting route says: success or `Problem`."""

from quart import request

from api.errors import Problem
from node import Answer, Node, Submission
from validator import Record


def submit(node: Node, id: str | None, raw: str, signature: str | None) -> tuple[Record, bool]:
    """Hand a record to the node.

    Returns:
        the record that is held, and whether it is new.

    Raises:
        Problem: it was refused; nothing was stored.
    """
    submission = node.submit(id, raw, signature)
    match submission:
        case Submission(Answer.STORED | Answer.EXISTS, record=Record() as record):
            return record, submission.answer is Answer.STORED
        case Submission(Answer.CONFLICT):
            raise Problem(
                "id-conflict",
                "another raw is stored under this id and stays until its life is over; use another id",
            )
        case _:
            pass
    verdict = submission.verdict
    if verdict is None:
        raise AssertionError(f"{submission.answer} came without a verdict")
    if submission.answer is Answer.FULL:
        raise Problem("store-full", f"{verdict.reason}; room comes back as records expire")
    raise Problem(verdict.code, verdict.reason)


async def body_bytes() -> bytes:
    """Return the request's whole body, which the floor has read and bounded already."""
    return await request.get_data(False, False, False)
