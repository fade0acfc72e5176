"""Floor 4: HTTP and WebSocket for clients.

`server` keeps connections from hurting the node and `access` says who may do what; `app` puts the
blueprints together: `seed` (the two original routes), `records` (`/v1/records`), `stream` and `sockets`
(what happens, live, by `feeds`), `ops` (health, node, peers) and `metrics`; `reference` describes them all,
by what each declares (`operation`, `openapi`). The busiest routes answer with a `Reply`, so that
`fastpath` can ask them too. Refusals are `Problem`s of one table, `errors`. Bytes become
values in `parse` and `cursor`, values become JSON in `views` and `forms`.

May import node, eventbus and validator. It decides nothing about records: the node's desk does.
"""

from api.access import Access, Credentials
from api.app import create_app, fast_routes
from api.counts import ServerStatistics
from api.feeds import FeedLimits, Feeds
from api.limits import HttpLimits
from api.server import fit_to_files, serve
from api.tls import server_context

__all__ = [
    "Access",
    "Credentials",
    "FeedLimits",
    "Feeds",
    "HttpLimits",
    "ServerStatistics",
    "create_app",
    "fast_routes",
    "fit_to_files",
    "serve",
    "server_context",
]
