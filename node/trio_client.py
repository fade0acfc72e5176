"""The client for trio: the same calls, awaited.

Each runs in a thread, so there is one way of talking to a node, not two: a watch has a thread of its own,
which ends with it. A cancelled call returns at once; a post may have been stored all the same.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import trio

from node.client import Client, Receipt, Record, Watch, WatchState
from node.following import Delivery

__all__ = ["TrioClient", "TrioWatch"]

T = TypeVar("T")


class TrioClient:
    """Talk to a cluster through one or several of its nodes; arguments and errors as for `Client`."""

    def __init__(
        self,
        *nodes: str,
        user: str = "",
        token: str = "",
        ca: Path | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self._client = Client(*nodes, user=user, token=token, ca=ca, timeout_s=timeout_s)

    async def post(
        self,
        raw: str | bytes,
        *,
        id: str | None = None,
        signature: str | None = None,
        wait: Literal["all"] | int | None = None,
        wait_s: float = 2.0,
    ) -> Receipt:
        """Post a record; see `Client.post`."""
        post = partial(self._client.post, raw, id=id, signature=signature, wait=wait, wait_s=wait_s)
        return await _run(post)

    async def list(self, *, since: str = "all", prefix: str = "") -> AsyncGenerator[Record]:
        """Yield living records; see `Client.list`. Close it if it is left before its end (`aclosing`)."""
        pages = self._client.pages(since=since, prefix=prefix)
        while (page := await _run(partial(next, pages, None))) is not None:
            for record in page.records:
                yield record

    async def get(self, id: str) -> Record | None:
        """Return the record held under this id, or None; see `Client.get`."""
        return await _run(partial(self._client.get, id))

    async def show(self, path: str) -> dict[str, Any]:
        """Read `/v1/node` or `/v1/peers`; see `Client.show`."""
        return await _run(partial(self._client.show, path))

    def watch(self, *, since: str = "now", prefix: str = "", resume: WatchState | None = None) -> "TrioWatch":
        """Follow records as they come; see `Client.watch`."""
        return TrioWatch(self._client.watch(since=since, prefix=prefix, resume=resume))


class TrioWatch(AsyncIterator[Record]):
    """A `Watch`, awaited. Use it as a context manager: its end closes the connection.

    Cancelling closes it too: a record is either handed out or left to whoever resumes from `state`.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._limiter = trio.CapacityLimiter(1)

    async def __anext__(self) -> Record:
        while True:
            try:
                await trio.lowlevel.checkpoint_if_cancelled()
            except trio.Cancelled:
                self._watch.close()
                raise
            record = self._watch.take()  # from here on it counts as handed out
            if record is not None:
                return record
            batch = await self.batch()
            if not batch:
                raise StopAsyncIteration
            self._watch.ready.extend(batch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.close()

    async def batch(self) -> list[Delivery]:
        """Wait for what comes next and return it; nothing once closed. See `Watch.batch`."""
        try:
            return await trio.to_thread.run_sync(
                self._watch.batch, abandon_on_cancel=True, limiter=self._limiter
            )
        except trio.Cancelled:
            self._watch.close()  # or the thread would wait for the next record
            raise

    def state(self) -> WatchState:
        """Where to `resume` behind the records that the iterator has given."""
        return self._watch.state()


async def _run(call: Callable[[], T]) -> T:
    return await trio.to_thread.run_sync(call, abandon_on_cancel=True)
