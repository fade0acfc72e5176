"""Who may do what: the one place where a request is let in or turned away before anything reads it. Pure.

In this order: its Host and Origin (api/origin.py), the credentials it carries, what those may do, and how
much its address has posted lately. Reading and writing are protected apart from each other. Whoever may
write may read. What carries wrong credentials is turned away even where none are needed, so that a
mistyped password shows at once; health checks stay open to all.

Secrets are held and compared as SHA-256: all of one length, so that the time a comparison takes tells
nothing, not even how long a secret is.
"""

import binascii
import hmac
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import Final

import structlog

from api.counts import ServerStatistics
from api.errors import Problem
from api.origin import SAFE_METHODS, check_host_and_origin
from api.parse import count_lines
from api.rates import AddressRates, is_own_machine

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz", "/status"})
"""Never protected: what asks them, an orchestrator or a load balancer, has no credentials, and they tell
nothing but that the node lives."""

READING_POSTS: Final = frozenset({"/listAllRecentData"})
"""Routes that only read, though they take POST: the original's."""

POSTS_PER_S: Final = 5_000.0
"""Records a second from one address, by default, and from this machine without end. Our choice: about half
of what one core takes in, so that no single client can have all of it; a client on the same machine can
take the core itself, and may be a proxy that speaks for many."""

GUESSES_BURST, GUESSES_PER_S = 10, 0.2
"""Wrong credentials from one address before it has to wait, and how many a second it is given back: 17,000
a day, where a secret of 8 random letters has 2 * 10^11. More than anybody mistypes in a row."""

TOLD_EVERY_S: Final = 60.0
"""Wrong credentials are logged, but at most once in this time: a guesser does not fill the log."""

BATCH_ROUTE: Final = "/v1/records"
"""The one route where a body may be many records; everywhere else it is one, whatever its type says."""

Headers = Sequence[tuple[bytes, bytes]]

_NDJSON: Final = b"application/x-ndjson"

_log: structlog.stdlib.BoundLogger = structlog.get_logger("api.access")


def is_writing(method: str, path: str) -> bool:
    """Tell whether a request changes something if it is let in. `method`: upper case."""
    return method not in SAFE_METHODS and path not in READING_POSTS


