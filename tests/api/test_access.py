"""api.access: who may read, who may write, and what guessing and flooding get."""

import base64
from hashlib import sha256
from math import inf

import pytest
import structlog.testing

from api.access import GUESSES_BURST, GUESSES_PER_S, POSTS_PER_S, Access, Credentials, Right
from api.counts import ServerStatistics
from api.errors import Problem
from api.parse import BATCH_LINES_MAX


def digest(text: str) -> bytes:
    """Return a secret as it is held."""
    return sha256(text.encode()).digest()


def basic(pair: str) -> str:
    """Write Basic credentials."""
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


FULL = Credentials("ann", digest("p:w"), digest("pen"), digest("eye"))
WRITERS = Credentials(write_token=digest("pen"))
READERS = Credentials(read_token=digest("eye"))


def code(
    access: Access,
    method: str,
    path: str,
    given: str | None = None,
    now_s: float = 0.0,
    address: str = "10.0.0.9",
    is_websocket: bool = False,
) -> str | None:
    """Judge one request; return the problem's code."""
    headers = [(b"host", b"127.0.0.1")]
    if given is not None:
        headers.append((b"authorization", given.encode("latin-1")))
    problem = access.check(headers, method, path, address, now_s, is_websocket=is_websocket)
    return problem.code if problem else None


