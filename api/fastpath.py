"""The fast path: a small POST to one of the busiest routes, answered by the task that has read it.

Most of what a small request costs is the way to its handler: a task, a queue, ASGI's messages, Quart's
request and response; with all of it the CPU per post is 2.8 times as much (docs/performance.md). A POST
that is in hand whole needs none of that: nothing has to be awaited before the handler, so no deadline has
to be kept and no half of a body to be held. Whatever else a request may be (chunked, large, slow to come,
with `Expect`, HTTP/1.0, to another route) takes the ordinary way.

A larger one comes the ordinary way as far as its body is whole (api/body.py), and passes Quart by from there:
half a millisecond, of 10 for a batch of 1,000 records.

The handlers are those that Quart calls; heads and access are judged by the same functions.
"""

from collections.abc import Mapping
from typing import Final

import h11
import trio
from hypercorn.typing import HTTPScope

from api.errors import Problem, internal
from api.guard import Guard, no_room
from api.inbox import log_failure
from api.reply import Handler, Reply

FAST_BYTES_MAX: Final = 32 * 1024
"""Largest body that takes the fast path: half of what one read of a socket brings, so that it comes in one.
With more than that in a body, the way there no longer counts."""

Headers = list[tuple[bytes, bytes]]
"""Of a request: name in lower case, value. As a list, because h11's own sequence is slow to walk."""

_UNFIT: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade"})


class FastPath:
    """The routes of one server that have a fast path.

    Args:
        handlers: by path, as it stands in the request line.
        guard: Guard, whose bounds hold here too.
    """

    def __init__(self, handlers: Mapping[bytes, Handler], guard: Guard) -> None:
        self._handlers = handlers
        self._guard = guard

    def body_bytes(self, request: h11.Request, headers: Headers) -> int | None:
        """Say how long a request's body is, or None when it must take the ordinary way."""
        if request.method != b"POST" or request.target not in self._handlers:
            return None
        size = None
        for name, value in headers:
            if name == b"content-length":
                size = int(value)  # h11 has checked the digits
            elif name in _UNFIT:
                return None
        if request.http_version != b"1.1" or size is None:
            return None
        return size if size <= min(FAST_BYTES_MAX, self._guard.limits.body_bytes_max) else None

    async def answer(self, target: bytes, headers: Headers, body: bytes, address: str) -> Reply:
        """Answer a request that `body_bytes` let pass. Whatever goes wrong becomes the reply."""
        path = target.decode("ascii")
        if not self._guard.take(len(body)):
            return Reply.refusing(no_room(), path)
        try:
            access, now_s = self._guard.access, trio.current_time()
            problem = access.check(headers, "POST", path, address, now_s, is_websocket=False)
            if problem is not None:
                return Reply.refusing(problem, path)
            content_type = next((value for name, value in headers if name == b"content-type"), b"")
            access.take_post(address, path, content_type, body, now_s)
            return await self.handle(target, content_type, body)
        except Problem as problem:
            return Reply.refusing(problem, path)
        finally:
            self._guard.give_back(len(body))

    def handles(self, scope: HTTPScope) -> bool:
        """Whether a request, once its body is in hand, can be handed to `handle` instead of to Quart."""
        busy = scope["method"] == "POST" and scope["path"].encode() in self._handlers
        return busy and not scope["query_string"]

    async def handle(self, target: bytes, content_type: bytes, body: bytes) -> Reply:
        """Have the handler of `target` answer. Whatever goes wrong becomes the reply."""
        path = target.decode("ascii")
        try:
            return await self._handlers[target](body, content_type.decode("latin-1"))
        except Problem as problem:
            return Reply.refusing(problem, path)
        except Exception as error:  # a bug in a handler costs its request, not the connection
            log_failure("handler failed", error)
            return Reply.refusing(internal(error), path)
