"""A person looks at the cluster while things happen to it."""

import re
import signal
from functools import partial

from playwright.sync_api import Browser, expect

from tests.dashboard.conftest import OpenTab, single
from tests.dashboard.tab import FOLLOWS_MS, Tab
from tests.processes import Cluster


def test_a_post_from_one_page_is_seen_on_the_page_of_the_third_node(demo: Cluster, open_tab: OpenTab) -> None:
    """Post with the form of the first; the third shows it, whence it came, and after how long."""
    first, third = open_tab(demo.nodes[0]), open_tab(demo.nodes[2])
    assert re.fullmatch(r"3/3 nodes in \d+ ms", first.post("hello from a page", "seen/everywhere"))
    expect(first.page.locator("#propagation-summary")).to_contain_text("p99")
    expect(first.page.locator("#propagation-rows li")).to_contain_text("3/3")
    dots = first.page.locator("#propagation-rows .track i")
    named = [str(dots.nth(n).get_attribute("title")).partition(": ")[0] for n in range(dots.count())]
    assert (named[0], sorted(named[1:])) == ("this node", ["birch", "cedar"])
    third.wait_rows("seen/everywhere", 1)
    first.wait_rows("seen/everywhere", 1)
    assert third.row("seen/everywhere").locator(".payload").inner_text() == "hello from a page"
    assert first.row("seen/everywhere").locator(".whence").inner_text().startswith("posted here")
    whence = third.row("seen/everywhere").locator(".whence").inner_text()
    assert whence.startswith("from amber · seen after ")
    assert "left" in third.row("seen/everywhere").locator(".left").inner_text()
    expect(third.page.locator("#health-words")).to_contain_text("3 nodes", timeout=FOLLOWS_MS)
    expect(third.page.locator("#fact-peers")).to_have_text("2/2")
    expect(third.page.locator("#fact-links")).to_have_text("open")


def test_a_page_goes_on_after_its_node_came_back_without_loss_or_doubles(
    demo: Cluster, open_tab: OpenTab
) -> None:
    """The node is killed and started again; what came before, meanwhile and after is there once each."""
    node, other = demo.nodes[2], demo.nodes[0]
    tab, onlooker = open_tab(node), open_tab(other)
    tab.node_goes = True
    tab.page.evaluate("window.notReloaded = true")
    other.post("before", "again/1")
    tab.wait_rows("again/", 1)
    node.kill()
    expect(tab.page.locator("#health-words")).to_contain_text("No connection", timeout=FOLLOWS_MS)
    map_node = onlooker.page.locator("#map .node", has_text="cedar")
    expect(map_node).to_have_attribute("aria-label", "cedar: cannot be reached", timeout=FOLLOWS_MS)
    other.post("meanwhile", "again/2")
    node.start().wait_ready()
    tab.wait_rows("again/", 2)
    other.post("after", "again/3")
    tab.wait_rows("again/", 3)
    for number in (1, 2, 3):
        tab.wait_rows(f"again/{number}", 1)
    ids = tab.page.locator(".row .id").all_inner_texts()
    assert len(ids) == len(set(ids)) == len(node.listing())
    assert tab.page.evaluate("window.notReloaded") is True
    expect(map_node).to_have_attribute("aria-label", "cedar: up", timeout=FOLLOWS_MS)
    onlooker.page.wait_for_function("() => document.getElementById('health').dataset.state === 'up'")


def test_late_timers_break_no_connection_and_a_silent_node_does(browser: Browser) -> None:
    """A tab in the background, or a lid closed and opened: nobody asked, so silence says nothing yet."""
    with single() as node:
        page = browser.new_page()
        sockets: list[str] = []
        page.on("websocket", lambda socket: sockets.append(socket.url))
        page.clock.install()
        tab = Tab(page, node.url).open()
        for number in range(3):
            page.clock.fast_forward(60_000)
            node.post("x", f"late/{number}")
            tab.wait_rows(f"late/{number}", 1)
        assert len(sockets) == 1
        node.signal(signal.SIGSTOP)
        for _ in range(2):
            page.clock.fast_forward(20_000)  # it is asked, and has not answered
        expect(page.locator("#health-words")).to_contain_text("No connection", timeout=FOLLOWS_MS)
        node.signal(signal.SIGCONT)
        tab.close()


def test_a_record_goes_from_the_page_when_its_life_is_over(open_tab: OpenTab) -> None:
    """With a life of three seconds it is there, and then it is not, and the page says that nothing is."""
    with single("--ttl", "3s") as node:
        tab = open_tab(node)
        node.post("short", "short")
        tab.wait_rows("short", 1)
        tab.wait_rows("short", 0)
        expect(tab.page.locator("#feed-empty")).to_be_visible()
        tab.close()


def test_a_reader_is_not_disturbed_by_what_comes(demo: Cluster, open_tab: OpenTab) -> None:
    """Paused, or further down, the list stands still and counts what is new; one click shows it."""
    node = demo.nodes[0]
    tab = open_tab(node)
    node.post_batch([f"line {n}" for n in range(60)], "many/")
    tab.wait_rows("many/", 60)
    tab.page.click("#feed-pause")
    node.post("x", "later/1")
    expect(tab.page.locator("#feed-new")).to_have_text("1 new", timeout=FOLLOWS_MS)
    tab.page.click("#feed-pause")
    tab.wait_rows("later/1", 1)
    tab.page.evaluate("document.getElementById('feed-body').scrollTop = 800")
    tab.page.wait_for_function("() => document.getElementById('feed-body').scrollTop === 800")
    tab.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    node.post("x", "later/2")
    expect(tab.page.locator("#feed-new")).to_have_text("1 new", timeout=FOLLOWS_MS)
    assert tab.page.evaluate("document.getElementById('feed-body').scrollTop") == 800
    tab.page.click("#feed-new")
    tab.wait_rows("later/2", 1)
    assert tab.page.evaluate("document.getElementById('feed-body').scrollTop") == 0


def test_records_are_found_by_the_beginning_of_their_id_and_by_what_they_say(
    demo: Cluster, open_tab: OpenTab
) -> None:
    """The node filters by prefix, the page by text; payloads are shown as text, JSON or bytes."""
    node = demo.nodes[1]
    tab = open_tab(node)
    node.post('{"door":"open","n":[1.0,{}]}', "find/door")
    node.post("a window", "find/window")
    node.post("other", "lost/other")
    tab.page.fill("#feed-prefix", "find/")
    expect(tab.page.locator("#feed-count")).to_have_text("2 shown", timeout=FOLLOWS_MS)
    node.post("a chimney", "find/chimney")
    tab.wait_rows("find/chimney", 1)
    tab.page.fill("#feed-search", "OPEN")
    expect(tab.page.locator("#feed-count")).to_have_text("1 of 3", timeout=FOLLOWS_MS)
    payload = partial(tab.row("find/door").locator(".payload").inner_text)
    assert payload() == '{"door":"open","n":[1.0,{}]}'
    tab.page.select_option("#feed-format", "json")
    assert payload() == '{\n  "door": "open",\n  "n": [\n    1.0,\n    {}\n  ]\n}'
    tab.page.select_option("#feed-format", "hex")
    assert payload().startswith("000000  7b 22 64 6f 6f 72")
    assert tab.row("lost/other").count() == 0
