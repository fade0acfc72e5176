"""One seed, end to end: trouble, then peace, then the account.

*Safety*: clients post while faults strike; the anytime checks run all along. *Liveness*: the faults end
and the nodes must find each other and agree within bounds. The report holds what a person asks next.
"""

import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from cluster.candidates import BACKOFF_S_MAX
from cluster.membership import BAN_S, CLOSE_AFTER_S
from node.admission import Answer
from tests.sim import checks
from tests.sim.faults import Chaos
from tests.sim.plan import Options, Plan, draw
from tests.sim.world import Violation, World

CHECK_S = 1.0
"""How often the anytime checks look, besides at every fault."""

LINK_S = BAN_S + 2 * CLOSE_AFTER_S + 2 * BACKOFF_S_MAX
"""Within which nodes that fit are linked again: a ban ends, silence is noticed, two whole back-offs."""

AGREE_S = 3 * 20.0
"""Three sync rounds."""

QUIET_S = 10.0
"""How long nodes that agree are watched for going on agreeing, and half as long for keeping quiet."""

TICKS_PER_S_MAX = 40.0
"""Ticks of a node with nothing to do. Our choice: the pings of 39 peers are 20, the rest is under 2."""


@dataclass
class Report:
    """What became of a seed.

    Attributes:
        failure: what was broken, or None.
        hash: of the trace; equal for equal seeds.
        delivered, due: record copies that right nodes hold at the end, and that they should.
        latencies_s: from the post to each other node that got it, late joiners included.
        totals: counts of everything.
    """

    seed: int
    plan: Plan
    failure: str | None = None
    hash: str = ""
    virtual_s: float = 0.0
    events: int = 0
    link_s: float = 0.0
    agree_s: float = 0.0
    posted: int = 0
    delivered: int = 0
    due: int = 0
    latencies_s: list[float] = field(default_factory=list[float])
    totals: Counter[str] = field(default_factory=Counter[str])


def run_seed(seed: int, options: Options | None = None, watch: Callable[[str], None] | None = None) -> Report:
    """Run one seed. Never raises for a broken promise: that is in the report."""
    plan = draw(seed, options or Options())
    world = World(seed, plan.delay_s, ttl_ms=plan.ttl_ms, multicast=plan.multicast, watch=watch)
    world.mesh = plan.mesh
    report = Report(seed, plan)
    try:
        _trouble(plan, world)
        _peace(world, report)
    except Violation as violation:
        report.failure = f"at {world.now_s:.3f} s: {violation}"
    except Exception:  # whatever the product raises is a failure of this seed, not the end of the others
        report.failure = f"at {world.now_s:.3f} s: {traceback.format_exc()}"
    _account(world, report)
    return report


