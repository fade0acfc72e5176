"""Messages to frames and back. All size limits are checked before anything is allocated.

A frame is `u32 length | u8 type | u8 flags | body`, big-endian; `length` counts what follows it; the
body is one message as MessagePack. Flag bit 0 says *critical*: a reader that does not know the type of
a critical frame ends the link, any other unknown frame it skips. So a later release can add messages
without losing an earlier one.
"""

import struct
import sys
from collections.abc import Generator, Iterator, Sequence
from typing import Final

import msgspec

from cluster import messages as m
from cluster.messages import DIGEST_BYTES, NODE_ID_BYTES, Message, WireRecord
from validator import Record

FRAME_BYTES_MAX: Final = 1024 * 1024 + 4096
"""Largest frame after its length field: one record of 1 MiB and everything around it."""

HELLO_BYTES_MAX: Final = 64 * 1024
"""Largest frame of a stranger, before its hello was welcome: what its longest texts may come to."""

BATCH_BYTES: Final = 64 * 1024
"""Where a batch of records is cut: large enough that per-frame costs vanish, small enough that a ping
behind it does not wait. A single larger record travels in a frame of its own."""

RECORD_OVERHEAD_BYTES: Final = 24
"""What MessagePack adds to a record at most: array header, three text headers, one integer."""

CRITICAL: Final = 1

_SKIPPABLE: Final = (m.Confirm, m.Held)
"""A node that does not know these confirms nothing and is counted by nobody; its link may stay."""

_HEADER: Final = struct.Struct(">IBB")
_DIGEST: Final = struct.Struct(f"{DIGEST_BYTES}s")
_TYPES: Final[dict[int, type[Message]]] = {
    1: m.Hello,
    2: m.Ready,
    3: m.Bye,
    4: m.Ping,
    5: m.Pong,
    6: m.Push,
    7: m.IHave,
    8: m.Want,
    9: m.Reconcile,
    10: m.Reconciled,
    11: m.Fetch,
    12: m.Page,
    13: m.Peers,
    14: m.Prune,
    15: m.Graft,
    16: m.ForwardJoin,
    17: m.Shuffle,
    18: m.Shuffled,
    19: m.Ack,
    20: m.Confirm,
    21: m.Held,
}
_NUMBERS: Final = {kind: number for number, kind in _TYPES.items()}
_DECODERS: Final = {number: msgspec.msgpack.Decoder(kind) for number, kind in _TYPES.items()}
_ENCODER: Final = msgspec.msgpack.Encoder()


_TLS_RECORDS: Final = (b"\x16\x03", b"\x15\x03")
"""How TLS begins: a handshake or an alert (RFC 8446, section 5.1)."""


class FrameError(ValueError):
    """The peer sent bytes that no Dayfly node sends. Its fault; the link must end; nothing was taken."""


class EncryptedError(FrameError):
    """The peer speaks TLS where frames were due: it has a cluster key and we have none."""


def encode(message: Message) -> bytes:
    """Encode a message as one frame, ready to be written.

    Raises:
        ValueError: the frame would pass `FRAME_BYTES_MAX` (our bug; nothing was sent).
    """
    body = _ENCODER.encode(message)
    length = len(body) + 2
    if length > FRAME_BYTES_MAX:
        raise ValueError(f"{type(message).__name__} of {length} bytes passes FRAME_BYTES_MAX")
    flags = 0 if isinstance(message, _SKIPPABLE) else CRITICAL
    return _HEADER.pack(length, _NUMBERS[type(message)], flags) + body


