"""A tab with the dashboard of one node, and what went wrong in it."""

from typing import Self

from playwright.sync_api import ConsoleMessage, Locator, Page, Request, WebSocket, expect

FOLLOWS_MS = 15_000
"""How long anything may take to be seen: generous, the machine is shared."""

BROWSER_SAYS = (
    "ERR_CONNECTION_REFUSED",
    "ERR_CONNECTION_RESET",
    "ERR_EMPTY_RESPONSE",
    "ERR_SOCKET_NOT_CONNECTED",
    "WebSocket connection to",
)
"""What a browser itself writes to the console when a node is gone; no script can keep it from that."""

WATCH_LONG_TASKS = """
window.longTasks = [];
new PerformanceObserver(list => longTasks.push(...list.getEntries().map(e => Math.round(e.duration))))
    .observe({type: "longtask", buffered: true});
"""


class Tab:
    """One tab.

    Attributes:
        socket: the latest one the page has opened.
        troubles: what no test may cause.
        node_goes: bool, set by a test that stops the node: then the browser may say so.
        refusals: bool, set by a test whose posts are refused: the browser notes each 4xx.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.socket: WebSocket | None = None
        self.troubles: list[str] = []
        self.node_goes = False
        self.refusals = False
        page.set_default_timeout(FOLLOWS_MS)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.troubles.append(f"a script failed: {error}"))
        page.on("request", self._request)
        page.on("websocket", self._websocket)
        page.add_init_script(WATCH_LONG_TASKS)

    def open(self) -> Self:
        """Load the page and wait until it follows."""
        self.page.goto(f"{self.url}/")
        self.follows()
        return self

    def follows(self) -> None:
        """Wait until the page is connected and knows its node."""
        self.page.wait_for_function(
            "() => !['wait', 'lost'].includes(document.getElementById('health').dataset.state)"
        )

    def close(self) -> None:
        """Close the tab; before its node ends, if that is not what the test is about."""
        if not self.page.is_closed():
            self.page.close()

    def post(self, raw: str, id: str = "") -> str:
        """Post with the form; return what the page says then."""
        self.page.fill("#post-raw", raw)
        self.page.fill("#post-id", id)
        self.page.click("#post-send")
        self.page.wait_for_function(
            "() => !['', 'Posting …'].includes(document.getElementById('post-result').textContent)"
        )
        return self.page.inner_text("#post-result")

    def row(self, id: str) -> Locator:
        """Find the rows with this id."""
        return self.page.locator(".row").filter(has=self.page.locator(".id", has_text=id))

    def wait_rows(self, id: str, count: int) -> None:
        """Wait until so many rows have this id, or begin with it."""
        expect(self.row(id)).to_have_count(count, timeout=FOLLOWS_MS)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        if self.node_goes and any(words in message.text for words in BROWSER_SAYS):
            return
        if self.refusals and "the server responded with a status of 4" in message.text:
            return
        self.troubles.append(f"{message.type}: {message.text}")

    def _websocket(self, socket: WebSocket) -> None:
        self.socket = socket
        self._check_host(socket.url.replace("ws://", "http://"))

    def _request(self, request: Request) -> None:
        self._check_host(request.url)

    def _check_host(self, url: str) -> None:
        if not url.startswith(f"{self.url}/"):
            self.troubles.append(f"asked another host: {url[:200]}")
