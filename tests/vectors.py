"""Values that are hard to find and easy to check: test vectors shared by the rooms' tests."""

MD5_TWINS = (
    "TEXTCOLLBYfGiJUETHQ4hAcKSMd5zYpgqf1YRDhkmxHkhPWptrkoyz28wnI9V0aHeAuaKnak",
    "TEXTCOLLBYfGiJUETHQ4hEcKSMd5zYpgqf1YRDhkmxHkhPWptrkoyz28wnI9V0aHeAuaKnak",
)
"""Two printable texts with one MD5. Source: Marc Stevens, published in 2024."""

MD5_TWINS_SIGNATURE = "faad49866e9498fc1719f5289e7a0269"

README_RAW, README_SIGNATURE = "newmessage", "fbf9957b19f15006367d7702a10d6463"
"""The example of the original's document."""

HOSTILE_TEXTS = (
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "one\rtwo",
    "one\ntwo",
    "\x9b31m",
    "a\u202eb",
    "\u2066hidden\u2069",
    "\u2028line\u2029",
    "\x00",
    "\x7f",
    "\u200b",
    "[bold]markup[/bold]",
    "<script>alert(1)</script>",
)
"""Texts that a terminal, a log or a page could take for an order."""
