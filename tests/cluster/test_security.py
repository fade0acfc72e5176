"""Who gets a link to a real node and who does not: every refusal over real sockets, named on both sides."""

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from structlog.testing import capture_logs

from cluster.certificate import ENTROPY_BYTES, Authority
from cluster.codec import encode
from cluster.handshake import HANDSHAKE_TIMEOUT_S
from cluster.messages import Bye
from cluster.tls import make_context
from node.exports import Node
from tests.cluster.channels import HOUR_MS, KEY, OTHER_KEY, security, wall_ms
from tests.cluster.peer import ScriptedPeer, config, hello, running, until

CLUSTER = "peer-test"
REFUSED_WITHIN_S = 5.0
OURS = Authority(KEY, CLUSTER)


def errors(node: Node) -> str:
    """What people are told of links that are not."""
    return " | ".join(p.error for p in node.peers())


@asynccontextmanager
async def dialling(answer: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncGenerator[Node]:
    """Run a node with a key that dials a stranger, who does `answer` on each connection."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, answer, listeners)
        join = f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        async with running(config(("key", KEY.line), ("join", join))) as node:
            yield node
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def pair(one: dict[str, str], two: dict[str, str]) -> AsyncGenerator[tuple[Node, Node]]:
    """Run a node with the settings `one` and another with `two` that dials it; each holds a record."""
    async with running(config(*one.items())) as listening:
        listening.submit("of-one", "1", None)
        join = f"127.0.0.1:{listening.cluster.port}"
        async with running(config(*{"join": join, **two}.items())) as dialling:
            dialling.submit("of-two", "2", None)
            yield listening, dialling


@pytest.mark.parametrize(
    ("one", "two", "at_one", "at_two"),
    [
        (
            {"key": KEY.line},
            {"key": OTHER_KEY.line},
            "our key is not in its key file",
            "not of our cluster key",
        ),
        (
            {"key": KEY.line},
            {"key": KEY.line, "cluster": "other"},
            "our key but another cluster name",
            "our key but another cluster name",
        ),
        (
            {"key": KEY.line},
            {},
            "it has no cluster key and we have one",
            "encrypted there and we have no key",
        ),
        ({}, {"key": KEY.line}, "it encrypts its links and this node has no key", "it has no cluster key"),
        (
            {"key": KEY.line},
            {"key": f"{OTHER_KEY.line}\n{KEY.line}"},
            "not of our cluster key",
            "our key is not in its key file",
        ),
    ],
    ids=["wrong key", "wrong cluster", "plain to TLS", "TLS to plain", "promoted too early"],
)
async def test_nodes_that_do_not_belong_together_refuse_each_other_and_both_say_why(
    one: dict[str, str], two: dict[str, str], at_one: str, at_two: str
) -> None:
    """Within 5 s, with one line in each log, and no record goes either way."""
    with capture_logs() as logs:
        async with pair(one, two) as (listening, dialling):
            await until(lambda: at_one in errors(listening), at_one, REFUSED_WITHIN_S)
            await until(lambda: at_two in errors(dialling), at_two, REFUSED_WITHIN_S)
            again = dialling.cluster.engine.membership.candidates
            await until(lambda: any(c.attempts > 1 for c in again.lost), "it was dialled again")
            assert not listening.cluster.links
            assert not dialling.cluster.links
            assert [r.id for r in listening.listing(b"")] == ["of-one"]
            assert [r.id for r in dialling.listing(b"")] == ["of-two"]
    assert len([log for log in logs if log["event"] == "link refused"]) == 2


@pytest.mark.parametrize("keys", [{"key": KEY.line}, {}], ids=["encrypted", "open"])
async def test_nodes_with_the_same_key_link_and_say_how(keys: dict[str, str]) -> None:
    """Records go both ways; each side shows in one line how, and for each peer under which key."""
    async with pair(keys, keys) as (listening, dialling):
        for node in (listening, dialling):
            await until(lambda node=node: len(node.listing(b"")) == 2, "both hold both")  # type: ignore[misc]  # bound at once
            shown = f"encrypted, key {KEY.fingerprint}, 1 of 1 peers on it" if keys else "open"
            assert str(node.links) == shown
            assert [p.key for p in node.peers()] == [KEY.fingerprint if keys else "open"]


# --- strangers ------------------------------------------------------------------------------------------


def issued(late_ms: int) -> tuple[bytes, bytes]:
    """A certificate of our authority by a clock that is late."""
    return OURS.issue(wall_ms() - late_ms, bytes(range(ENTROPY_BYTES)))


def foreign(name: str) -> tuple[bytes, bytes]:
    """A certificate signed by an authority of somebody else, who may give it any name."""
    key, now = Ed25519PrivateKey.generate(), datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dayfly node")]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(Ed25519PrivateKey.generate(), None)
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.public_bytes(Encoding.PEM), pem


def client(shown: tuple[bytes, bytes] | None, *, old: bool = False) -> ssl.SSLContext:
    """A stranger's TLS: trusts anybody, shows what it has. `old`: speaks TLS 1.2 and no later."""
    if shown is None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
    else:
        context = make_context(*shown, [OURS.certificate], dialled=True)
    context.verify_mode = ssl.CERT_NONE
    if old:
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@pytest.mark.parametrize(
    ("context", "here", "there"),
    [
        (lambda: client(issued(25 * HOUR_MS)), "has expired", "CERTIFICATE_EXPIRED"),
        (lambda: client(issued(-25 * HOUR_MS)), "not valid yet", "BAD_CERTIFICATE"),
        (lambda: client(foreign("somebody")), "not of our cluster key", "UNKNOWN_CA"),
        (lambda: client(foreign(f"dayfly key {KEY.fingerprint}")), "another cluster name", "DECRYPT_ERROR"),
        (lambda: client(None), "it showed no certificate", "CERTIFICATE_REQUIRED"),
        (lambda: client(issued(0), old=True), "does not speak TLS 1.3", "PROTOCOL_VERSION"),
    ],
    ids=["expired", "not yet valid", "foreign", "foreign under our name", "none", "TLS 1.2"],
)
async def test_a_stranger_who_dials_is_refused_and_told_by_an_alert(
    context: Callable[[], ssl.SSLContext], here: str, there: str
) -> None:
    """The node names the reason, the stranger's TLS hears it, and no byte of ours is said."""
    async with running(config(("key", KEY.line))) as node:
        transport = await trio.open_tcp_stream("127.0.0.1", node.cluster.port)
        stream = trio.SSLStream(transport, context(), https_compatible=True)
        with trio.fail_after(REFUSED_WITHIN_S), pytest.raises(trio.BrokenResourceError) as caught:
            raise AssertionError(await stream.receive_some())
        assert there in str(caught.value.__cause__)
        await until(lambda: here in errors(node), here)
        assert not node.cluster.links
        await trio.aclose_forcefully(stream)


@pytest.mark.parametrize(
    ("shown", "here", "there"),
    [
        (lambda: issued(25 * HOUR_MS), "has expired", "CERTIFICATE_EXPIRED"),
        (lambda: foreign("somebody"), "not of our cluster key", "UNKNOWN_CA"),
    ],
    ids=["expired", "foreign"],
)
async def test_a_stranger_who_is_dialled_is_refused_and_told_by_an_alert(
    shown: Callable[[], tuple[bytes, bytes]], here: str, there: str
) -> None:
    """A node that was sent to the wrong place says nothing of itself there."""
    context = make_context(*shown(), [OURS.certificate], dialled=False)
    heard = list[str]()

    async def answer(transport: trio.SocketStream) -> None:
        stream = trio.SSLStream(transport, context, server_side=True)
        with pytest.raises(trio.BrokenResourceError) as caught:
            raise AssertionError(await stream.receive_some())
        heard.append(str(caught.value.__cause__))
        await trio.aclose_forcefully(stream)

    async with dialling(answer) as node:
        await until(lambda: here in errors(node), here, REFUSED_WITHIN_S)
        await until(lambda: bool(heard), "the stranger heard of it")
        assert there in heard[0]
        assert not node.cluster.links


async def test_what_was_recorded_of_a_handshake_opens_nothing() -> None:
    """The same bytes a second time meet other random numbers."""
    async with running(config(("key", KEY.line))) as node:
        said = list[bytes]()
        channel = security(KEY, cluster=CLUSTER).channel(dialled=True)
        assert channel is not None
        stream = await trio.open_tcp_stream("127.0.0.1", node.cluster.port)
        arrived = b""
        while not channel.advance(arrived):
            said.append(channel.outgoing())
            await stream.send_all(said[-1])
            arrived = bytes(await stream.receive_some())
        said.append(channel.seal(encode(hello(node))))
        await stream.send_all(said[-1])
        assert await stream.receive_some()
        for _ in range(20):
            replayed = await trio.open_tcp_stream("127.0.0.1", node.cluster.port)
            heard = 0
            with trio.fail_after(REFUSED_WITHIN_S):
                await replayed.send_all(said[0])
                await replayed.receive_some()
                try:
                    await replayed.send_all(said[1])
                    while piece := await replayed.receive_some():
                        heard += len(piece)
                except trio.BrokenResourceError:
                    pass
            await replayed.aclose()
            assert heard < 100, "an alert and no more"
        assert not node.cluster.links
        await stream.aclose()


async def test_whoever_says_nothing_to_an_encrypted_node_is_closed_in_time() -> None:
    """TLS is under the handshake's one deadline, begun or not."""
    async with running(config(("key", KEY.line))) as node:
        silent = await ScriptedPeer.connect(node)
        begun = await ScriptedPeer.connect(node)
        await begun.stream.send_all(b"\x16\x03\x01\x02\x00")
        with trio.fail_after(HANDSHAKE_TIMEOUT_S + 2):
            assert await silent.hear() is None
            assert await begun.hear() is None


@pytest.mark.parametrize(
    "junk", [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"]
)
async def test_junk_at_an_encrypted_node_costs_the_connection_and_nothing_else(junk: bytes) -> None:
    """Nothing raises out of it, nobody is logged as a refused peer for it, it is counted."""
    with capture_logs() as logs:
        async with running(config(("key", KEY.line))) as node:
            peer = await ScriptedPeer.connect(node)
            await peer.stream.send_all(junk)
            with trio.fail_after(1):
                while await peer.stream.receive_some():
                    pass
            await until(lambda: node.cluster.statistics().handshakes_refused_total == 1, "it is counted")
            assert errors(node) == ""
    assert not [log for log in logs if log["event"] == "link refused"]


@pytest.mark.parametrize(
    ("answer", "here"),
    [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "it speaks HTTP"), (b"220 mail", "it does not speak TLS")],
    ids=["HTTP", "junk"],
)
async def test_a_wrong_address_is_named_where_people_look_and_not_in_the_log(
    answer: bytes, here: str
) -> None:
    """Who gave the address is told what is there; it may be dialled for days."""

    async def serve(transport: trio.SocketStream) -> None:
        await transport.receive_some()
        await transport.send_all(answer)
        await trio.aclose_forcefully(transport)

    with capture_logs() as logs:
        async with dialling(serve) as node:
            await until(lambda: here in errors(node), here, REFUSED_WITHIN_S)
    assert not [log for log in logs if log["event"] == "link refused"]


async def test_a_greeting_in_plain_is_answered_in_plain() -> None:
    """A node without a key can tell its user what to do."""
    async with running(config(("key", KEY.line))) as node:
        peer = await ScriptedPeer.connect(node)
        await peer.say(hello(node))
        bye = await peer.hear()
        assert isinstance(bye, Bye)
        assert bye.code == "encrypted"
        assert "key file" in bye.reason
        assert await peer.hear() is None
