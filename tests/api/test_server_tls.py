"""HTTPS: the same server behind a certificate, and nobody's handshake in anybody's way."""

import ssl
from pathlib import Path

import pytest
import trio

from api.server import HttpLimits
from api.tls import server_context
from tests.api.apps import PlainApp
from tests.api.rawhttp import (
    GET,
    HANDSHAKE,
    PATIENCE_S,
    Answer,
    Running,
    eventually,
    frame,
    open_files,
    post,
    running,
)
from tests.certificates import make_certificate


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate and its key."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


class TlsClient:
    """One TLS connection that says exactly the bytes it is told to."""

    def __init__(self, server: Running, files: tuple[Path, Path], alpn: list[str] | None = None) -> None:
        self._port = server.port
        self._context = ssl.create_default_context(cafile=files[0])
        if alpn:
            self._context.set_alpn_protocols(alpn)
        self.buffer = b""
        self.stream: trio.SSLStream[trio.SocketStream]

    async def __aenter__(self) -> "TlsClient":
        """Connect and shake hands."""
        self.stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", self._port, ssl_context=self._context)
        await self.stream.do_handshake()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hang up."""
        await trio.aclose_forcefully(self.stream)

    async def ask(self, request: bytes) -> Answer:
        """Send a request and receive its answer."""
        with trio.fail_after(PATIENCE_S):
            await self.stream.send_all(request)
            head = (await self.until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in head[1:] if line)}
            while len(self.buffer) < int(headers["content-length"]):
                self.buffer += await self.stream.receive_some()
            body, self.buffer = self.buffer, b""
            return Answer(int(head[0].split()[1]), headers, body)

    async def until(self, mark: bytes) -> bytes:
        """Receive up to and including `mark`, and take it."""
        while mark not in self.buffer:
            data = await self.stream.receive_some()
            assert data, self.buffer
            self.buffer += data
        taken, _, self.buffer = self.buffer.partition(mark)
        return taken + mark


async def test_requests_and_websockets_work_over_tls(files: tuple[Path, Path]) -> None:
    """One connection for several requests; bodies both ways; HTTP/1.1 whatever else the client offers."""
    app = PlainApp()
    async with running(app, tls=server_context(*files)) as server:
        async with TlsClient(server, files, ["h2", "http/1.1"]) as client:
            assert client.stream.selected_alpn_protocol() == "http/1.1"
            assert client.stream.version() == "TLSv1.3"
            assert [(await client.ask(GET)).body for _ in range(3)] == [b"hello"] * 3
            body = b"x" * 300_000
            assert (await client.ask(post(body))).body == body
        async with TlsClient(server, files) as client:
            await client.stream.send_all(HANDSHAKE)
            assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
            await client.stream.send_all(frame(b"hi"))
            assert await client.until(b"hi") == b"\x81\x02hi"
        await server.all_closed()
        assert server.statistics.connections_failed == 0


async def test_an_answer_is_followed_by_a_goodbye_and_survives_an_unread_body(
    files: tuple[Path, Path],
) -> None:
    """An early answer reaches a client that still sends, whole, and its end cannot be forged."""
    async with running(PlainApp(), tls=server_context(*files)) as server, TlsClient(server, files) as client:
        request = post(b"", "/early").replace(b"Content-Length: 0", b"Content-Length: 9000000")
        answer = await client.ask(request + b"x" * 200_000)
        assert (answer.status, answer.headers["connection"]) == (404, "close")
        with trio.fail_after(PATIENCE_S):
            await client.stream.send_all(b"x" * 200_000)  # still read, and dropped
            assert await client.stream.receive_some() == b""  # the goodbye; without one trio raises


async def test_a_silent_or_strange_client_is_cut_and_keeps_nobody_waiting(files: tuple[Path, Path]) -> None:
    """Fifty handshakes that never come and beside them a real client; then plain HTTP and noise."""
    limits = HttpLimits(handshake_timeout_s=1.5)
    async with running(PlainApp(), limits, tls=server_context(*files)) as server:
        before = open_files()
        silent = [await server.client() for _ in range(50)]
        async with TlsClient(server, files) as client:
            assert (await client.ask(GET)).status == 200
        assert server.statistics.connections_cut == 0  # it did not wait for any of them
        plain = await server.client()
        assert b"write https://" in (await plain.ask(GET)).body
        for noise in (b"\x16\x03\x01\xff\xff" + bytes(500), b"\0" * 600, b"\x16"):
            stranger = await server.client()
            await stranger.say(noise)
            assert b"HTTP" not in await stranger.rest()
        await eventually(lambda: server.statistics.connections_cut >= 50)
        assert server.statistics.handshakes_failed >= 3
        await server.all_closed()
        await server.close_clients()
        await eventually(lambda: open_files() <= before)
        assert len(silent) == 50


async def test_a_deaf_client_is_cut_over_tls_too(files: tuple[Path, Path]) -> None:
    """The deadline of a write holds for what is encrypted, and the application's loop ends or yields."""
    limits = HttpLimits(write_timeout_s=0.5, linger_timeout_s=0.2)
    async with running(PlainApp(), limits, tls=server_context(*files)) as server:
        async with TlsClient(server, files) as deaf:
            await deaf.stream.send_all(GET.replace(b" / ", b" /large "))
            await eventually(lambda: server.statistics.connections_cut == 1)
            await server.all_closed()
        async with TlsClient(server, files) as client:
            assert (await client.ask(GET)).status == 200


