"""A batch's slices: how much of it is worked through before others have a turn."""

from collections.abc import Sequence

import msgspec
import pytest

from api.batch import BATCH_SLICE, SLICE_BYTES
from api.operation import NDJSON
from api.records import answer_post
from eventbus import Event
from tests.cluster.peer import config, running


@pytest.mark.parametrize(
    ("lines", "line_bytes", "slices"),
    [
        (2 * BATCH_SLICE + 1, 100, [BATCH_SLICE, BATCH_SLICE, 1]),
        (10, SLICE_BYTES // 4, [4, 4, 2]),
        (10, SLICE_BYTES // 4 + 10, [3, 3, 3, 1]),
        (2, SLICE_BYTES + 10, [1, 1]),
    ],
)
async def test_a_slice_is_so_many_lines_or_bytes(lines: int, line_bytes: int, slices: list[int]) -> None:
    """The edges: the largest number of lines, long lines that just fit, and one that is longer than all."""
    heard: list[int] = []

    def note(events: Sequence[Event]) -> Sequence[Event]:
        if events:  # the sweeper publishes what has expired: nothing
            heard.append(len(events))
        return ()

    # A line counts with its end; the last has none.
    made = [msgspec.json.encode({"id": f"{n:06}", "raw": ""}) for n in range(lines)]
    padded = [m.replace(b'""', b'"' + b"x" * (line_bytes - len(m) - 1) + b'"') for m in made]
    async with running(config()) as node:
        with node.bus.subscribe(wants=note):
            answer = await answer_post(node, b"\n".join(padded), NDJSON)
    assert answer.body.count(b'"status":201') == lines
    assert heard == slices
