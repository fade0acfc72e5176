"""`/v1/ws`: JSON both ways. Post and get a reply, follow any number of feeds, stop following.

Two tasks: one reads what the client says, the other answers it and sends what feeds bring. What has been
said while the answerer was busy is answered together: all posts in hand are stored as one batch and wait
for one commit, and replies leave in one write. docs/feeds.md is the protocol for clients.
"""

from collections import deque
from itertools import groupby
from typing import Annotated, Final

import msgspec
import trio

from api.access import Access
from api.cursor import parse_since
from api.errors import Problem
from api.feed import Feed
from api.feeds import Feeds, Reader
from api.forms import Frames, text_frame
from api.parse import parse_json
from api.posting import not_saved, outcome
from api.socket import GOING_AWAY, UNSUPPORTED, Closed, Socket
from api.views import ReceiptView, receipt_view
from node.exports import PostedRecord
from validator import Record

ASKED_MAX: Final = 100
"""Messages in hand before the reader waits: one slice of a batch, about 2 ms of work."""

ASKED_BYTES_MAX: Final = 256 * 1024
"""Bytes of them before the reader waits; one message may pass it, so a record of 1 MiB is taken."""

BATCH_MAX: Final = 1000
"""Most records of one frame, as of one page of a listing."""

NAME_CHARS_MAX: Final = 64
"""Length of a feed's name and of a `ref`, which are sent back with every answer."""


Ref = int | float | str | None


