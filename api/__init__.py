"""Floor 4: HTTP and WebSocket for clients.

`server` keeps connections from hurting the node; `app` puts the blueprints together: `seed` (the two
original routes), `records` (`/v1/records`), `stream` and `sockets` (what happens, live, by `feeds`) and `ops`
(health, node, peers). The busiest routes answer with a `Reply`, so that `fastpath` can ask them too.
Refusals are `Problem`s of one table, `errors`. Bytes become values in `parse` and
`cursor`, values become JSON in `views` and `forms`.

May import node, eventbus and validator. It decides nothing about records: the node's desk does.
"""

from api.app import create_app, fast_routes
from api.feeds import FeedLimits, Feeds
from api.guard import ServerStatistics
from api.limits import HttpLimits
from api.server import fit_to_files, serve

__all__ = [
    "FeedLimits",
    "Feeds",
    "HttpLimits",
    "ServerStatistics",
    "create_app",
    "fast_routes",
    "fit_to_files",
    "serve",
]
