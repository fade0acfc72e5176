"""What comes to the page may be hostile, huge or much: it is text, and the page stays quick."""

import json
import os
from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

from tests.dashboard.conftest import OpenTab
from tests.dashboard.tab import FOLLOWS_MS
from tests.processes import Cluster, NodeProcess

LONG = bool(os.environ.get("DAYFLY_TEST_LONG"))

RATE_PER_S = 500
RATE_TIME_S = 60 if LONG else 5
TASK_MS_MAX = 200 if LONG else 400
"""What a person does not notice; the short form allows for a machine that is busy with other tests."""
HEAP_BYTES_MAX = 96 * 1024 * 1024
"""Of the tab after 30,000 records; 500 rows need about 10 MB."""

ROWS_MAX = 500

TEMPLATES = (
    "<script>window.owned = {n}</script>",
    "<img src=x onerror='window.owned={n}'>",
    "<svg/onload=window.owned={n}>",
    "</pre></li></ol><iframe srcdoc='<script>parent.owned={n}</script>'>",
    "javascript:window.owned={n}",
    "\"><a href='javascript:window.owned={n}'>x</a>",
    "\x1b[31mred\x1b]0;title\x07 {n}",
    "\u202egnp.exe \u2066{n}\u2069",
    "\U0001f98b\U0001f3f4\U000e0067 {n} e" + "\u0301" * 50,
    '{{"__proto__": {{"owned": {n}}}, "html": "<b>{n}</b>"}}',
    "{{{n}" + "[" * 200,
    "${{window.owned={n}}} {{{{constructor.constructor('window.owned={n}')()}}}}",
    "\0\x01\x02\x7f\x9f {n}",
)


def test_hostile_payloads_are_shown_as_text_and_never_executed(demo: Cluster, open_tab: OpenTab) -> None:
    """200 records whose text, and id where it may, would do harm as markup; one of a mebibyte."""
    node = demo.nodes[1]
    tab = open_tab(demo.nodes[0])
    tab.page.evaluate("window.elementsBefore = document.querySelectorAll('#feed *:not(.row, .row *)').length")
    for n in range(200):
        raw = TEMPLATES[n % len(TEMPLATES)].format(n=n)
        node.post(raw, f"evil/{n}<img src=x onerror=window.owned=1>")
    node.post("<b>" * 349_525, "evil/huge")
    tab.page.fill("#feed-prefix", "evil/")
    expect(tab.page.locator("#feed-count")).to_have_text("201 shown", timeout=FOLLOWS_MS)
    for form in ("text", "json", "hex", "auto"):
        tab.page.select_option("#feed-format", form)
    assert tab.page.evaluate("window.owned") is None
    assert tab.page.evaluate("({}).owned") is None
    assert tab.page.locator(".row :is(script, img, svg, iframe, b)").count() == 0
    before = tab.page.evaluate("window.elementsBefore")
    assert tab.page.evaluate("document.querySelectorAll('#feed *:not(.row, .row *)').length") == before
    tab.page.select_option("#feed-format", "text")
    texts = tab.page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.row')].map(row =>"
        " [row.querySelector('.id').textContent, row.querySelector('.payload').textContent]))"
    )
    shown = {int(id.removeprefix("evil/").partition("<")[0]): text for id, text in texts.items() if "<" in id}
    for n, template in enumerate(TEMPLATES[:6]):
        assert shown[n] == template.format(n=n)
    assert shown[6] == "\u241b[31mred\u241b]0;title\u2407 6"
    assert shown[7] == "\\u202egnp.exe \\u20667\\u2069"
    assert shown[8] == TEMPLATES[8].format(n=8)
    huge = tab.row("evil/huge")
    huge.locator(".more button").click()
    assert len(huge.locator(".payload").inner_text()) == 16_384
    expect(huge.get_by_role("link")).to_have_attribute("href", "/v1/records/evil%2Fhuge")


def test_five_hundred_records_a_second_leave_the_page_quick_and_bounded(
    demo: Cluster, open_tab: OpenTab
) -> None:
    """No long task, 500 rows, a bounded heap, and the last record is shown."""
    node = demo.nodes[0]
    tab = open_tab(node)
    tab.page.evaluate("longTasks.length = 0")
    number = 0
    for beat in range(RATE_TIME_S * 10):
        number += _post_many(node, beat, RATE_PER_S // 10)
        tab.page.wait_for_timeout(100)
    node.post("the last", "rate/last")
    tab.wait_rows("rate/last", 1)
    assert number == RATE_PER_S * RATE_TIME_S
    assert tab.page.locator(".row").count() == ROWS_MAX
    assert max(tab.page.evaluate("longTasks"), default=0) <= TASK_MS_MAX
    session = tab.page.context.new_cdp_session(tab.page)
    send: Callable[[str], dict[str, Any]] = session.send  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType] - untyped there
    send("HeapProfiler.collectGarbage")
    assert send("Runtime.getHeapUsage")["usedSize"] < HEAP_BYTES_MAX


def _post_many(node: NodeProcess, beat: int, count: int) -> int:
    posts = [{"id": f"rate/{beat}-{n}", "raw": f"reading {n} of beat {beat}"} for n in range(count)]
    lines = "\n".join(map(json.dumps, posts))
    answer = node.ask("POST", "/v1/records", lines, content_type="application/x-ndjson")
    return answer.body.count(b'"status":201')
