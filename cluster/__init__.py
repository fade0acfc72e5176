"""Floor 2: gossip. How a record reaches every other node, and how nodes find and keep each other.

The engine decides, drivers act. Pure, with time and randomness passed in: `messages` and `codec` (what
peers say), `vocabulary` (what the engine hears and says), `membership`, `liveness`, `dissemination`,
`pull`, `negentropy`, `reconciliation` and `receipts` behind the one door `engine`; `compatibility`, `beacon`,
`address`; `key` and `certificate` (who may be in). Drivers, the only files that touch sockets and tasks:
`transport` (TCP), `tls` and `security` (what encrypts it), `handshake`, `link` (one reader and one writer per
peer), `intake` and `turns`, `discovery` (multicast) and `service`, which feeds the engine and carries out its
effects; `doorbell` brings it what is posted here, and `backpressure` lets whoever posts a batch wait.
`outbox` and `window` are between: what waits to be written to one peer, and how far it is behind.

May import eventbus and validator; never storage, never node: `desk` says what it needs of the node.
"""