class Right(IntEnum):
    """What credentials are good for; each includes those before it."""

    NONE = 0
    READ = 1
    WRITE = 2


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who may write, and who may read. Secrets are SHA-256 digests; None is nobody.

    Writing is protected if there is a password or a write token, reading if there is a read token.
    """

    user: str = ""
    password: bytes | None = None
    write_token: bytes | None = None
    read_token: bytes | None = None

    @property
    def protect_writing(self) -> bool:
        """Whether only some may write."""
        return self.password is not None or self.write_token is not None

    @property
    def protect_reading(self) -> bool:
        """Whether only some may read."""
        return self.read_token is not None

    @property
    def challenge(self) -> str:
        """What a client is told to send: the value of WWW-Authenticate (RFC 9110 section 11.6.1)."""
        bearer = self.write_token is not None or self.read_token is not None
        return ", ".join(['Basic realm="dayfly", charset="UTF-8"'] + ['Bearer realm="dayfly"'] * bearer)

    def right_of(self, authorization: bytes) -> Right | None:
        """Say what the value of an Authorization header is good for; None if it is wrong.

        A token may also come as the password of Basic auth without a user's name: browsers and `curl -u`
        know no other way. Everything is compared, whatever came first, so that time tells nothing.
        """
        scheme, _, given = authorization.strip().partition(b" ")
        user, password, token = b"", b"", b""
        if scheme.lower() == b"bearer":
            token = given.strip()
        elif scheme.lower() == b"basic":
            user, password = _split_basic(given.strip())
            token = b"" if user else password
        is_user = _same(user, sha256(self.user.encode()).digest()) & _same(password, self.password)
        may_write = is_user | _same(token, self.write_token)
        may_read = _same(token, self.read_token)
        return Right.WRITE if may_write else Right.READ if may_read else None


class Access:
    """The rules of one server, and what each address has spent under them.

    Args:
        hosts_allowed: host names answered besides addresses and localhost, lower case, without port.
        credentials: who may write and read.
        posts_per_s: records a second from one address; None for `POSTS_PER_S`, but none from this machine.
        statistics: where to count who is turned away; None for nowhere.
    """

    def __init__(
        self,
        hosts_allowed: frozenset[str] = frozenset(),
        credentials: Credentials | None = None,
        posts_per_s: float | None = math.inf,
        statistics: ServerStatistics | None = None,
    ) -> None:
        self.credentials = credentials or Credentials()
        self._hosts_allowed = hosts_allowed
        self._spares_own_machine = posts_per_s is None
        rate = POSTS_PER_S if posts_per_s is None else posts_per_s
        self._posts = None if math.isinf(rate) else AddressRates(rate, rate)
        self._guesses = AddressRates(GUESSES_PER_S, GUESSES_BURST)
        self._statistics = statistics or ServerStatistics()
        self._told_s = -math.inf

    def check(
        self, headers: Headers, method: str, path: str, address: str, now_s: float, *, is_websocket: bool
    ) -> Problem | None:
        """Judge a request by its head.

        Args:
            headers: pairs of name (lower case) and value. method: upper case. path: without query, decoded.
            address: the client's. now_s: monotonic seconds.

        Returns:
            None if it may pass, else the Problem to answer it with.
        """
        problem = check_host_and_origin(headers, method, is_websocket, self._hosts_allowed)
        if problem is not None or path in OPEN_PATHS:
            return problem
        writes = not is_websocket and is_writing(method, path)
        problem = self._check_credentials(headers, writes, address, now_s)
        if problem is None and writes:
            problem = self._check_rate(address, now_s)
        return problem

    def take_post(self, address: str, path: str, content_type: bytes, body: bytes, now_s: float) -> None:
        """Count the records of a post that is about to be answered, good or bad.

        A batch counts as at most `BATCH_LINES_MAX` + 1: the longest debt that one request can make.

        Raises:
            Problem: others of this address came first and left no room.
        """
        if self._rates_of(address) is None:
            return
        is_batch = path == BATCH_ROUTE and content_type.partition(b";")[0].strip().lower() == _NDJSON
        self.take_posts(address, count_lines(body) if is_batch else 1, now_s)

    def take_posts(self, address: str, records: int, now_s: float) -> None:
        """Count so many records that are about to be posted. Raises Problem as `take_post`."""
        rates = self._rates_of(address)
        if rates is None:
            return
        problem = self._check_rate(address, now_s)
        if problem is not None:
            raise problem
        rates.take(address, records, now_s)

    def may_post(self, headers: Headers) -> bool:
        """Whether a WebSocket that was let in with these headers may post: `check` asks them for reading."""
        if not self.credentials.protect_writing:
            return True
        given = [value for name, value in headers if name == b"authorization"]
        return len(given) == 1 and self.credentials.right_of(given[0]) is Right.WRITE

    def publishes(self, headers: Headers) -> bool:
        """Whether a WebSocket that posts or listens, never both, is to post: whose credentials may only read
        listens. Where none are set, any mean to post."""
        if self.credentials.protect_writing:
            return self.may_post(headers)
        return not self.credentials.protect_reading and any(name == b"authorization" for name, _ in headers)

    def _check_credentials(
        self, headers: Headers, writes: bool, address: str, now_s: float
    ) -> Problem | None:
        known = self.credentials
        if not (known.protect_writing or known.protect_reading):
            return None
        needed = Right.NONE
        if known.protect_writing if writes else known.protect_reading:
            needed = Right.WRITE if writes else Right.READ
        given = [value for name, value in headers if name == b"authorization"]
        if not given:
            return (
                None
                if needed is Right.NONE
                else self._unauthorized(
                    f"{'posting' if writes else 'reading'} here needs a user and password, or a bearer token"
                )
            )
        wait_s = self._guesses.wait_s(address, now_s)
        if wait_s > 0:
            self._statistics.requests_unauthorized += 1
            return _too_many("too many wrong credentials came from this address", wait_s)
        right = known.right_of(given[0]) if len(given) == 1 else None
        if right is None:
            self._guesses.take(address, 1, now_s)
            self._tell(address, now_s)
            return self._unauthorized("these credentials are wrong")
        if right < needed:
            return Problem("forbidden", "these credentials are good for reading only")
        return None

    def _rates_of(self, address: str) -> AddressRates | None:
        """Return the table in which an address's posts are counted; None if they are not."""
        return None if self._spares_own_machine and is_own_machine(address) else self._posts

    def _check_rate(self, address: str, now_s: float) -> Problem | None:
        rates = self._rates_of(address)
        if rates is None:
            return None
        wait_s = rates.wait_s(address, now_s)
        if wait_s <= 0:
            return None
        self._statistics.posts_limited += 1
        return _too_many("more was posted from this address than the node takes", wait_s)

    def _unauthorized(self, detail: str) -> Problem:
        self._statistics.requests_unauthorized += 1
        return Problem("auth-required", detail, {"www-authenticate": self.credentials.challenge})

    def _tell(self, address: str, now_s: float) -> None:
        if now_s - self._told_s >= TOLD_EVERY_S:
            self._told_s = now_s
            refused = self._statistics.requests_unauthorized + 1
            _log.warning("wrong credentials from a client", address=address, requests_unauthorized=refused)


def _too_many(detail: str, wait_s: float) -> Problem:
    return Problem("too-many", detail, {"retry-after": str(math.ceil(wait_s))})


def _split_basic(given: bytes) -> tuple[bytes, bytes]:
    """Split what follows `Basic` into user and password; both empty if it is malformed (RFC 7617)."""
    try:
        user, _, password = binascii.a2b_base64(given, strict_mode=True).partition(b":")
    except binascii.Error:
        return b"", b""
    return user, password


def _same(given: bytes, digest: bytes | None) -> bool:
    return digest is not None and hmac.compare_digest(sha256(given).digest(), digest)
