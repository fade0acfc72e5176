"""The two original routes, byte-compatible on success.

The original answered any method and content type, encoded JSON as Go does (`<`, `>`, `&`, U+2028 and
U+2029 escaped), and said 200 to everything. The listing is streamed in pages and never built whole.
"""

from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
import trio
from quart import Blueprint, Response

from api.errors import SEED_JSON, SeedAnswer
from api.operation import JSON, RECORD, SAME, Answer, Operation, operation
from api.parse import parse_json
from api.posting import body_bytes, saved, submit
from api.reply import Reply
from api.tags import LISTED, listing_headers, not_modified
from node.exports import Node
from validator import Record

PAGE_RECORDS = 200
"""Records encoded before other tasks get a turn. With 1 KB records: 90 MB peak and 6 ms stalls for
100,000 of them, where one encode took 1 GB and half a second."""

PAGE_BYTES = 128 * 1024
"""Where a page is sent even if it has fewer records. It is what one client that does not read makes the node
hold, twice over; with 64 KiB a listing of 1 kB records costs half as much CPU again."""

_OK = Reply(200, {"content-type": SEED_JSON}, msgspec.json.encode(SeedAnswer(True, "ok")))
_EXISTS = Reply(200, {"content-type": SEED_JSON}, msgspec.json.encode(SeedAnswer(True, "Data exists")))
_GO_ESCAPES = ((b"<", rb"\u003c"), (b">", rb"\u003e"), (b"&", rb"\u0026"))
_GO_SEPARATORS = ((b"\xe2\x80\xa8", rb"\u2028"), (b"\xe2\x80\xa9", rb"\u2029"))


class SeedRecord(msgspec.Struct, frozen=True):
    """What the original's clients send and read. A missing field is an empty one, which is invalid."""

    id: Annotated[str, msgspec.Meta(examples=["greeting"])] = ""
    raw: Annotated[str, msgspec.Meta(examples=["hi"])] = ""
    signature: Annotated[str, msgspec.Meta(examples=["49f68a5c8493ec2c0bf489821c21fc3b"])] = ""


class SeedListing(msgspec.Struct, frozen=True):
    """Every living record, oldest first. It is written piece by piece (`_listing`), never made as one."""

    data_list: list[SeedRecord]


_DECODER = msgspec.json.Decoder(SeedRecord)

_POST = Operation(
    (Answer(200, "`ok`, or `Data exists`: the same id and raw are held already.", {JSON: SeedAnswer}),),
    ("bad-json", *RECORD),
    body={JSON: SeedRecord},
    refusal=SeedAnswer,
)
_LIST = Operation((Answer(200, "The records.", {JSON: SeedListing}, LISTED), SAME), refusal=SeedAnswer)


def make_blueprint(node: Node) -> Blueprint:
    """Make the routes over `node`."""
    routes = Blueprint("seed", __name__)
    turn = trio.Lock()

    @routes.post("/postNewData")
    @operation(_POST)
    async def post_new_data() -> Response:
        """Store one record."""
        return (await answer_post(node, await body_bytes(), "")).response()

    @routes.route("/listAllRecentData", methods=["GET", "POST"])
    @operation(_LIST)
    async def list_all_recent_data() -> Response:
        """List every living record, oldest first."""
        headers = {**listing_headers(node.living_tag()), "content-type": SEED_JSON}
        if unchanged := not_modified(headers):
            return unchanged
        response = Response(_listing(node, turn), 200, headers)
        response.timeout = None
        return response

    return routes


async def answer_post(node: Node, body: bytes, content_type: str) -> Reply:
    """Store one record. Its type plays no part: the original looked at none. Raises Problem."""
    posted = parse_json(body, _DECODER)
    record, stored = submit(node, posted.id, posted.raw, posted.signature)
    await saved(node, record)
    return _OK if stored else _EXISTS


async def _listing(node: Node, turn: trio.Lock) -> AsyncIterator[bytes]:
    """Yield the listing in pieces of a page. Those who list take turns: one page a pass of the loop."""
    yield b'{"data_list":['
    after, separator = b"", b""
    while True:
        async with turn:  # who waits for it wakes in the next pass; nobody holds it while sending
            piece, after = encode_page(node, after)
        if not piece:
            break
        yield separator + piece
        separator = b","
    yield b"]}"


def encode_page(node: Node, after: bytes) -> tuple[bytes, bytes]:
    """Encode the records with keys above `after`, as many as make a page; return also the last one's key."""
    pieces: list[bytes] = []
    size = 0
    for record in node.listing(after, PAGE_RECORDS):
        pieces.append(encode_as_go(record))
        size += len(pieces[-1])
        after = record.key
        if size >= PAGE_BYTES:
            break
    return b",".join(pieces), after


def encode_as_go(record: Record) -> bytes:
    """Encode a record's three texts as the original did."""
    data = msgspec.json.encode(SeedRecord(record.id, record.raw, record.signature))
    for plain, escaped in _GO_ESCAPES:
        data = data.replace(plain, escaped)
    if b"\xe2\x80" in data:
        for plain, escaped in _GO_SEPARATORS:
            data = data.replace(plain, escaped)
    return data
