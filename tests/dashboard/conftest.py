"""One browser and one cluster of three nodes for all tests of the dashboard.

Every tab is watched: a script that fails, an error in its console or a request to another host fails the
test that opened it.
"""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal, Protocol

import pytest
from playwright.sync_api import Browser, ViewportSize, sync_playwright

from tests.dashboard.tab import Tab
from tests.processes import Cluster, NodeProcess, cluster, free_port

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

NAMES = ("amber", "birch", "cedar")

Scheme = Literal["light", "dark"]
Motion = Literal["reduce", "no-preference"]


class OpenTab(Protocol):
    """Opens a tab on a node."""

    def __call__(
        self,
        node: NodeProcess,
        *,
        width: int = 1280,
        scheme: Scheme = "light",
        motion: Motion = "no-preference",
    ) -> Tab:
        """Open it and wait until it follows."""
        ...


@pytest.fixture(scope="session")
def browser() -> Generator[Browser]:
    """Start the system's Chromium, without a window."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium here")
    with sync_playwright() as playwright:
        # In a container there is no sandbox to be had; the pages are our own.
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def demo(browser: Browser) -> Generator[Cluster]:
    """Start three nodes with names, at addresses that they keep when they are started again."""
    with cluster() as started:
        for name in NAMES:
            started.add("--name", name, "--peer", f"127.0.0.1:{free_port()}")
        started.wait_linked()
        yield started


@pytest.fixture
def open_tab(browser: Browser) -> Generator[OpenTab]:
    """Open tabs on nodes; what they did is judged when the test is over."""
    tabs: list[Tab] = []

    def open_(
        node: NodeProcess, *, width: int = 1280, scheme: Scheme = "light", motion: Motion = "no-preference"
    ) -> Tab:
        size = ViewportSize(width=width, height=800)
        page = browser.new_page(viewport=size, color_scheme=scheme, reduced_motion=motion)
        tabs.append(Tab(page, node.url).open())
        return tabs[-1]

    yield open_
    for tab in tabs:
        tab.close()
    for tab in tabs:
        assert tab.troubles == []


@contextmanager
def single(*options: str) -> Generator[NodeProcess]:
    """Run a node of its own."""
    with cluster(*options) as started:
        yield started.add(multicast=False).wait_ready()
