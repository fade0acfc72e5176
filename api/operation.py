"""What a route says about itself, beside the route: the one source of `/openapi.json` and `/docs`. Pure.

A view carries its `Operation`; its docstring is the text. Types in it are those that parse and answer, so the
document follows when they change (api/openapi.py makes it). A test compares routes and document.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeVar

from api.errors import STATUS_BY_CODE

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
PLAIN: Final = "text/plain"

Shape = Any
"""A type whose JSON Schema msgspec knows, or a dict that is a schema already."""

TEXT: Final[Shape] = {"type": "string"}

ANYWHERE: Final = (
    *("bad-request", "bad-host", "head-too-large", "bad-version", "not-implemented"),
    *("method", "timeout", "too-large", "busy", "internal"),
)
"""Codes that any request may get: of its head, its body, the server's bounds, and bugs."""

ACCESS: Final = ("auth-required", "forbidden", "too-many")
"""Codes that routes may give which are not open to all."""

RECORD: Final = (
    *("bad-id", "bad-signature", "bad-time", "empty-field", "expired", "unsigned"),
    *("id-conflict", "store-full", "not-durable"),
)
"""Codes for a record that is refused."""

V = TypeVar("V", bound=Callable[..., Any])


class Parameter(NamedTuple):
    """A parameter. `schema`: JSON Schema of its text."""

    name: str
    place: Literal["query", "path", "header"]
    text: str
    schema: Mapping[str, object]


class Answer(NamedTuple):
    """An answer that is no refusal. `content`: shape by media type. `headers`: text by name."""

    status: int
    text: str
    content: Mapping[str, Shape] = {}
    headers: Mapping[str, str] = {}


SAME: Final = Answer(304, "It is the one that the client has (If-None-Match).")


class Operation(NamedTuple):
    """What one route takes and gives.

    Attributes:
        answers: all that are no refusals.
        problems: codes besides `ANYWHERE` and, where access is checked, `ACCESS`.
        parameters: all it looks at. body: shape by media type; empty if it takes none.
        says, hears: of a WebSocket: shapes of the messages that a client sends, and receives.
        refusal: shape of refusals that the route words its own way; None for problem+json.
    """

    answers: tuple[Answer, ...]
    problems: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body: Mapping[str, Shape] = {}
    says: tuple[Shape, ...] = ()
    hears: tuple[Shape, ...] = ()
    refusal: Shape = None


_KEY: Final = "dayfly_operation"


def operation(declared: Operation) -> Callable[[V], V]:
    """Declare what the decorated view takes and gives.

    Raises:
        KeyError: it names a problem code that is not in the table (a bug, seen at the start).
    """
    for code in declared.problems:
        STATUS_BY_CODE[code]

    def declare(view: V) -> V:
        vars(view)[_KEY] = declared
        return view

    return declare


def operation_of(view: Callable[..., Any]) -> Operation | None:
    """Return what a view has declared."""
    declared: Operation | None = vars(view).get(_KEY)
    return declared
