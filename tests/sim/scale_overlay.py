"""The graph of live links: how it hangs together, and how plain flooding would spread over it.

Flooding is the yardstick: every node sends what is new to it at once on every other link, so its first
arrivals are the shortest ways in time. It pays with a payload for each link and direction.
"""

import heapq
from dataclasses import dataclass
from random import Random
from statistics import median

from tests.sim.world import World

Graph = dict[bytes, list[bytes]]
"""Node id: the node ids it is linked with, both sides being up."""


@dataclass(frozen=True, slots=True)
class Flooded:
    """How flooding would have spread one record: hops of the longest first way, and when the last had it."""

    reached: int
    last_hops: int
    last_s: float


@dataclass(frozen=True, slots=True)
class Overlay:
    """Links a node, and parts that do not reach each other (1: it is one cluster)."""

    links_min: int
    links_median: float
    links_max: int
    islands: int


def graph(world: World) -> Graph:
    """Return the links that are up on both sides between living nodes."""
    by_id = {h.node_id: h for h in world.living()}
    return {i: [p for p in host.links if p in by_id and i in by_id[p].links] for i, host in by_id.items()}


def overlay(links: Graph) -> Overlay:
    """Describe a graph."""
    degrees = [len(peers) for peers in links.values()]
    return Overlay(min(degrees), median(degrees), max(degrees), islands(links))


def changed_share(before: Graph, after: Graph) -> float:
    """Return the links that came or went as a share of those that are there."""
    there = sum(map(len, after.values()))
    changed = sum(len(set(before.get(node, ())) ^ set(peers)) for node, peers in after.items())
    gone = sum(len(peers) for node, peers in before.items() if node not in after)
    return (changed + gone) / max(there, 1)


def islands(links: Graph) -> int:
    """Count the parts that do not reach each other."""
    unseen = dict.fromkeys(links)
    count = 0
    while unseen:
        count += 1
        edge = [next(iter(unseen))]
        del unseen[edge[0]]
        while edge:
            for peer in links[edge.pop()]:
                if peer in unseen:
                    del unseen[peer]
                    edge.append(peer)
    return count


def flood(links: Graph, origin: bytes, delay_s: tuple[float, float], rng: Random) -> Flooded:
    """Flood one record over a graph, each packet taking a drawn time.

    Source: Dijkstra's shortest paths; a flood's first arrivals are just these.
    """
    hops: dict[bytes, int] = {}
    heap: list[tuple[float, int, bytes]] = [(0.0, 0, origin)]
    last_s = 0.0
    while heap:
        at_s, hop, node = heapq.heappop(heap)
        if node in hops:
            continue
        hops[node], last_s = hop, at_s
        for peer in links.get(node, ()):
            if peer not in hops:
                heapq.heappush(heap, (at_s + rng.uniform(*delay_s), hop + 1, peer))
    return Flooded(len(hops), max(hops.values()), last_s)
