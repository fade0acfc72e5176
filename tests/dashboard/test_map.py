"""The map: a ring of up to 32 nodes, a grid above, and a pulse for what comes over a link."""

import re
import signal
from typing import Any

import msgspec
from playwright.sync_api import APIResponse, Route, expect

from tests.dashboard.conftest import OpenTab, single
from tests.dashboard.tab import FOLLOWS_MS, Tab
from tests.hostile.insider import Insider
from tests.processes import Cluster

DRAW = """
async ([count, state]) => {
    const { Map } = await import("/static/map.js");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const nodes = Array.from({ length: count }, (_, n) =>
        ({ key: String(n), id: String(n), name: `node ${n}`, state: n ? state : "self" }));
    new Map(svg, () => {}).show(nodes, null);
    const [ring, links, , marks] = svg.children;
    const places = new Set([...marks.children].map(mark => mark.getAttribute("transform")));
    const states = [...marks.children].map(mark => mark.getAttribute("aria-label"));
    return [ring.children.length, links.children.length, places.size, states.at(-1)];
}
"""

COUNT_PULSES = """
window.pulses = 0;
new MutationObserver(changes => { for (const change of changes) pulses += change.addedNodes.length; })
    .observe(document.querySelector("#map .pulses"), { childList: true });
"""


def _draw(tab: Tab, count: int, state: str) -> Any:
    return tab.page.evaluate(DRAW, [count, state])


def test_up_to_32_nodes_stand_in_a_ring_and_more_in_a_grid(demo: Cluster, open_tab: OpenTab) -> None:
    """Each node has a place of its own; links are drawn to those that are linked; states are words."""
    tab = open_tab(demo.nodes[0])
    assert _draw(tab, 1, "up") == [0, 0, 1, "node 0: this node"]
    assert _draw(tab, 32, "up") == [1, 31, 32, "node 31: up"]
    assert _draw(tab, 33, "up") == [0, 0, 33, "node 32: up"]
    assert _draw(tab, 200, "member") == [0, 0, 200, "node 199: up, not linked with this node"]
    assert _draw(tab, 5, "lost") == [1, 0, 5, "node 4: cannot be reached"]


def test_a_node_that_is_stopped_fades_and_goes_and_comes_back(demo: Cluster, open_tab: OpenTab) -> None:
    """It said goodbye, so nobody waits for it: the map says `left`, then nothing, and nothing is unwell.

    A list of peers from before that comes only afterwards takes nothing back.
    """
    tab, node = open_tab(demo.nodes[0]), demo.nodes[1]
    mark = tab.page.locator("#map .node", has_text="birch")
    expect(mark).to_have_attribute("aria-label", "birch: up", timeout=FOLLOWS_MS)
    late: list[tuple[Route, APIResponse]] = []

    def hold_one(route: Route) -> None:
        if late:
            route.continue_()
        else:
            late.append((route, route.fetch()))

    assert tab.socket is not None
    tab.page.route("**/v1/peers", hold_one)
    while not late:
        tab.page.wait_for_timeout(10)  # while it waits, what happens in the page is heard
    with tab.socket.expect_event("framereceived", lambda frame: "shutting down" in str(frame)):
        node.signal(signal.SIGTERM)
    route, answer = late[0]
    route.fulfill(response=answer)
    expect(mark).to_have_attribute("aria-label", "birch: left", timeout=FOLLOWS_MS)
    expect(tab.page.locator("#fact-peers")).to_have_text("1/1", timeout=FOLLOWS_MS)
    expect(mark).to_have_count(0, timeout=2 * FOLLOWS_MS)
    expect(tab.page.locator("#health")).to_have_attribute("data-state", "up", timeout=FOLLOWS_MS)
    node.kill()  # it is gone by now; this waits for it
    node.start().wait_ready()
    expect(mark).to_have_attribute("aria-label", "birch: up", timeout=FOLLOWS_MS)


def test_a_pulse_runs_for_what_comes_and_none_where_motion_is_not_wanted(
    demo: Cluster, open_tab: OpenTab
) -> None:
    """One post on another node: a dot on one page, nothing on the page of who asked for less motion."""
    moving, still = open_tab(demo.nodes[0]), open_tab(demo.nodes[0], motion="reduce")
    for tab in (moving, still):
        expect(tab.page.locator("#map .node")).to_have_count(3, timeout=FOLLOWS_MS)
        tab.page.evaluate(COUNT_PULSES)
    demo.nodes[1].post("tick", "pulse/1")
    for tab in (moving, still):
        tab.wait_rows("pulse/1", 1)
    moving.page.wait_for_function("() => pulses === 1")
    assert still.page.evaluate("pulses") == 0


def test_a_peers_name_gives_no_orders_to_the_page(open_tab: OpenTab) -> None:
    """A member may call itself what it likes: direction marks and controls are shown, not obeyed."""
    with single() as node, Insider.to(node) as insider:
        insider.hello = msgspec.structs.replace(insider.hello, name="a\u202eb\x1b")
        insider.link()
        tab = open_tab(node)
        mark = tab.page.locator("#map .node").nth(1)
        expect(mark).to_have_attribute("aria-label", re.compile(r"^a\\u202eb\u241b: "), timeout=FOLLOWS_MS)
        tab.close()
