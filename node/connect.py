"""How the commands reach a node: its address, what they show to be let in, whose certificates they trust."""

import base64
import http.client
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from node.values import secret_text

NODE_DEFAULT = "http://127.0.0.1:8080"
TIMEOUT_S = 75.0
"""How long a node may take for its next bytes: a post may wait for 60 s."""


class BadOption(ValueError):
    """What was given on the command line cannot be used; says what would be right, and shows no secret."""


@dataclass(frozen=True, slots=True, repr=False)
class NodeAddress:
    """A node as a command was told of it. Not shown whole: it holds a secret.

    Attributes:
        node: URL. user: `name:password`. token: a bearer token; each of these two empty, or `file:PATH` in
            place of the secret. ca: PEM file of whose certificates to trust; None for the system's.
    """

    node: str
    user: str
    token: str
    ca: Path | None

    def connection(self) -> http.client.HTTPConnection:
        """Make a connection, not open yet. Raises BadOption."""
        try:
            url = urlsplit(self.node if "://" in self.node else f"http://{self.node}")
        except ValueError:  # a bracket that does not close
            url = urlsplit("")
        try:
            host, port = url.hostname, url.port
            (host or "").encode("idna")  # as it will be looked up
        except ValueError:
            host, port = None, None
        if "@" in url.netloc:  # not shown: it may hold a password
            raise BadOption("--node is an address without a user; give user and password by --user")
        if url.scheme not in ("http", "https") or not host or url.path not in ("", "/"):
            raise BadOption(f"--node {self.node!r} is not an address such as {NODE_DEFAULT}")
        if url.scheme == "http":
            return http.client.HTTPConnection(host, port or 80, timeout=TIMEOUT_S)
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except (OSError, ssl.SSLError) as error:
            why = error.strerror or error
            raise BadOption(f"--ca {str(self.ca)!r} is no readable PEM file of certificates: {why}") from None
        return http.client.HTTPSConnection(host, port or 443, timeout=TIMEOUT_S, context=context)

    def credentials(self) -> dict[str, str]:
        """Return the headers that let us in; none if we were given nothing to show. Raises BadOption."""
        if self.user and self.token:
            raise BadOption("give --user or --token, not both")
        if self.user:
            name, colon, password = self.user.partition(":")
            if not colon:
                raise BadOption("--user is NAME:PASSWORD or NAME:file:PATH")
            pair = f"{name}:{_secret('--user', password)}"
            return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        return {"authorization": f"Bearer {_secret('--token', self.token)}"} if self.token else {}


def _secret(option: str, text: str) -> str:
    """Return a secret as a node reads it: a file may be named in its place. Raises BadOption."""
    try:
        return secret_text(text)
    except ValueError as error:
        raise BadOption(f"{option}: {error}") from None


def node_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which node, and hand them on as one argument `node`."""

    @click.option(
        "--node",
        default=NODE_DEFAULT,
        envvar="DAYFLY_NODE",
        metavar="URL",
        help=f"HTTP address of any node, or of several: URL,URL.  [DAYFLY_NODE; default: {NODE_DEFAULT}]",
    )
    @click.option(
        "--user",
        default="",
        envvar="DAYFLY_USER",
        metavar="NAME:PASSWORD",
        help="For a node with --auth-user; NAME:file:PATH reads the password from a file.  [DAYFLY_USER]",
    )
    @click.option(
        "--token",
        default="",
        envvar="DAYFLY_TOKEN",
        metavar="SECRET",
        help="For a node with --write-token or --read-token; or file:PATH.  [DAYFLY_TOKEN]",
    )
    @click.option(
        "--ca",
        type=click.Path(path_type=Path),
        envvar="DAYFLY_CA",
        metavar="FILE",
        help="Trust the certificates in this PEM file, not the system's.  [DAYFLY_CA]",
    )
    @wraps(command)
    def with_node(node: str, user: str, token: str, ca: Path | None, **options: Any) -> None:
        command(node=NodeAddress(node, user, token, ca), **options)

    return with_node
