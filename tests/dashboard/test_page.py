"""The page itself: how it is used, and by whom. How it is served: tests/api/test_page.py."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # pyright: ignore[reportMissingTypeStubs]
from playwright.sync_api import Browser, expect

from tests.dashboard.conftest import OpenTab, single
from tests.dashboard.tab import FOLLOWS_MS, Tab
from tests.processes import Cluster

TABS_MAX = 40
"""After so many presses of Tab whatever is sought must have had its turn."""


def test_the_theme_is_the_systems_until_one_is_chosen(demo: Cluster, open_tab: OpenTab) -> None:
    """Auto, light, dark; kept by the browser."""
    tab = open_tab(demo.nodes[0], scheme="dark")
    assert _lightness(tab) < 60
    tab.page.click("#theme")
    assert (tab.page.inner_text("#theme"), _lightness(tab) > 200) == ("Theme: light", True)
    tab.page.reload()
    assert _lightness(tab) > 200
    tab.page.click("#theme")
    assert (tab.page.inner_text("#theme"), _lightness(tab) < 60) == ("Theme: dark", True)


def _lightness(tab: Tab) -> int:
    colour: str = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    return int(colour.removeprefix("rgb(").partition(",")[0])


def test_everything_can_be_done_with_the_keyboard_alone(demo: Cluster, open_tab: OpenTab) -> None:
    """Post, look at a node, look at the table, pause: by Tab, Enter, Space and letters."""
    tab = open_tab(demo.nodes[0])
    keyboard = tab.page.keyboard
    _tab_to(tab, "#post-raw")
    keyboard.type("typed")
    _tab_to(tab, "#post-id")
    keyboard.type("keys/1")
    keyboard.press("Enter")
    tab.wait_rows("keys/1", 1)
    _tab_to(tab, "#show-map")
    _tab_to(tab, "#map .node[aria-label='birch: up']")
    keyboard.press("Enter")
    expect(tab.page.locator("#card")).to_contain_text("Round trip")
    keyboard.press("Space")
    expect(tab.page.locator("#card")).to_be_hidden()
    tab.page.locator("#theme").focus()
    _tab_to(tab, "#show-table")
    keyboard.press("Enter")
    expect(tab.page.locator("#nodes tbody tr")).to_have_count(3)
    _tab_to(tab, "#nodes th button")
    keyboard.press("Enter")
    expect(tab.page.locator("#nodes th").first).to_have_attribute("aria-sort", "descending")
    assert tab.page.locator("#nodes tbody td").first.inner_text() == "cedar"
    _tab_to(tab, "#feed-pause")
    keyboard.press("Space")
    expect(tab.page.locator("#feed-pause")).to_have_attribute("aria-pressed", "true")


def _tab_to(tab: Tab, selector: str) -> None:
    for _ in range(TABS_MAX):
        if tab.page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        tab.page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not lead to {selector}")


def test_axe_finds_nothing_to_complain_of(demo: Cluster, open_tab: OpenTab) -> None:
    """Names, roles, contrast: no violation, in each theme, with rows, a card, a table and a result shown."""
    tab = open_tab(demo.nodes[0])
    tab.post('{"a": 1}', "axe/1")
    tab.wait_rows("axe/1", 1)
    tab.page.click("#map .node >> nth=1")
    tab.page.click("#post summary")
    assert _violations(tab) == []
    tab.page.click("#theme")
    tab.page.click("#theme")
    assert _lightness(tab) < 60
    assert _violations(tab) == []
    tab.page.click("#show-table")
    assert _violations(tab) == []


def _violations(tab: Tab) -> list[str]:
    results: Any = Axe().run(tab.page)  # pyright: ignore[reportUnknownMemberType] - it has no types
    found: list[dict[str, Any]] = results.response["violations"]
    return [f"{v['id']}: {n['html']}: {n['failureSummary']}" for v in found for n in v["nodes"]]


@pytest.mark.parametrize("width", [320, 600, 1920])
def test_nothing_is_cut_off_at_any_width(demo: Cluster, open_tab: OpenTab, width: int) -> None:
    """From the narrowest telephone to a wide screen the page is never wider than the window."""
    node = demo.nodes[0]
    node.post("w" * 3000, "wide/" + "w" * 200)
    tab = open_tab(node, width=width)
    tab.wait_rows("wide/", 1)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_refusal_is_shown_in_the_words_of_the_api(demo: Cluster, open_tab: OpenTab) -> None:
    """Nothing written, or an id that holds something else: the page says what the node said."""
    node = demo.nodes[0]
    tab = open_tab(node)
    tab.refusals = True
    node.post("one", "words/1")
    for raw, id in (("", ""), ("two", "words/1")):
        refused = node.ask(
            "POST", "/v1/records", f'{{"raw":"{raw}","id":"{id or "x"}"}}', content_type="application/json"
        )
        assert tab.post(raw, id) == refused.json()["detail"]


def test_a_node_that_asks_who_posts_is_answered(open_tab: OpenTab) -> None:
    """Wrong credentials are asked for again, right ones post, and the next post needs none."""
    with single("--write-token", "sesame") as node:
        tab = open_tab(node)
        tab.refusals = True
        tab.page.fill("#post-raw", "let me in")
        tab.page.click("#post-send")
        for secret in ("s\N{EURO SIGN}same", "wrong", "sesame"):  # the first is none that a header could hold
            expect(tab.page.locator("#sign-in")).to_be_visible(timeout=FOLLOWS_MS)
            tab.page.fill("#sign-in-secret", secret)
            tab.page.press("#sign-in-secret", "Enter")
            if secret != "sesame":
                expect(tab.page.locator("#sign-in-why")).to_contain_text("wrong", timeout=FOLLOWS_MS)
        expect(tab.page.locator("#post-result")).to_contain_text("1/1 node", timeout=FOLLOWS_MS)
        assert node.records == 1
        assert tab.post("again").startswith("1/1 node in ")
        assert node.records == 2
        assert tab.page.evaluate("Object.keys(localStorage).length + document.cookie.length") == 0
        tab.close()


def test_who_may_only_read_is_asked_for_other_credentials(browser: Browser) -> None:
    """Else the tab would keep the wrong ones, and no post would pass until it is closed."""
    with single("--write-token", "sesame", "--read-token", "peep") as node:
        page = browser.new_page(http_credentials={"username": "", "password": "peep"})
        tab = Tab(page, node.url).open()
        page.fill("#post-raw", "let me in")
        page.click("#post-send")
        for secret in ("peep", "sesame"):
            page.fill("#sign-in-secret", secret)
            page.press("#sign-in-secret", "Enter")
            if secret == "peep":
                expect(page.locator("#sign-in-why")).to_contain_text("reading only", timeout=FOLLOWS_MS)
        expect(page.locator("#post-result")).to_contain_text("1/1 node", timeout=FOLLOWS_MS)
        tab.close()
