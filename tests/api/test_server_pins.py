"""The server's subclasses fit the very release of their bases that they were written for."""

import inspect
from importlib.metadata import version

import pytest
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from quart_trio.asgi import TrioASGIHTTPConnection

from api.body import LeanHTTP
from api.connection import GuardedConnection
from api.exchange import GuardedHTTPStream, GuardedWSStream
from api.inbox import ConnectionTasks
from api.protocol import GuardedH11


@pytest.mark.parametrize(
    ("name", "release"), [("hypercorn", "0.18.0"), ("quart", "0.22."), ("quart-trio", "0.12.")]
)
def test_the_bases_are_the_pinned_releases(name: str, release: str) -> None:
    """Another release means reading its source again before this list is changed."""
    assert version(name).startswith(release)


@pytest.mark.parametrize(
    ("base", "subclass", "names"),
    [
        (TCPServer, GuardedConnection, ["run", "protocol_send", "_read_data"]),
        (
            H11Protocol,
            GuardedH11,
            ["_handle_events", "_create_stream", "_check_protocol", "stream_send"],
        ),
        (HTTPStream, GuardedHTTPStream, ["app_send"]),
        (WSStream, GuardedWSStream, ["app_send", "handle", "_send_pings"]),
        (TaskGroup, ConnectionTasks, ["spawn_app"]),
        (TrioASGIHTTPConnection, LeanHTTP, ["__call__", "_send_response"]),
    ],
)
def test_every_override_replaces_something(base: type, subclass: type, names: list[str]) -> None:
    """A method that was renamed upstream would be overridden in vain, without a word."""
    for name in names:
        assert name in vars(subclass)
        theirs, ours = getattr(base, name), getattr(subclass, name)
        assert list(inspect.signature(theirs).parameters) == list(inspect.signature(ours).parameters)


@pytest.mark.parametrize(
    ("base", "names"),
    [
        (H11Protocol, ["_close_stream", "_maybe_recycle", "_send_error_response", "_send_h11_event"]),
        (WSStream, ["_send_error_response", "_send_wsproto_event"]),
        (TrioASGIHTTPConnection, ["_create_request_from_scope"]),
    ],
)
def test_what_the_subclasses_call_still_exists(base: type, names: list[str]) -> None:
    """Private methods of the bases that the subclasses rely on."""
    for name in names:
        assert callable(getattr(base, name))