def _trouble(plan: Plan, world: World) -> None:
    chaos = Chaos(plan, world)
    rng = chaos.rng
    for machine in plan.machines[: len(plan.machines) - plan.late]:
        world.at(rng.uniform(0, 2), partial(chaos.start, machine))
    world.run(rng.uniform(2, 8))
    world.loss, world.beacon_loss = plan.loss, plan.beacon_loss
    end_s = world.now_s + plan.seconds
    agenda: list[tuple[float, Callable[[], object]]] = []
    agenda += [(rng.uniform(world.now_s, end_s), chaos.strike) for _ in range(plan.faults)]
    agenda += [(rng.uniform(world.now_s, end_s), chaos.restart) for _ in range(plan.late)]
    numbers = iter(range(plan.records))
    bursts = [rng.uniform(world.now_s, end_s) for _ in range(max(plan.records // 5, 1))]
    agenda += [
        (rng.choice(bursts), lambda: _post(plan, world, chaos, next(numbers))) for _ in range(plan.records)
    ]
    agenda.sort(key=lambda entry: entry[0])
    for when_s, action in agenda:
        while world.now_s + CHECK_S < when_s:
            world.run(CHECK_S)
            checks.anytime(world)
        world.run(when_s - world.now_s)
        action()
        if action == chaos.strike:
            checks.anytime(world)
    world.run(max(end_s - world.now_s, 0.0))
    chaos.end()
    checks.anytime(world)


def _post(plan: Plan, world: World, chaos: Chaos, number: int) -> None:
    """A client posts one record at a random running node."""
    rng = chaos.rng
    hosts = [h for h in world.living() if not h.paused]
    if not hosts:
        return
    contested = rng.random() < plan.contested
    raw = f"raw {number}"
    if rng.random() < plan.large:
        raw += rng.choice("aé") * rng.randint(66_000, 500_000)
    answer = rng.choice(hosts).submit(f"c{rng.randint(0, 9)}" if contested else f"id {number}", raw).answer
    if answer not in (Answer.STORED, Answer.FULL) and not contested:
        raise Violation(f"a new record was answered {answer.value!r}")


def _peace(world: World, report: Report) -> None:
    """The faults are over: within bounds all are linked, agree, and go on doing so."""
    survived, start_s = checks.held(world), world.now_s

    def differences() -> list[str]:
        return [] if checks.unlinked(world) else checks.different(world, survived)

    while True:
        # What was under way when the faults ended (garbage, silence) may take a link down once more:
        # the bounds count from when all are linked, and the repetitions are bounded too.
        if world.now_s - start_s > LINK_S + AGREE_S:
            raise Violation("the nodes agree again and again, and never for long")
        report.link_s += _await("not linked", world, lambda: checks.unlinked(world), LINK_S)
        report.agree_s += _await("stores differ", world, differences, AGREE_S)
        world.run(QUIET_S)
        checks.anytime(world)
        if not (checks.unlinked(world) or differences()):
            break
    _quiet(world)
    checks.the_far_one_stays_out(world)


def _quiet(world: World) -> None:
    """Nodes that agree have little to do, and stop reconciling once what they were at is done."""
    full = len(checks.roomy(world)) < len(checks.right(world))
    for _ in range(int(AGREE_S / QUIET_S) * 2):
        ticks, rounds = world.totals["ticks"], checks.sync_rounds(world)
        world.run(QUIET_S / 2)
        if full or checks.sync_rounds(world) == rounds:
            break
    else:
        raise Violation("equal stores are reconciled again and again")
    rate = (world.totals["ticks"] - ticks) / (QUIET_S / 2) / len(world.living())
    if rate > TICKS_PER_S_MAX:
        raise Violation(f"{rate:.0f} ticks a second and node with nothing to do")


def _await(trouble: str, world: World, troubles: Callable[[], list[str]], seconds: float) -> float:
    """Let time pass, the anytime checks running, until no troubles are left. Returns how long it took."""
    start_s = world.now_s
    while not world.run_until(lambda: not troubles(), CHECK_S, every_s=0.1):
        checks.anytime(world)
        if world.now_s - start_s >= seconds:
            raise Violation(f"{trouble} after {seconds:.0f} s of peace: {'; '.join(troubles()[:20])}")
    return world.now_s - start_s


def _account(world: World, report: Report) -> None:
    report.hash, report.virtual_s, report.events = world.hash, world.now_s, world.events
    report.posted, report.latencies_s, report.totals = len(world.posted), world.latencies_s, world.totals
    for host in world.hosts:
        s = host.engine.statistics()
        world.totals["sync rounds"] += s.sync_rounds_total
        world.totals["sync bytes"] += s.sync_bytes_out
        world.totals["full"] += host.admission.statistics.full
    hosts = checks.roomy(world)
    survivors = checks.held(world)
    if hosts:
        from_ms = checks.floor_ms(world)
        due = {r.key for r in survivors.values() if r.time_stamp >= from_ms}
        winners: dict[str, bytes] = {}
        for record in survivors.values():
            winners[record.id] = min(winners.get(record.id, record.key), record.key)
        due &= set(winners.values())
        report.due = len(due) * len(hosts)
        report.delivered = sum(len(due.intersection(checks.view(h, from_ms))) for h in hosts)
