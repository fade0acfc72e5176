"""What must hold: anytime, eventually after the trouble has ended, and finally of all that was posted.

An *anytime* check raises `Violation`. Clocks differ by design, so stores are compared over the span in
which every right clock agrees that a record lives and anti-entropy covers it.
"""

# pyright: reportPrivateUsage=false
# The bounds of tables are promises too, and nothing but a test has any business reading the tables.

from cluster import outbox, pull
from cluster.candidates import CANDIDATES_MAX
from cluster.flights import DIALS_IN_FLIGHT_MAX
from cluster.hints import HINTS_MAX
from cluster.members import MEMBERS_MAX
from cluster.membership import PEERS_MAX
from cluster.reconciliation import MARGIN_MS_MAX
from cluster.shares import MISSING_MAX
from storage.base import RECORDS_MAX
from tests.sim.host import Host
from tests.sim.world import Violation, World
from validator import FUTURE_MS_MAX, Record


def anytime(world: World) -> None:
    """No node shows what it must not, or holds more than it may."""
    for host in world.living():
        _listing_is_sound(world, host)
        _tables_are_bounded(host)


def _listing_is_sound(world: World, host: Host) -> None:
    listing, wall_ms = host.listing(), host.now().wall_ms
    ids = {r.id for r in listing}
    if len(ids) != len(listing):
        raise Violation(f"{host} lists an id twice")
    for before, record in zip([None, *listing], listing, strict=False):
        posted = world.posted.get(record.digest)
        if posted is None:
            raise Violation(f"{host} lists {record.id!r}, which nobody posted so")
        if posted[0] != record:
            raise Violation(f"{host} lists {record.id!r} other than it was posted")
        if record.time_stamp + world.ttl_ms <= wall_ms:
            raise Violation(f"{host} lists {record.id!r} after its life")
        if before is not None and before.key >= record.key:
            raise Violation(f"{host} lists {record.id!r} out of order")


def _tables_are_bounded(host: Host) -> None:
    engine = host.engine
    members, reconciliation = engine.membership, engine._reconciliation
    candidates, asked = members.candidates, engine._pull._asked_of
    linked = members.peers.keys()
    sizes = [
        ("missing records", len(engine._pull), MISSING_MAX),
        ("asked of one peer", max(asked.values(), default=0), pull.ASKED_MAX),
        ("addresses known", len(candidates._known), CANDIDATES_MAX),
        ("hints", len(candidates._hints), HINTS_MAX),
        ("dials in flight", sum(c.in_flight for c in candidates._all()), DIALS_IN_FLIGHT_MAX),
        ("peers", len(linked), PEERS_MAX),
        ("records", len(host), host.machine.limits.records_max),
        ("members", len(engine.members), MEMBERS_MAX),
        ("asked of strangers", len(asked.keys() - linked), 0),
        ("joins with strangers", len(reconciliation._joins.keys() - linked), 0),
        ("histories of strangers", len(reconciliation._history.keys() - linked), 0),
    ]
    for box in (link.outbox for link in host.links.values()):
        sizes += [
            ("control bytes", box._control_bytes, outbox.CONTROL_BYTES_MAX),
            ("eager bytes", box._eager_bytes, outbox.EAGER_BYTES_MAX),
            ("digests to serve", len(box._wanted), outbox.BULK_MAX),
        ]
    for name, size, most in sizes:
        if size > most:
            raise Violation(f"{host}: {size} {name}, at most {most} may be")
    if linked != host.links.keys():
        raise Violation(f"{host}: engine and driver disagree about who is linked")


# --- eventually -----------------------------------------------------------------------------------------


def right(world: World) -> list[Host]:
    """The living nodes whose clocks are near enough to take part."""
    return [h for h in world.living() if not h.machine.far]


def unlinked(world: World) -> list[str]:
    """What is missing for all to be linked: with all, or in a large cluster by way of others."""
    hosts = right(world)
    _, mesh_back = world.mesh
    if len(hosts) < mesh_back or not any(h.engine.views.partial for h in hosts):
        return [f"{a} lacks {b}" for a in hosts for b in hosts if a is not b and b.node_id not in a.links]
    return _islands(hosts) or _members_amiss(hosts)