async def test_a_handler_that_is_given_up_is_answered_over_tls_too(files: tuple[Path, Path]) -> None:
    """The last word is written though the handler's task is cancelled already."""
    app = PlainApp()
    async with running(app, HttpLimits(graceful_timeout_s=0.3), tls=server_context(*files)) as server:

        async def stop() -> None:
            await eventually(lambda: app.waiting == 1)
            assert await server.stop() < 1.3

        async with TlsClient(server, files) as client, trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            assert (await client.ask(GET.replace(b" / ", b" /wait "))).status == 408


async def test_the_stop_does_not_wait_for_a_handshake(files: tuple[Path, Path]) -> None:
    """Neither for one that has not come nor for an idle connection."""
    limits = HttpLimits(graceful_timeout_s=0.5)
    async with running(PlainApp(), limits, tls=server_context(*files)) as server:
        await server.client()
        async with TlsClient(server, files) as client:
            await client.ask(GET)
            assert await server.stop() < 3


def test_old_versions_and_weak_ciphers_are_not_spoken(files: tuple[Path, Path]) -> None:
    """TLS 1.2 at least, and of its ciphers only those with forward secrecy and authentication."""
    context = server_context(*files)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    old = {c["name"] for c in context.get_ciphers() if c["protocol"] != "TLSv1.3"}
    assert old
    assert all(n.startswith("ECDHE-") and ("GCM" in n or "CHACHA20" in n) for n in old)


def test_files_that_cannot_be_used_are_refused_with_the_fix(files: tuple[Path, Path], tmp_path: Path) -> None:
    """The message names the file and the setting; nothing is asked on the terminal."""
    certificate, key = files
    _, other_key = make_certificate(tmp_path, "other")
    both, locked = tmp_path / "both.pem", tmp_path / "locked.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    locked.write_text(key.read_text().replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"))
    bare = tmp_path / "bare.pem"
    bare.write_bytes(key.read_bytes())
    for file, mode in ((both, 0o640), (locked, 0o600), (bare, 0o604)):
        file.chmod(mode)
    torn = tmp_path / "torn.pem"
    torn.write_bytes(certificate.read_bytes()[:200] + certificate.read_bytes()[-40:])
    server_context(both, None)
    for given, names, fix in [
        ((tmp_path / "none.pem", None), "none.pem cannot be read: No such file", "--http-cert"),
        ((key, key), f"{key} holds no certificate", "--http-cert"),
        ((certificate, None), f"{certificate} holds no private key", "--http-key beside it"),
        ((certificate, tmp_path), f"{tmp_path} cannot be read", "--http-key"),
        ((certificate, other_key), f"{other_key} is not that of", "--http-key"),
        ((certificate, locked), f"{locked} is encrypted", "openssl pkey"),
        ((certificate, bare), f"{bare} is open to all users", f"chmod o= {bare}"),
        ((torn, key), f"{torn} and its key", "are they whole?"),
    ]:
        with pytest.raises(ValueError) as caught:
            server_context(*given)
        assert names in str(caught.value)
        assert fix in str(caught.value)
