"""Good requests of every kind a node answers, and the mutated ones that are made of them, by the thousand."""

import random
import re
from itertools import cycle

import trio

from tests.api.rawhttp import RawClient, frame
from tests.mutations import mutate

RECORDS = b"POST /v1/records HTTP/1.1\r\nHost: 127.0.0.1\r\n"

PROTECTED = ("--auth-user", "a", "--auth-password", "b", "--write-token", "c")
"""Options of a node that asks posts for credentials, and judges whatever else carries some."""

BASIC = b"Authorization: Basic YTpi\r\n"
"""The right ones; a node without these options looks at none."""

_POST = RECORDS + BASIC


def _body(data: bytes) -> bytes:
    """Write the end of a head, and a body after it."""
    return b"Content-Length: %d\r\n\r\n" % len(data) + data


def _upgrade(target: bytes, credentials: bytes = b"") -> bytes:
    """Write the head of a WebSocket's handshake."""
    return (
        b"GET " + target + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n" + credentials + b"Connection: Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )


UPGRADE = b"Upgrade: websocket"
"""By this an input is known that may become a WebSocket."""


def _masked(payload: bytes, opcode: int = 1, fin: bool = True) -> bytes:
    """Write a client's frame of less than 126 bytes with the mask of the example in RFC 6455, section 5.7."""
    mask, plain = b"\x37\xfa\x21\x3d", frame(payload, opcode, fin)
    return plain[:2] + mask + bytes(b ^ m for b, m in zip(payload, cycle(mask), strict=False))


SEEDS = (
    b"GET /v1/records?since=10m&prefix=a&limit=3 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b'GET /v1/records HTTP/1.1\r\nHost: 127.0.0.1\r\nIf-None-Match: W/"a", "b", *\r\n\r\n',
    b"GET /v1/node HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 3,
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: gzip;q=0.5, *;q=0\r\n\r\n",
    b'HEAD /v1/records/a%2Fb HTTP/1.1\r\nHost: 127.0.0.1\r\nIf-None-Match: "a"\r\n\r\n',
    b"GET /listAllRecentData HTTP/1.0\r\n\r\n",
    b"GET /v1/stream?since=now&prefix=a HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/x-ndjson\r\n\r\n",
    b"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n" + BASIC + b"Last-Event-ID: 10m\r\n\r\n",
    _POST + b"Content-Type: application/json\r\n" + _body(b'{"id":"m","raw":"abc"}'),
    _POST + _body(b"hello"),
    _POST + b"Content-Type: application/x-ndjson\r\n" + _body(b'{"raw":"a"}\n{"raw":"b"}\n'),
    _POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;a=b\r\nabc\r\n0\r\nTrailer: x\r\n\r\n",
    _POST + b"Expect: 100-continue\r\n" + _body(b"hello"),
    _POST + b"Origin: http://127.0.0.1\r\n" + _body(b"hi"),
    RECORDS + b"Authorization: Bearer c\r\n" + _body(b"hi"),
    RECORDS + _body(b"nobody's"),
    _POST.replace(b"records", b"records?wait=all&timeout=100ms") + _body(b"hi"),
    b"PUT /v1/records/a HTTP/1.1\r\nHost: 127.0.0.1\r\n" + BASIC + _body(b"hi"),
    b"POST /postNewData HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    + BASIC
    + _body(b'{"id":"a","raw":"b","signature":"92eb5ffee6ae2fec3ad71c777531578f"}'),
    _upgrade(b"/v1/ws"),
    _upgrade(b"/v1/ws", BASIC)
    + frame(b'{"op":"subscribe","ref":1,"feed":"a","since":"now","prefix":"","batch":9}')
    + frame(b'{"op":"post","ref":2,"raw":"by socket","id":"s"}')
    + frame(b'{"op":"unsubscribe","ref":3,"feed":"a"}'),
    _upgrade(b"/v1/ws", BASIC)
    + _masked(b'{"op":"subscribe","since":"now"}')
    + _masked(b'{"op":"post","ref":"x",', fin=False)
    + _masked(b"are you there", 9)
    + _masked(b'"raw":"in two parts"}', 0)
    + _masked(b"\x03\xe8bye", 8),
    _upgrade(b"/websocket", BASIC) + _masked(b"one") + frame("grüße".encode(), 2),
    _upgrade(b"/websocket?since=now&prefix=a") + frame(b"", 10),
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABk\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
)

LEAVING = ("read", "close", "reset", "half")


def bent(rng: random.Random) -> bytes:
    """Damage a request anywhere, or in one place only, so that all before it is understood."""
    if rng.random() < 0.4:
        return mutate(rng, SEEDS)
    head, end, rest = rng.choice(SEEDS).partition(b"\r\n\r\n")
    if rest and rng.random() < 0.7:
        rest = mutate(rng, [rest])
        return re.sub(rb"(?<=Content-Length: )\d+", b"%d" % len(rest), head) + end + rest
    lines = head.split(b"\r\n")
    at = rng.randrange(len(lines))
    name, space, value = lines[at].partition(b" ")
    lines[at] = name + space + mutate(rng, [value])
    return b"\r\n".join(lines) + end + rest


async def send_mutated(port: int, rng: random.Random, source: str) -> None:
    """Send one input in one or two parts and leave in one of four ways; frames wait for the answer 101."""
    data, way = bent(rng), rng.choice(LEAVING)
    cut = rng.randrange(len(data) + 1)
    if UPGRADE in data and rng.random() < 0.9:
        cut = data.find(b"\r\n\r\n") + 4
    try:
        client = await RawClient.connect(port, source)
    except OSError:
        return
    try:
        with trio.move_on_after(2):
            await client.stream.send_all(data[:cut])
            if UPGRADE in data[:cut]:
                with trio.move_on_after(0.1):  # a damaged head may get none
                    await client.stream.receive_some()
            await client.stream.send_all(data[cut:])
            if way in ("read", "half"):
                await client.stream.send_eof()
            for _ in range(20 if way == "read" else 0):
                if not await client.stream.receive_some():
                    break
            if way == "reset":
                client.stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    except (trio.BrokenResourceError, OSError):
        pass  # the node was quicker
    finally:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(client.stream)


async def storm(port: int, seed: int, inputs: int, at_once: int = 20) -> None:
    """Send `inputs` mutated requests, some at a time, each from an address of its own.

    An address that sends wrong credentials is soon told to wait, and what it sends then is looked at no more.
    """
    rng = random.Random(seed)
    numbers = iter(range(inputs))

    async def worker(own: random.Random) -> None:
        for number in numbers:
            source = f"127.{2 + number // 50_000}.{number // 250 % 200}.{number % 250 + 1}"
            await send_mutated(port, own, source)

    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(worker, random.Random(rng.random()))