class Asked(msgspec.Struct, frozen=True):
    """What a client says. `op` is `post`, `subscribe`, `unsubscribe` or `ping`; `ref` comes back with the
    answer. `id`, `raw` and `signature` are of a post; `feed`, `since`, `prefix` and `batch` of the others."""

    op: str
    ref: Ref = None
    id: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    raw: str = ""
    signature: str | None = None
    feed: str = ""
    since: str = "now"
    prefix: str = ""
    batch: int = 1


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to one message; of a post, with the fields of its receipt."""

    event: str
    ref: Ref = None
    feed: str | None = None
    cursor: str = ""
    reset: bool = False
    status: int = 0
    code: str = ""
    detail: str = ""


class Posted(
    ReceiptView, frozen=True, omit_defaults=True, gc=False, kw_only=True, tag_field="event", tag="posted"
):
    """The answer to a post: what a batch answers for a line."""

    ref: Ref = None


class _Named(msgspec.Struct):
    ref: Ref = None


_DECODER = msgspec.json.Decoder(Asked)
_REF_DECODER = msgspec.json.Decoder(_Named)
_encode = msgspec.json.Encoder().encode


async def serve_json(feeds: Feeds, access: Access, socket: Socket) -> None:
    """Serve one socket. Raises Problem before it is accepted, Closed (in a group) afterwards."""
    reader = feeds.open("ws", socket.address)
    talk = Conversation(feeds, reader, socket, access)
    try:
        await socket.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.hear)
            await talk.answer()
    finally:
        reader.leave(cut_at=talk.cursors if socket.cut else None)


class Conversation:
    """One client's socket: what it said and was not answered yet, and the feeds it follows."""

    def __init__(self, feeds: Feeds, reader: Reader, socket: Socket, access: Access) -> None:
        self._feeds = feeds
        self._node = feeds.node
        self._reader = reader
        self._socket = socket
        self._access = access
        self._may_post = access.may_post(socket.headers)
        self._asked: deque[Asked | Reply] = deque()
        self._asked_bytes = 0
        self._room = trio.Event()
        self._heard_all = False
        self._refused: Closed | None = None
        self._followed: dict[str, Feed] = {}

    @property
    def cursors(self) -> str:
        """Where each followed feed is."""
        return " ".join(feed.cursor for feed in self._followed.values())

    async def hear(self) -> None:
        """Take what the client says, as long as there is room for it. What was said before its end counts."""
        while (message := await self._socket.receive()) is not None:
            if isinstance(message, bytes):
                self._refused = Closed(UNSUPPORTED, "JSON is taken as text frames")
                break
            data = message.encode()
            try:
                self._asked.append(_checked(parse_json(data, _DECODER)))
            except Problem as problem:
                self._asked.append(_error(_ref_of(data), problem))
            self._asked_bytes += len(data)
            self._reader.ring()
            while len(self._asked) >= ASKED_MAX or self._asked_bytes > ASKED_BYTES_MAX:
                self._room = trio.Event()
                await self._room.wait()
        self._heard_all = True
        self._reader.ring()

    async def answer(self) -> None:
        """Answer what was said, then send each feed's next run; sleep when there is neither.

        Ends when the client has ended and all it said is done: a post takes no reading of its answer. Or
        when the node stops; then each feed's end is told, in the time the server has for that.
        """
        while not self._feeds.closing:
            self._reader.listen()
            busy = False
            if self._asked:
                busy = True
                await self._socket.send(await self._replies())
            if self._heard_all and not self._asked:
                if self._refused is not None:
                    raise self._refused
                return
            for feed in list(self._followed.values()):
                run = feed.take()
                if run is not None:
                    busy = True
                    self._reader.sent(run.records)
                    if run.data:
                        await self._socket.send(run.data)
            if busy:
                await trio.lowlevel.checkpoint()
            else:
                await self._reader.wait()
        await self._socket.send(self._ends())
        raise Closed(GOING_AWAY, self.cursors if len(self._followed) == 1 else "")

    def _ends(self) -> bytes:
        """Say where each feed is: the reason of a close has no room for all, nor for names."""
        ends = [Reply("unsubscribed", None, name, feed.cursor) for name, feed in self._followed.items()]
        return b"".join([text_frame(_encode(end)) for end in ends])

    async def _replies(self) -> bytes:
        """Answer all that was said, in order; return the frames."""
        asked, self._asked, self._asked_bytes = list(self._asked), deque(), 0
        self._room.set()
        replies: list[Posted | Reply] = []
        for are_posts, group in groupby(asked, _is_post):
            if are_posts:
                replies += await self._post([a for a in group if isinstance(a, Asked)])
            else:
                replies += map(self._reply, group)
        return b"".join([text_frame(_encode(reply)) for reply in replies])

    async def _post(self, posts: list[Asked]) -> list[Posted]:
        """Store records and wait for one commit of them all."""
        if not self._may_post:
            refusal = Problem("forbidden", "posting needs credentials that are good for it")
            return [_refused(post, refusal) for post in posts]
        try:
            self._access.take_posts(self._socket.address, len(posts), trio.current_time())
        except Problem as refusal:
            return [_refused(post, refusal) for post in posts]
        await self._node.room()
        submissions = self._node.submit_many([PostedRecord(p.raw, p.id, p.signature) for p in posts])
        held: list[tuple[Posted, Record | None]] = []
        for post, submission in zip(posts, submissions, strict=True):
            try:
                record, stored = outcome(submission)
            except Problem as problem:
                held.append((_refused(post, problem), None))
            else:
                receipt = receipt_view(self._node, record, stored=stored)
                held.append((Posted(**msgspec.structs.asdict(receipt), ref=post.ref), record))
        seq = self._node.unsaved(record for _, record in held if record is not None)
        if seq and (trouble := await self._node.saved(seq)):
            for number, (_, saved) in enumerate(held):
                if saved is not None and self._node.unsaved((saved,)):
                    held[number] = (_refused(posts[number], not_saved(trouble)), saved)
        return [receipt for receipt, _ in held]

    def _reply(self, asked: Asked | Reply) -> Reply:
        """Answer one message that is no post, unless its answer is made already."""
        if isinstance(asked, Reply):
            return asked
        try:
            if asked.op == "subscribe":
                return self._subscribe(asked)
            if asked.op == "unsubscribe":
                feed = self._followed.pop(asked.feed, None)
                if feed is None:
                    raise Problem("not-found", f"no feed {asked.feed!r} is followed here")
                return Reply("unsubscribed", asked.ref, asked.feed, feed.cursor)
            if asked.op == "ping":
                return Reply("pong", asked.ref)
            raise Problem(
                "bad-request", f"op={asked.op[:40]!r} is none of post, subscribe, unsubscribe, ping"
            )
        except Problem as problem:
            return _error(asked.ref, problem)

    def _subscribe(self, asked: Asked) -> Reply:
        most = self._feeds.limits.subscriptions_max
        if asked.feed in self._followed:
            raise Problem("id-conflict", f"a feed {asked.feed!r} is followed here; unsubscribe it first")
        if len(self._followed) >= most:
            raise Problem("busy", f"{most} feeds are followed on this socket, no more are taken")
        newest_seq = self._node.store_statistics().seq
        position = parse_since(asked.since, self._node.boot, self._node.wall_ms(), newest_seq)
        form = Frames(asked.feed, asked.batch)
        feed = self._followed[asked.feed] = self._feeds.follow(position, asked.prefix, form)
        return Reply("subscribed", asked.ref, asked.feed, feed.cursor, position.reset)


def _is_post(asked: Asked | Reply) -> bool:
    return isinstance(asked, Asked) and asked.op == "post"


def _checked(asked: Asked) -> Asked:
    """Refuse what no operation could mean. Raises Problem."""
    if len(asked.feed) > NAME_CHARS_MAX or len(str(asked.ref)) > NAME_CHARS_MAX:
        raise Problem("bad-request", f"feed and ref have at most {NAME_CHARS_MAX} characters")
    if not 1 <= asked.batch <= BATCH_MAX:
        raise Problem("bad-request", f"batch={asked.batch} is not a number from 1 to {BATCH_MAX}")
    return asked


def _ref_of(data: bytes) -> Ref:
    """Find the `ref` of a message that is refused, so that its client knows which of them it was."""
    try:
        ref = _REF_DECODER.decode(data).ref
    except (msgspec.DecodeError, RecursionError):
        return None
    return ref if len(str(ref)) <= NAME_CHARS_MAX else None


def _error(ref: Ref, problem: Problem) -> Reply:
    return Reply("error", ref, status=problem.status, code=problem.code, detail=problem.detail)


def _refused(post: Asked, problem: Problem) -> Posted:
    return Posted(
        status=problem.status, id=post.id or "", code=problem.code, detail=problem.detail, ref=post.ref
    )