class FrameReader:
    """Turn a byte stream into messages. Feed it what arrives; it keeps at most one incomplete frame.

    Attributes:
        frame_bytes_max: largest frame taken; can be changed between two messages.
        left: whether there may be more whole frames in what was fed.
        skipped_total: frames of kinds that are not known here.
    """

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self.frame_bytes_max = frame_bytes_max
        self.left = False
        self.skipped_total = 0
        self._buffer = bytearray()

    def feed(self, data: bytes, frames_max: int = sys.maxsize) -> Generator[Message]:
        """Take bytes and yield every message that is now complete, in order; what is left stays when closed.

        Args:
            frames_max: after how many frames to stop, those that are skipped among them.

        Raises:
            FrameError: the bytes are not frames of this protocol. Messages yielded before are good;
                the reader must not be used again.
        """
        self._buffer += data
        at = frames = 0
        try:
            while frames < frames_max and len(self._buffer) - at >= _HEADER.size:
                length, number, flags = _HEADER.unpack_from(self._buffer, at)
                if not 2 <= length <= self.frame_bytes_max:
                    if self._buffer.startswith(_TLS_RECORDS, at):
                        raise EncryptedError("it encrypts its links and this node has no key")
                    if self._buffer.startswith(b"HTTP/", at):
                        raise FrameError("it speaks HTTP; give the peer port of the node, not the HTTP port")
                    raise FrameError(f"frame length {length} is not in 2 to {self.frame_bytes_max}")
                if len(self._buffer) - at < 4 + length:
                    break
                body = memoryview(self._buffer)[at + 6 : at + 4 + length]
                at += 4 + length
                frames += 1
                try:
                    message = _decode(number, flags, body)
                finally:
                    body.release()
                if message is not None:
                    yield message
                else:
                    self.skipped_total += 1
        finally:
            self.left = frames == frames_max
            del self._buffer[:at]


def _decode(number: int, flags: int, body: memoryview) -> Message | None:
    decoder = _DECODERS.get(number)
    if decoder is None:
        if flags & CRITICAL:
            raise FrameError(f"unknown critical frame type {number}")
        return None
    try:
        message = decoder.decode(body)
    # msgspec raises UnicodeDecodeError for bad UTF-8 and RecursionError for deep nesting.
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise FrameError(f"bad {_TYPES[number].__name__} frame: {type(error).__name__}") from error
    joined, part_bytes = b"", 1
    match message:
        case m.Push(origin=origin) | m.IHave(origin=origin) if len(origin) not in (0, NODE_ID_BYTES):
            raise FrameError(f"an origin of {len(origin)} bytes in {type(message).__name__}")
        case _:
            pass
    match message:
        case m.IHave(digests=joined) | m.Want(digests=joined) | m.Confirm(digests=joined):
            part_bytes = DIGEST_BYTES
        case m.Graft(origins=joined) | m.Shuffle(path=joined) | m.Shuffled(path=joined):
            part_bytes = NODE_ID_BYTES
        case _:
            pass
    if len(joined) % part_bytes:
        raise FrameError(f"{len(joined)} bytes in {type(message).__name__} are no multiple of {part_bytes}")
    return message


def split_digests(joined: bytes) -> list[bytes]:
    """Cut joined 32-byte digests apart, as `FrameReader` has let them pass."""
    return [digest for (digest,) in _DIGEST.iter_unpack(joined)]


def split_node_ids(joined: bytes) -> list[bytes]:
    """Cut joined 16-byte node ids apart, as `FrameReader` has let them pass."""
    return [joined[i : i + NODE_ID_BYTES] for i in range(0, len(joined), NODE_ID_BYTES)]


def wire_record(record: Record) -> WireRecord:
    """Return the four facts of a record for a `Push` or `Page`."""
    return WireRecord(record.id, record.raw, record.signature, record.time_stamp)


def batches(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Cut records into batches of at most `BATCH_BYTES` on the wire; a larger record stands alone."""
    batch: list[Record] = []
    batch_bytes = 0
    for record in records:
        size = record.size_bytes + RECORD_OVERHEAD_BYTES
        if batch and batch_bytes + size > BATCH_BYTES:
            yield batch
            batch, batch_bytes = [], 0
        batch.append(record)
        batch_bytes += size
    if batch:
        yield batch


def encode_push(records: Sequence[Record], origin: bytes = b"") -> bytes:
    """Encode one batch of records as a `Push` frame. `origin`: as in `Push`."""
    return encode(m.Push([wire_record(r) for r in records], origin))
