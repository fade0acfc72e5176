"""Where a client waits to hear how many nodes hold what it posted. The counting is in cluster/receipts.py.

A `Receipt` belongs to one request. It asks the cluster, waits until enough nodes hold every record or the
time is over, and then reads the counts as they are at that moment. Who does not wait costs nothing here.
"""

import itertools
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import trio

from cluster.exports import CONFIRM_DIGESTS_MAX, ClusterService, Now
from cluster.vocabulary import Ask, Forget
from node.histogram import Histogram
from node.reach import PeerReach, Reach

WAITING_RECORDS_MAX = 32_768
"""Records that clients may wait for at a time: three of the largest batches, about 20 MB with 64 peers."""

REACH_BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Buckets of the histogram of reach. Our choice: a quiet cluster needs 2 to 10 ms, a repair up to seconds."""


class ReceiptsFull(Exception):
    """Clients wait for as many records as they may; nothing was asked, nothing was stored."""


class Receipts:
    """All receipts of a node that are waited for."""

    def __init__(self, cluster: ClusterService, clock: Callable[[], Now]) -> None:
        self.cluster = cluster
        self.clock = clock
        self.numbers = itertools.count(1)
        self.by_number: dict[int, Receipt] = {}
        self.waiting_records = 0
        self.closing = False
        self.reach = Histogram(REACH_BOUNDS_S)
        cluster.on_reached = self._reached

    def begin(self, records_max: int, wanted: int | None, timeout_s: float) -> "Receipt":
        """Make a receipt, to be used as a context manager. Begin before anything is stored.

        Args:
            records_max: how many records it may ask for.
            wanted: how many nodes are to hold each, this one included; None for all.
            timeout_s: seconds to wait from now on.

        Raises:
            ReceiptsFull: too many records are waited for.
        """
        if self.waiting_records + records_max > WAITING_RECORDS_MAX:
            raise ReceiptsFull(f"clients wait for {self.waiting_records} records already")
        return Receipt(self, records_max, wanted, timeout_s)

    def close(self) -> None:
        """The node is about to stop: who waits is told now how far it has come."""
        self.closing = True
        for receipt in self.by_number.values():
            receipt.stop()

    def _reached(self, number: int) -> None:
        receipt = self.by_number.get(number)
        if receipt is not None:
            receipt.look(number)


class Receipt:
    """One request's wait. `partial`: whether a record fell short of what was wanted, once it was waited."""

    def __init__(self, receipts: Receipts, records_max: int, wanted: int | None, timeout_s: float) -> None:
        self._receipts = receipts
        self._records = records_max
        self._wanted = wanted
        self._start_s = receipts.clock().s
        self._end_s = self._start_s + timeout_s
        self._questions: dict[int, Sequence[bytes]] = {}
        self._open: set[int] = set()
        self._scope = ""
        self._settled = trio.Event()

    def __enter__(self) -> Self:
        self._receipts.waiting_records += self._records
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._receipts.waiting_records -= self._records
        for number in self._questions:
            del self._receipts.by_number[number]
            self._receipts.cluster.feed(Forget(number))

    def ask(self, digests: Sequence[bytes]) -> None:
        """Ask who holds these records: once each, and right after they were stored."""
        self._scope = "tree" if self._receipts.cluster.engine.views.partial else ""
        for start in range(0, len(digests), CONFIRM_DIGESTS_MAX):
            number, part = next(self._receipts.numbers), digests[start : start + CONFIRM_DIGESTS_MAX]
            self._questions[number] = part
            self._receipts.by_number[number] = self
            left_s = max(self._end_s - self._receipts.clock().s, 0.0)
            self._receipts.cluster.feed(Ask(number, part, left_s))
            self.look(number)

    def look(self, number: int) -> None:
        """See whether a question is settled: as many hold each record as are wanted, or it is lost here."""
        counts, of = self._receipts.cluster.engine.receipts.counts(number)
        target = of if self._wanted is None else min(self._wanted, of)
        if all(count >= target or count == 0 for count in counts):
            self._open.discard(number)
            if not self._open:
                self._settled.set()
        else:
            self._open.add(number)

    async def wait(self) -> None:
        """Wait until all that was asked is settled, or the time is over."""
        # In the next pass of the loop the push goes, and the questions with it (cluster/service.py); what is
        # held already, or too large to be pushed, has questions that nothing else carries.
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        self._receipts.cluster.flush()
        with trio.move_on_at(trio.current_time() + self._end_s - self._receipts.clock().s):
            while (
                self._open and not self._receipts.closing
            ):  # a count may fall again while others are waited for
                self._settled = trio.Event()
                await self._settled.wait()

    def stop(self) -> None:
        """Wait no longer."""
        self._settled.set()

    def reaches(self) -> dict[bytes, Reach]:
        """Read how far each record has come by now."""
        took_s = self._receipts.clock().s - self._start_s
        engine = self._receipts.cluster.engine
        found: dict[bytes, Reach] = {}
        for number, digests in self._questions.items():
            counts, of = engine.receipts.counts(number)
            peers = self._peers(number) if self._records == 1 and any(counts) and not self._scope else []
            for digest, count in zip(digests, counts, strict=True):
                found[digest] = Reach(count, of, round(took_s * 1000), self._scope, peers)
        if found and all(reach.ok == reach.of for reach in found.values()):
            self._receipts.reach.observe(took_s)
        return found

    def _peers(self, number: int) -> list[PeerReach]:
        """Name the peers that hold the record of a question."""
        engine, start_s = self._receipts.cluster.engine, self._start_s
        arrivals = sorted(engine.receipts.arrivals(number).items(), key=lambda arrival: arrival[1])
        names = {peer: linked.hello.name for peer, linked in engine.membership.peers.items()}
        return [PeerReach(names[peer], round((s - start_s) * 1000, 3)) for peer, s in arrivals]

    def falls_short(self, reach: Reach) -> bool:
        """Whether fewer nodes hold a record than its client wanted."""
        return reach.ok < (reach.of if self._wanted is None else self._wanted)
