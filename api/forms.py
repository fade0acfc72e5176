"""What a feed says, and the forms it says it in. Pure.

An event is a flat JSON object whose `event` names its kind; every form carries the same objects. Each form
turns a run of events into bytes that are good for every reader of that form: a server's WebSocket frames
are not masked (RFC 6455 section 5.1), so the frames of one reader are the frames of all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from api.views import RecordView


class RecordEvent(RecordView, frozen=True, omit_defaults=True, tag_field="event", tag="record"):
    """A record is held here now; `cursor` is where to go on after it. `source`: how it came, `here` from a
    client of this node or the id of the peer that sent it; told of what arrived while somebody followed."""

    source: str = ""


class ExpiredEvent(msgspec.Struct, frozen=True, tag_field="event", tag="expired"):
    """A record's life is over."""

    id: str
    digest: str
    time_stamp: int
    cursor: str


class SupersededEvent(msgspec.Struct, frozen=True, tag_field="event", tag="superseded"):
    """Two records claimed one id. The one with `loser` as its digest was held and is gone."""

    id: str
    digest: str
    loser: str
    cursor: str


class PeerEvent(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="event", tag="peer"):
    """A link to a peer came (`up`) or went (`down`, with the reason)."""

    peer: str
    name: str
    state: str
    cursor: str
    reason: str = ""


class ResetEvent(msgspec.Struct, frozen=True, tag_field="event", tag="reset"):
    """The cursor given was of another node, or of another start of this one: what follows begins with the
    oldest record held. Who has seen some of it knows them by their ids."""

    cursor: str


class SkippedEvent(msgspec.Struct, frozen=True, tag_field="event", tag="skipped"):
    """So many notices (`expired`, `superseded`, `peer`) were gone before this reader came for them. No
    record is ever skipped."""

    notices: int
    cursor: str


class KeepAliveEvent(msgspec.Struct, frozen=True, tag_field="event", tag="keepalive"):
    """Nothing happened for a while; `cursor` may have moved all the same."""

    cursor: str


FeedEvent = RecordEvent | ExpiredEvent | SupersededEvent | PeerEvent | ResetEvent | SkippedEvent

_KINDS = {
    kind: str(kind.__struct_config__.tag).encode()
    for kind in (RecordEvent, ExpiredEvent, SupersededEvent, PeerEvent, ResetEvent, SkippedEvent)
}

_encode = msgspec.json.Encoder().encode


def text_frame(payload: bytes) -> bytes:
    """Wrap UTF-8 in one WebSocket text frame of a server (RFC 6455 section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


@dataclass(frozen=True, slots=True)
class ServerSentEvents:
    """`text/event-stream`: the cursor is the event's id, so that a browser brings it back by itself.

    Source:
        HTML Living Standard, section 9.2 (server-sent events).
    """

    def encode(self, events: Iterable[FeedEvent]) -> bytes:
        """Lay out events."""
        return b"".join(
            [
                b"id: %b\nevent: %b\ndata: %b\n\n" % (e.cursor.encode(), _KINDS[type(e)], _encode(e))
                for e in events
            ]
        )

    def keep_alive(self, cursor: str) -> bytes:
        """Lay out a comment; the id beside it moves the browser's cursor and is no event."""
        return b": keep-alive\nid: %b\n\n" % cursor.encode()


@dataclass(frozen=True, slots=True)
class Lines:
    """NDJSON: one event a line."""

    def encode(self, events: Iterable[FeedEvent]) -> bytes:
        """Lay out events."""
        return b"".join([_encode(event) + b"\n" for event in events])

    def keep_alive(self, cursor: str) -> bytes:
        """Lay out a line that says that nothing happened."""
        return _encode(KeepAliveEvent(cursor)) + b"\n"


@dataclass(frozen=True, slots=True)
class Raws:
    """WebSocket text frames, each one record's raw and nothing else; all other events are left out."""

    def encode(self, events: Iterable[FeedEvent]) -> bytes:
        """Lay out records."""
        return b"".join([text_frame(e.raw.encode()) for e in events if isinstance(e, RecordEvent)])


@dataclass(frozen=True, slots=True)
class Frames:
    """WebSocket text frames of JSON, one event each, or up to `batch` records in one.

    Attributes:
        feed: str, what the reader calls this feed; it is in every frame.
        batch: int >= 1; above 1 records come as `{"event":"records","feed":…,"cursor":…,"records":[…]}`.
    """

    feed: str
    batch: int

    def encode(self, events: Sequence[FeedEvent]) -> bytes:
        """Lay out events."""
        if self.batch == 1:
            return b"".join([self._one(event) for event in events])
        frames: list[bytes] = []
        records = [event for event in events if isinstance(event, RecordEvent)]
        for start in range(0, len(records), self.batch):
            frames.append(self._many(records[start : start + self.batch]))
        frames += [self._one(event) for event in events if not isinstance(event, RecordEvent)]
        return b"".join(frames)

    def _one(self, event: FeedEvent) -> bytes:
        return text_frame(b'{"feed":%b,' % _encode(self.feed) + _encode(event)[1:])

    def _many(self, records: list[RecordEvent]) -> bytes:
        head = {"event": "records", "feed": self.feed, "cursor": records[-1].cursor}
        return text_frame(_encode(head)[:-1] + b',"records":' + _encode(records) + b"}")


Form = ServerSentEvents | Lines | Raws | Frames
