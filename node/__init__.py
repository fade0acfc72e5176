"""Floor 3: one node. The desk where records are admitted, the wiring of all lower floors, the lifetime.

`Node` owns the store, the bus and the cluster and is the only reader of the wall clock. `Admission` is
the rule of the desk. `Config` is one table of settings. Above them, imported by nobody, is the roof:
`cli` and `__main__` build everything, `demo` runs several nodes.

It does not speak HTTP (api) and does not decide how records travel (cluster).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.exports import *  # noqa: F403 - so that the names stand in one place
else:

    def __getattr__(name: str) -> object:
        """Load the exports when one is asked for: most commands need only some light modules of the room."""
        if not name[:1].isupper():  # a module that is not loaded yet, or a name of Python's own
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import node.exports

        return getattr(node.exports, name)
