"""api.reset: what a look at a half-closed connection's socket makes of one that cannot be looked at."""

import sys

import pytest
import trio
import trio.testing

from api.reset import reset, wait_for_reset


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux is asked")
async def test_a_socket_that_was_closed_meanwhile_is_no_error() -> None:
    """A failed write may close it in the tick in which the next look is due."""
    one, other = trio.socket.socketpair()
    with one, other:
        reset(one)
        await wait_for_reset(one)


async def test_a_socket_that_does_not_tell_its_state_is_waited_for() -> None:
    """Some sandboxes know no TCP_INFO, as no Unix socket does: the end of the answer ends the wait."""
    one, other = trio.socket.socketpair()
    with one, other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_reset, one)
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks
            nursery.cancel_scope.cancel()