def _islands(hosts: list[Host]) -> list[str]:
    """Who cannot be reached from the first node by links that are up on both sides."""
    by_id = {h.node_id: h for h in hosts}
    reached, edge = {hosts[0].node_id}, [hosts[0]]
    while edge:
        host = edge.pop()
        for peer in host.links:
            other = by_id.get(peer)
            if peer not in reached and other is not None and host.node_id in other.links:
                reached.add(peer)
                edge.append(other)
    return [f"no way leads from {hosts[0]} to {h}" for h in hosts if h.node_id not in reached]


def _members_amiss(hosts: list[Host]) -> list[str]:
    """Whose member list is not the living nodes."""
    living = {h.node_id: str(h) for h in hosts}
    found: list[str] = []
    for host in hosts:
        listed = {view.node_id for view in host.engine.members.living()}
        found += [f"{host} lists no {name}" for i, name in living.items() if i not in listed]
        found += [f"{host} lists {i.hex()[:4]}, which is gone" for i in listed - living.keys()]
    return found


def floor_ms(world: World) -> int:
    """From which time stamp on every right clock agrees, and anti-entropy repairs."""
    newest_ms = max(h.now().wall_ms for h in right(world))
    return newest_ms - world.ttl_ms + min(MARGIN_MS_MAX, world.ttl_ms // 4)


def view(host: Host, from_ms: int) -> list[bytes]:
    """The keys a node lists, from a time stamp on."""
    return [r.key for r in host.listing() if r.time_stamp >= from_ms]


def roomy(world: World) -> list[Host]:
    """The right nodes whose stores cannot be full."""
    return [h for h in right(world) if h.machine.limits.records_max >= RECORDS_MAX]


def different(world: World, survived: dict[bytes, Record]) -> list[str]:
    """Where roomy nodes list other than the first one, or lack what a survivor held."""
    hosts, from_ms = roomy(world), floor_ms(world)
    views = [view(h, from_ms) for h in hosts]
    found = [f"{h} lists {len(v)}, {hosts[0]} {len(views[0])}" for h, v in zip(hosts, views, strict=True)]
    found = [text for text, v in zip(found, views, strict=True) if v != views[0]]
    return found or (lost(world, set(views[0]), from_ms, survived) if hosts else [])


def sync_rounds(world: World) -> int:
    """How many reconciliations the living nodes have started so far."""
    return sum(h.engine.statistics().sync_rounds_total for h in world.living())


# --- finally --------------------------------------------------------------------------------------------


def held(world: World) -> dict[bytes, Record]:
    """All that right living nodes list now, by digest."""
    return {r.digest: r for host in right(world) for r in host.listing()}


def lost(world: World, listed: set[bytes], from_ms: int, survived: dict[bytes, Record]) -> list[str]:
    """What a survivor held and is not listed, though neither over nor second to a smaller key of its id."""
    smallest: dict[str, bytes] = {}
    for record, _ in world.posted.values():
        smallest[record.id] = min(smallest.get(record.id, record.key), record.key)
    return [
        f"{r.id!r} is lost"
        for r in survived.values()
        if r.time_stamp >= from_ms and r.key not in listed and smallest[r.id] == r.key
    ]


def the_far_one_stays_out(world: World) -> None:
    """A node whose clock is too far off has no link, gives nothing and gets nothing."""
    hosts = right(world)
    for far in (h for h in world.living() if h.machine.far):
        for host in hosts:
            apart_ms = abs(far.now().wall_ms - host.now().wall_ms)
            if apart_ms > FUTURE_MS_MAX and (host.node_id in far.links or far.node_id in host.links):
                raise Violation(f"{host} is linked with {far}: their clocks are {apart_ms} ms apart")
        shared = {r.digest for r in far.listing()} & held(world).keys()
        if shared:
            raise Violation(f"{len(shared)} records passed between {far} and the others")
