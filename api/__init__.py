"""Floor 4: HTTP and WebSocket for clients.

`server` keeps connections from hurting the node; `app` puts the blueprints together: `seed` (the two
original routes), `records` (`/v1/records`) and `ops` (health, node, peers). The busiest routes answer with
a `Reply`, so that `fastpath` can ask them too. Refusals are `Problem`s of one table, `errors`. Bytes become
values in `parse` and `cursor`, values become JSON in `views`.

May import node, eventbus and validator. It decides nothing about records: the node's desk does.
"""

from api.app import create_app, fast_routes
from api.guard import ServerStatistics
from api.limits import HttpLimits
from api.server import fit_to_files, serve

__all__ = ["HttpLimits", "ServerStatistics", "create_app", "fast_routes", "fit_to_files", "serve"]
