"""Floor 3: one node. The desk where records are admitted, the wiring of all lower floors, the lifetime.

`Node` owns the store, the bus and the cluster and is the only reader of the wall clock. `Admission` is
the rule of the desk. `Config` is one table of settings. Above them, imported by nobody, is the roof:
`cli` and `__main__` build everything, `demo` runs several nodes.

It does not speak HTTP (api) and does not decide how records travel (cluster).
"""
