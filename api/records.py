"""`/v1/records`: post (one, plain, or a batch), put, get, and list in pages."""

from collections.abc import AsyncIterator
from urllib.parse import quote

import msgspec
import trio
from quart import Blueprint, Response, request

from api.batch import post_batch, with_reach
from api.body import client_address, watching
from api.cursor import PAGE_WAIT, PREFIX, SINCE, Position, make_cursor, parse_since, parse_wait_s
from api.errors import Problem
from api.feeds import Feeds
from api.ids import ID, check_id_encoding
from api.operation import JSON, NDJSON, PLAIN, RECORD, SAME, TEXT, Answer, Operation, Parameter, operation
from api.parse import TIMEOUT, WAIT, parse_json, parse_limit, parse_text
from api.posting import body_bytes, saved, submit
from api.receipts import Wait, asked, begin
from api.reply import Reply, media_type
from api.tags import LISTED, listing_headers, not_modified
from api.views import PageView, ReceiptView, RecordView, receipt_view, record_view
from node.exports import Node, PostedRecord
from validator import Record

LIMIT_DEFAULT = 100
LIMIT_MAX = 1000
"""Records in one JSON page: what fits a screen of any client, and 1 MiB each at the worst."""

LINES_MAX = 10**9 - 1
"""Records in NDJSON, which is never built whole: any number."""

LOOK_RECORDS = 100
"""Records looked at, or in a piece of NDJSON, before other tasks get a turn."""

PAGE_BYTES_MAX = 1024 * 1024
"""Raw bytes in one JSON page, which is built whole; the page then ends early and says `more`. With readers
that do not read on every connection, 512 such pages are what they can make the node hold."""

PIECE_BYTES = 64 * 1024
"""Where a piece of NDJSON is sent even if it has fewer records."""

WAIT_S_MAX = 60.0
"""How long a page may be waited for: what proxies allow an answer to take, as a rule."""

_LIMITS = {JSON: (LIMIT_DEFAULT, LIMIT_MAX), NDJSON: (LINES_MAX, LINES_MAX)}

_DECODER = msgspec.json.Decoder(PostedRecord)

_LOCATION = {"Location": "Where the record is."}
_RECEIPTS = (
    Answer(201, "It is stored.", {JSON: ReceiptView}, _LOCATION),
    Answer(202, "It is held, but by fewer nodes than were waited for.", {JSON: ReceiptView}, _LOCATION),
)
_HELD = Answer(200, "It was held already.", {JSON: ReceiptView}, _LOCATION)
_BATCH = Answer(
    200,
    "It was held already; of a batch: one `ReceiptView` a line, in the order of its lines.",
    {JSON: ReceiptView, NDJSON: TEXT},
)
_RAW = {"type": "string", "minLength": 1, "description": "The record's raw. Any other type is taken as this."}
_POST = Operation(
    (_BATCH, *_RECEIPTS),
    ("bad-json", *RECORD),
    (WAIT, TIMEOUT),
    {JSON: PostedRecord, NDJSON: {**TEXT, "description": "One `PostedRecord` a line."}, PLAIN: _RAW},
)
_PUT = Operation((_HELD, *_RECEIPTS), RECORD, (ID, WAIT, TIMEOUT), {PLAIN: _RAW})
_GET = Operation(
    (
        Answer(200, "The record.", {JSON: RecordView}, {"ETag": "Its digest.", "Cache-Control": "Its life."}),
        SAME,
    ),
    ("bad-id", "not-found"),
    (ID,),
)
_WAIT_S = Parameter("wait", "query", "Wait so long for a record if there is none: up to 60s.", PAGE_WAIT)
_LIMIT = Parameter(
    "limit",
    "query",
    f"Most records: of a page {LIMIT_DEFAULT} by default; of NDJSON any number, all by default.",
    {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX},
)
_PAGE = Answer(
    200,
    "A page; or, if Accept prefers it, NDJSON: one `RecordView` a line.",
    {JSON: PageView, NDJSON: TEXT},
    LISTED,
)
_LIST = Operation((_PAGE, SAME), parameters=(SINCE, PREFIX, _LIMIT, _WAIT_S))


