"""Hooks for runs of schemathesis (docs/api.md): what waits for something waits for milliseconds.

Loaded by schemathesis itself, never by our tests. It is no dependency, so its types are not known here.
"""

import importlib
import re
from typing import Any

ADAPTER: Any = importlib.import_module("requests.adapters").HTTPAdapter
HOOK: Any = importlib.import_module("schemathesis").hook

_NODES = re.compile(r"all|[0-9]{1,9}")
_DURATION = re.compile(r"[0-9.]{1,9}(ms|s|m|h|d)?")
_SHORT = "5ms"


def before_call(context: object, case: Any, kwargs: object) -> None:
    """Shorten every wait that the node would take; what it should refuse stays as it is."""
    query: dict[str, object] = dict(case.query or {})
    if case.method == "GET":
        if _is(_DURATION, query.get("wait")):
            case.query = {**query, "wait": _SHORT}
    elif _is(_NODES, query.get("wait")) and _is(_DURATION, query.get("timeout", _SHORT)):
        case.query = {**query, "timeout": _SHORT}


HOOK(before_call)


def _is(form: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and form.fullmatch(value) is not None


_send: Any = ADAPTER.send


def _send_and_leave(self: object, request: Any, **how: object) -> object:
    """Take the first piece of an answer that does not end, and hang up."""
    response = _send(self, request, **how)
    if request.path_url.startswith("/v1/stream") and request.method == "GET" and response.status_code == 200:
        response._content = next(response.raw.stream(65_536, decode_content=True), b"")
        response._content_consumed = True
        response.raw.close()
    return response


ADAPTER.send = _send_and_leave