@pytest.mark.parametrize(
    ("given", "right"),
    [
        (basic("ann:p:w"), Right.WRITE),
        ("Bearer pen", Right.WRITE),
        ("bearer  pen ", Right.WRITE),
        (basic(":pen"), Right.WRITE),
        ("Bearer eye", Right.READ),
        (basic(":eye"), Right.READ),
        (basic("ann:pen"), None),
        (basic("ann:p"), None),
        (basic("ann:"), None),
        (basic("ann"), None),
        (basic("Ann:p:w"), None),
        (basic(":p:w"), None),
        (basic(":"), None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Bearer Pen", None),
        ("Bearer pen pen", None),
        ("Basic pen", None),
        ("Basic \xe2\x98", None),
        ("Basic =", None),
        ("Digest pen", None),
        ("pen", None),
        ("", None),
    ],
)
def test_credentials_are_good_for_what_was_set_and_nothing_else(given: str, right: Right | None) -> None:
    """User and password, a token as a bearer or as the password of nobody; all else is wrong."""
    assert FULL.right_of(given.encode("latin-1")) == right


@pytest.mark.parametrize("given", ["Bearer ", basic(":"), basic("ann:"), basic("ann:p")])
def test_what_is_not_set_cannot_be_guessed(given: str) -> None:
    """Without a password or token nothing is equal to it, least of all nothing."""
    assert Credentials().right_of(given.encode()) is None


READS = [
    ("GET", "/v1/records"),
    ("HEAD", "/v1/records/x"),
    ("GET", "/listAllRecentData"),
    ("POST", "/listAllRecentData"),
    ("GET", "/v1/node"),
    ("GET", "/v1/peers"),
    ("OPTIONS", "/v1/node"),
    ("GET", "/nowhere"),
]
WRITES = [
    ("POST", "/v1/records"),
    ("PUT", "/v1/records/x"),
    ("POST", "/postNewData"),
    ("DELETE", "/v1/records/x"),
    ("POST", "/nowhere"),
    ("POST", "/listAllRecentData/"),
]


@pytest.mark.parametrize(("method", "path"), READS)
def test_reading_is_open_until_it_is_protected_by_itself(method: str, path: str) -> None:
    """A write token leaves reading as it was; a read token asks every reader, and who may write may read."""
    assert code(Access(), method, path) is None
    assert code(Access(credentials=WRITERS), method, path) is None
    for credentials in (READERS, FULL):
        assert code(Access(credentials=credentials), method, path) == "auth-required"
        assert code(Access(credentials=credentials), method, path, "Bearer eye") is None
    assert code(Access(credentials=FULL), method, path, "Bearer pen") is None


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_writing_is_open_until_it_is_protected_by_itself(method: str, path: str) -> None:
    """A read token alone leaves posting as it was, and is not enough where posting is protected."""
    assert code(Access(), method, path) is None
    assert code(Access(credentials=READERS), method, path) is None
    for credentials in (WRITERS, FULL):
        assert code(Access(credentials=credentials), method, path) == "auth-required"
        assert code(Access(credentials=credentials), method, path, "Bearer pen") is None
    assert code(Access(credentials=FULL), method, path, basic("ann:p:w")) is None
    assert code(Access(credentials=FULL), method, path, "Bearer eye") == "forbidden"


def test_a_websocket_is_a_reader_and_its_wrong_credentials_count() -> None:
    """Its handshake is a GET; where reading is open, only wrong credentials are refused."""
    assert code(Access(credentials=READERS), "GET", "/websocket", is_websocket=True) == "auth-required"
    assert code(Access(credentials=WRITERS), "GET", "/websocket", is_websocket=True) is None
    assert code(Access(credentials=WRITERS), "GET", "/websocket", "Bearer x", is_websocket=True) == (
        "auth-required"
    )


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/status"])
def test_health_stays_open_even_to_wrong_credentials(path: str) -> None:
    """What asks it has none, or sends what its proxy makes up."""
    access = Access(credentials=FULL)
    assert [code(access, "GET", path, given) for given in [None, *["Bearer x"] * 99]] == [None] * 100


def test_credentials_where_none_are_set_are_nobodys_business() -> None:
    """A proxy may add its own; a node that asks for nothing refuses nothing."""
    assert code(Access(), "POST", "/v1/records", "Bearer x") is None


def test_two_credentials_in_one_request_are_wrong() -> None:
    """Of two headers a proxy may have checked the other one."""
    headers = [(b"host", b"127.0.0.1"), *[(b"authorization", b"Bearer pen")] * 2]
    problem = Access(credentials=FULL).check(headers, "GET", "/", "10.0.0.9", 0.0, is_websocket=False)
    assert problem is not None
    assert problem.code == "auth-required"


def test_the_challenge_names_the_ways_in() -> None:
    """RFC 9110 section 11.6.1: browsers ask for a password by it."""
    assert FULL.challenge == 'Basic realm="dayfly", charset="UTF-8", Bearer realm="dayfly"'
    assert Credentials("a", digest("b")).challenge == 'Basic realm="dayfly", charset="UTF-8"'


def test_guesses_run_out_for_their_address_only_and_come_back() -> None:
    """After a burst of wrong credentials even right ones wait, or the limit would tell them apart."""
    statistics = ServerStatistics()
    access = Access(credentials=FULL, statistics=statistics)
    assert code(access, "GET", "/v1/node") == "auth-required"  # no guess: it brought nothing
    for _ in range(GUESSES_BURST):
        assert code(access, "GET", "/v1/node", "Bearer guess") == "auth-required"
    assert code(access, "GET", "/v1/node", "Bearer guess") == "too-many"
    assert code(access, "GET", "/v1/node", "Bearer eye") == "too-many"
    assert code(access, "GET", "/v1/node", "Bearer eye", address="10.0.0.8") is None
    assert code(access, "GET", "/v1/node", "Bearer eye", now_s=1 / GUESSES_PER_S) is None
    assert statistics.requests_unauthorized == GUESSES_BURST + 3


def test_a_guesser_writes_one_line_a_minute_into_the_log() -> None:
    """With its address, and without what it guessed."""
    access = Access(credentials=FULL)
    with structlog.testing.capture_logs() as logs:
        for number in range(200):
            code(access, "GET", "/v1/node", "Bearer guess", now_s=number * 0.5)
    assert [(log["event"], log["address"]) for log in logs] == [
        ("wrong credentials from a client", "10.0.0.9"),
        ("wrong credentials from a client", "10.0.0.9"),
    ]
    assert "guess" not in str(logs)


def take(
    access: Access,
    count: int,
    address: str,
    content_type: bytes = b"text/plain",
    path: str = "/v1/records",
) -> str | None:
    """Post `count` times a body of three lines; return the first refusal's code and wait."""
    for _ in range(count):
        try:
            access.take_post(address, path, content_type, b"1\n2\n3", 0.0)
        except Problem as problem:
            return f"{problem.code} {problem.headers['retry-after']}"
    return None


def test_the_line_end_of_a_batch_is_no_record() -> None:
    """A batch of one line, ended as NDJSON is, costs what a post of one record does."""
    access = Access(posts_per_s=6)
    for _ in range(6):
        access.take_post("10.0.0.1", "/v1/records", b"application/x-ndjson", b'{"raw":"hi"}\n', 0.0)
    assert take(access, 1, "10.0.0.1") == "too-many 1"


@pytest.mark.parametrize(
    ("body", "records"),
    [
        (b"", 0),
        (b"\n" * 8_000_000, 1),  # what stands behind the last line that is looked at is not looked at
        (b"\r\n" * 100, 0),
        (b"1\n\n2\n\n", 2),
        (b"1\n" * (BATCH_LINES_MAX - 1), BATCH_LINES_MAX - 1),
        (b"1\n" * BATCH_LINES_MAX, BATCH_LINES_MAX),
        (b"1\n" * BATCH_LINES_MAX + b"1", BATCH_LINES_MAX + 1),
        (b"1\n" * 4_000_000, BATCH_LINES_MAX + 1),
    ],
    ids=["none", "ends", "crlf", "gaps", "below", "full", "beyond", "far"],
)
def test_a_batch_is_charged_what_can_become_records(body: bytes, records: int) -> None:
    """Not its empty lines, and of those that are too many one: no request makes a longer debt."""
    access = Access(posts_per_s=1)
    access.take_post("10.0.0.1", "/v1/records", b"application/x-ndjson", body, 0.0)
    wait_s = int((take(access, 1, "10.0.0.1") or "too-many 0").split()[1])
    assert wait_s == records


@pytest.mark.parametrize("path", ["/postNewData", "/v1/records/id"])
def test_a_body_is_one_record_where_there_are_no_batches(path: str) -> None:
    """Whatever type it says it has."""
    access = Access(posts_per_s=6)
    assert take(access, 6, "10.0.0.1", b"application/x-ndjson", path) is None
    assert take(access, 1, "10.0.0.1", b"application/x-ndjson", path) == "too-many 1"


def test_posts_are_counted_by_record_and_address() -> None:
    """A batch by its lines, anything else as one; at the rate all pass, one more is told when to come."""
    statistics = ServerStatistics()
    access = Access(posts_per_s=6, statistics=statistics)
    assert take(access, 6, "10.0.0.1") is None
    assert take(access, 1, "10.0.0.1") == "too-many 1"
    assert code(access, "POST", "/v1/records", address="10.0.0.1") == "too-many"
    assert code(access, "GET", "/v1/records", address="10.0.0.1") is None
    assert take(access, 2, "10.0.0.2", b"Application/X-NDJSON; charset=utf-8") is None
    assert take(access, 1, "10.0.0.2", b"application/x-ndjson") == "too-many 1"
    assert statistics.posts_limited == 3


def test_by_default_only_other_machines_are_limited() -> None:
    """A client here can take the core itself; a number that was set counts for all."""
    access = Access(posts_per_s=None)
    assert take(access, int(POSTS_PER_S) + 1, "127.0.0.1") is None
    assert take(access, int(POSTS_PER_S), "10.0.0.1") is None
    assert take(access, 1, "10.0.0.1") == "too-many 1"
    assert take(Access(posts_per_s=1), 2, "127.0.0.1") == "too-many 1"
    assert take(Access(posts_per_s=inf), 10_000, "10.0.0.1") is None