def make_blueprint(feeds: Feeds) -> Blueprint:
    """Make the routes over the node of `feeds`."""
    node = feeds.node
    routes = Blueprint("records", __name__)

    @routes.post("/v1/records")
    @operation(_POST)
    async def post_records() -> Response:
        """Store one record, or a batch of them."""
        content_type = request.headers.get("content-type", "")
        wait = asked()
        return (await answer_post(node, await body_bytes(), content_type, wait)).response()

    @routes.put("/v1/records/<any_id:id>")
    @operation(_PUT)
    async def put_record(id: str) -> Response:
        """Store the body under an id; naturally idempotent."""
        check_id_encoding(id)
        wait = asked()
        posted = PostedRecord(parse_text(await body_bytes()), id)
        return (await _post_one(node, posted, wait)).response()

    @routes.get("/v1/records/<any_id:id>")
    @operation(_GET)
    async def get_record(id: str) -> Response:
        """Show one record."""
        check_id_encoding(id)
        record = node.get(id)
        if record is None:
            raise Problem("not-found", "no living record has this id")
        life_left_s = max(node.life_left_ms(record) // 1000, 0)
        tag, life = f'"{record.digest.hex()}"', f"max-age={life_left_s}"
        headers = {"etag": tag, "cache-control": life, "content-type": JSON}
        return not_modified(headers) or _json(record_view(node, record), headers)

    @routes.get("/v1/records")
    @operation(_LIST)
    async def list_records() -> Response:
        """List records in order of arrival here: a JSON page, or NDJSON if the client asks for it."""
        newest_seq = node.store_statistics().seq
        position = parse_since(request.args.get("since"), node.boot, node.wall_ms(), newest_seq)
        prefix = request.args.get("prefix", "")
        wait_s = parse_wait_s(request.args.get("wait"), WAIT_S_MAX)
        kind = NDJSON if request.accept_mimetypes.best_match([JSON, NDJSON]) == NDJSON else JSON
        limit = parse_limit(request.args.get("limit"), *_LIMITS[kind])
        headers = _listing_headers(node, position, kind)
        if not wait_s and (unchanged := not_modified(headers)):
            return unchanged
        if kind == JSON or wait_s:
            page = await _page(node, position, prefix, limit if kind == JSON else 1)
            if wait_s and not page.records:
                page = await _awaited(feeds, page, prefix, limit, wait_s)
                headers = _listing_headers(node, position, kind)  # those before were the empty page's
            if kind == JSON:
                return _json(page, headers)
        response = Response(_lines(node, position, prefix, limit), 200, headers)
        response.timeout = None
        return response

    return routes


async def answer_post(node: Node, body: bytes, content_type: str, wait: Wait | None = None) -> Reply:
    """Store one record, or a batch of them, as the content type says. Raises Problem."""
    kind = media_type(content_type)
    if kind == NDJSON:
        return Reply(200, {"content-type": NDJSON}, await post_batch(node, body, wait))
    posted = parse_json(body, _DECODER) if kind == JSON else PostedRecord(raw=parse_text(body))
    return await _post_one(node, posted, wait)


async def _post_one(node: Node, posted: PostedRecord, wait: Wait | None) -> Reply:
    """Store one record, and if asked to, wait until nodes hold it: 202 when too few do in time."""
    if wait is None:
        record, stored = submit(node, posted.id, posted.raw, posted.signature)
        await saved(node, record)
        return _receipt(node, receipt_view(node, record, stored=stored))
    with begin(node, 1, wait) as receipt:
        record, stored = submit(node, posted.id, posted.raw, posted.signature)
        receipt.ask([record.digest])
        await saved(node, record)
        await receipt.wait()
        view = receipt_view(node, record, stored=stored)
        return _receipt(node, with_reach(receipt, [(view, record)])[0][0])


async def _page(node: Node, position: Position, prefix: str, limit: int) -> PageView:
    """Collect one page and look one record further, to know whether there is more."""
    records: list[RecordView] = []
    seq, size, more = position.after_seq, 0, False
    async for found_seq, record in _matching(node, position, prefix):
        if found_seq and record is not None:
            if len(records) == limit or size > PAGE_BYTES_MAX:
                more = True
                break
            cursor = make_cursor(node.boot, found_seq, position.floor_ms)
            records.append(record_view(node, record, cursor))
            size += records[-1].size
        seq = found_seq
    return PageView(records, make_cursor(node.boot, seq, position.floor_ms), more, position.reset)


async def _awaited(feeds: Feeds, page: PageView, prefix: str, limit: int, wait_s: float) -> PageView:
    """Wait for a page that is empty to become another; return the empty one when the time is over.

    It also is once the client sends no more: a close looks like that, and would hold its place for the rest.
    """
    node, reset, ended = feeds.node, page.reset, False
    address = client_address(request.scope)

    def end(_cut: bool) -> None:
        nonlocal ended
        ended = True
        reader.ring()

    with feeds.open("poll", address) as reader, trio.move_on_after(wait_s):
        async with watching(request.scope, end):
            while not (page.records or feeds.closing or ended):
                await reader.wait()
                reader.listen()
                position = parse_since(page.next, node.boot, 0, 0)
                page = msgspec.structs.replace(await _page(node, position, prefix, limit), reset=reset)
    return page


def _listing_headers(node: Node, position: Position, kind: str) -> dict[str, str]:
    """Order and cursors are of this start; a floor that moves with the time makes another tag each time."""
    tag = f"{node.arrivals_tag()}-{position.floor_ms}-{kind}"
    return {**listing_headers(tag), "content-type": kind, "vary": "Accept"}


async def _lines(node: Node, position: Position, prefix: str, limit: int) -> AsyncIterator[bytes]:
    """Yield records as NDJSON, each with the cursor to go on from it."""
    lines: list[bytes] = []
    count = size = 0
    async for seq, record in _matching(node, position, prefix):
        if record is not None:
            view = record_view(node, record, make_cursor(node.boot, seq, position.floor_ms))
            lines.append(msgspec.json.encode(view) + b"\n")
            size += len(lines[-1])
            count += 1
        if len(lines) >= LOOK_RECORDS or size > PIECE_BYTES:
            yield b"".join(lines)
            lines, size = [], 0
        if count == limit:
            break
    yield b"".join(lines)


async def _matching(node: Node, position: Position, prefix: str) -> AsyncIterator[tuple[int, Record | None]]:
    """Yield (seq, record) in order of arrival; None for one that does not match, so the cursor moves on."""
    seq = position.after_seq
    while arrived := node.arrivals(seq, LOOK_RECORDS):
        for seq, record in arrived:
            matches = record.time_stamp >= position.floor_ms and record.id.startswith(prefix)
            yield seq, record if matches else None
        await trio.lowlevel.checkpoint()


def _receipt(node: Node, view: ReceiptView) -> Reply:
    headers = {"location": f"/v1/records/{quote(view.id, safe='')}", "content-type": JSON}
    return Reply(view.status, headers, msgspec.json.encode(view))


def _json(view: msgspec.Struct, headers: dict[str, str]) -> Response:
    return Response(msgspec.json.encode(view), 200, headers)
