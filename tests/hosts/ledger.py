"""What the clients were told: every record a node accepted, and what must therefore be listed.

Of several records under one id the smallest (time_stamp, digest) must win, whoever accepted it and in
whatever order they met.
"""

import http.client
import itertools
import threading
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.background import Background

if TYPE_CHECKING:
    from tests.hosts.nodes import HostNode


@dataclass(frozen=True, slots=True, order=True)
class Accepted:
    """One record that a node said it stored. Compares by who wins: the smaller one."""

    time_stamp: int
    digest: str
    raw: str
    host: int
    at_s: float
    """When the answer came, in monotonic seconds."""


class Ledger:
    """All that was accepted, by id. Several threads may write."""

    def __init__(self) -> None:
        self.accepted: dict[str, list[Accepted]] = {}
        self.doubtful: dict[str, str] = {}
        """Raws by id that were posted and not answered: stored or not, nobody knows."""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.accepted)

    def post(self, node: "HostNode", id: str, raw: str) -> None:
        """Post a record to a node and note its answer, or that there was none."""
        try:
            receipt = node.post(raw, id)
        except (OSError, http.client.HTTPException):
            self.doubtful[id] = raw
            return
        now_s = time.monotonic()
        entry = Accepted(receipt["time_stamp"], receipt["digest"], raw, node.host.number, now_s)
        with self._lock:
            self.accepted.setdefault(id, []).append(entry)

    def winner(self, id: str) -> Accepted:
        """Return the record that must be listed under an id."""
        return min(self.accepted[id])

    def forget(self, ids: Collection[str]) -> None:
        """Strike out records that nobody is bound to have any more."""
        for id in ids:
            del self.accepted[id]

    def decide_doubts(self, listed: Collection[str]) -> None:
        """Take up those posts without an answer that came to be listed, and drop the others."""
        for id in self.doubtful.keys() & set(listed):
            self.accepted.setdefault(id, []).append(Accepted(0, "", self.doubtful[id], 0, 0.0))
        self.doubtful.clear()

    def difference(self, listing: Sequence[dict[str, str]]) -> str:
        """Say what a listing lacks, has too much or has wrong; empty when it is as it should be."""
        listed = {record["id"]: record["raw"] for record in listing}
        due = {id: self.winner(id).raw for id in list(self.accepted)}
        doubles = [id for id, times in Counter(record["id"] for record in listing).items() if times > 1]
        parts: dict[str, Collection[str]] = {
            "listed twice": doubles,
            "missing": due.keys() - listed.keys(),
            "never accepted": listed.keys() - due.keys(),
            "the losing raw": {id for id in due.keys() & listed.keys() if due[id] != listed[id]},
        }
        return "; ".join(
            f"{len(which)} {what}: {', '.join(sorted(which)[:5])}" for what, which in parts.items() if which
        )


class Poster(Background):
    """Posts records of its own to some nodes in turn, `per_s` a second in all, until the block ends."""

    def __init__(self, ledger: Ledger, nodes: Sequence["HostNode"], prefix: str, per_s: float = 5.0) -> None:
        super().__init__(prefix)
        self._ledger = ledger
        self._nodes = itertools.cycle(nodes)
        self._pause_s = 1 / per_s

    def run(self) -> None:
        """Post until told to stop."""
        for number in itertools.count():
            self._ledger.post(next(self._nodes), f"{self.name}{number}", f"{self.name} says {number}")
            if self.over.wait(self._pause_s):
                return
