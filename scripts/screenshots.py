"""Make docs/screenshots anew: the dashboard of a small cluster in both themes, wide and narrow.

    .venv/bin/python scripts/screenshots.py

Needs the development environment and the system's chromium. It starts five nodes of its own, posts to
several of them for half a minute, so that bars are at different lengths, and loses one.
"""

import shutil
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright  # noqa: E402

from tests.processes import Cluster, cluster, free_port  # noqa: E402

FOLDER = ROOT / "docs" / "screenshots"
NAMES = ("amber", "birch", "cedar", "dune", "ember")
SIZES = {"wide": ViewportSize(width=1280, height=880), "narrow": ViewportSize(width=390, height=844)}
THEMES = ("light", "dark")
SCALE = 1.5
"""Device pixels in a pixel: sharp on most screens, and under 300 KB a picture."""

LIFE = "60s"
STEP_S = 4.0

POSTS = (
    (
        1,
        "sensors/roof",
        '{"celsius": 21.4, "wind": "3 m/s, south-west", "pressure_hpa": 1016, "rain_mm": 0.0}',
    ),
    (4, "notes/0741", "The swallows are back. Two pairs, under the north eaves."),
    (0, "build/418", "passed in 6 min 12 s"),
    (3, "alerts/door", '{"door": "back", "state": "open", "since": "07:41"}'),
    (0, "deploy/web", "0.5.2 is on all hosts"),
    (2, "sensors/cellar", '{"celsius": 12.9, "humidity": 0.61}'),
)
"""Which node each is posted to, its id, and the text."""

PAGE_POSTS = (
    ("greeting/1", "good morning"),
    ("greeting/2", "anybody there?"),
    ("greeting/3", "hello, everyone"),
)
"""Posted with the page's own form, so that it has receipts to show."""


def main() -> None:
    """Run the cluster, take the pictures."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("there is no chromium here")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with cluster("--ttl", LIFE) as nodes, sync_playwright() as playwright:
        nodes.name = "field-station"
        for name in NAMES:
            nodes.add("--name", name, "--peer", f"127.0.0.1:{free_port()}")
        nodes.wait_linked()
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        pages = {(theme, size): open_page(browser, nodes, theme, size) for theme in THEMES for size in SIZES}
        act(nodes, pages)
        for (theme, size), page in pages.items():
            page.bring_to_front()
            if size == "narrow":  # all of it
                height = page.evaluate("document.documentElement.scrollHeight")
                page.set_viewport_size(ViewportSize(width=SIZES[size]["width"], height=height))
            page.wait_for_timeout(1500)
            page.screenshot(path=FOLDER / f"{size}-{theme}.png")
        browser.close()


def open_page(browser: Browser, nodes: Cluster, theme: str, size: str) -> Page:
    """Open the first node's dashboard and wait until it follows."""
    page = browser.new_page(
        viewport=SIZES[size],
        device_scale_factor=SCALE,
        color_scheme="dark" if theme == "dark" else "light",
    )
    page.goto(f"{nodes.nodes[0].url}/")
    page.wait_for_function("() => document.getElementById('health').dataset.state === 'up'")
    return page


def act(nodes: Cluster, pages: dict[tuple[str, str], Page]) -> None:
    """Post here and there, lose a node, post from each page."""
    for number, id, raw in POSTS:
        nodes.nodes[number].post(raw, id)
        time.sleep(STEP_S)  # what the pictures show is time that has passed
    nodes.nodes[3].kill()
    for page in pages.values():
        page.bring_to_front()
        for id, raw in PAGE_POSTS:
            page.fill("#post-raw", raw)
            page.fill("#post-id", id)
            page.click("#post-send")
            page.wait_for_function("() => document.getElementById('post-result').dataset.kind === 'good'")
            page.evaluate("document.getElementById('post-result').dataset.kind = ''")
        page.evaluate("document.getElementById('post-result').dataset.kind = 'good'")


if __name__ == "__main__":
    main()
