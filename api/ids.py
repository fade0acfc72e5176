"""An id in a path: anything, slashes included, as the client percent-encoded it."""

from urllib.parse import unquote_to_bytes

from quart import request
from werkzeug.routing import BaseConverter

from api.errors import Problem
from api.operation import Parameter
from validator import ID_BYTES_MAX

ID = Parameter(
    "id",
    "path",
    f"The record's id: up to {ID_BYTES_MAX} bytes of UTF-8 without control characters, percent-encoded.",
    {"type": "string", "minLength": 1, "maxLength": ID_BYTES_MAX},
)


class AnyIdConverter(BaseConverter):
    """Takes the rest of the path."""

    regex = r"[\s\S]+"  # line breaks too, so that it is the id's own check that refuses them
    part_isolating = False


def check_id_encoding(id: str) -> None:
    """Refuse an id whose percent-encoding is no UTF-8; the server would have put U+FFFD in its place."""
    if "\ufffd" in id:
        raw_path: bytes = request.scope["raw_path"]
        try:
            unquote_to_bytes(raw_path).decode()
        except UnicodeDecodeError:
            raise Problem("bad-id", "the id in the path is not percent-encoded UTF-8") from None
