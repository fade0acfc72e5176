"""The harness speaks its line protocol as a process of its own, as other implementations will meet it."""

import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HARNESS = [sys.executable, str(ROOT / "scripts" / "negentropy_harness.py")]
CASES: list[dict[str, Any]] = json.loads((ROOT / "tests/exchanges/negentropy-v1.json").read_text())["cases"]
ROUNDS_MAX = 20

each_case = pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])


class Side:
    """A running harness, spoken to line by line; each answer is awaited, so it must flush."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._lines, self._answers = process.stdin, process.stdout

    def load(self, items: list[tuple[int, str]]) -> None:
        """Hand over the items and seal them."""
        for timestamp, id in items:
            self._say(f"item,{timestamp},{id}")
        self._say("seal")

    def ask(self, line: str) -> list[str]:
        """Send one command; return its answers up to the one that ends a turn."""
        self._say(line)
        answers: list[str] = []
        while not answers or answers[-1].startswith(("have,", "need,")):
            answer = self._answers.readline()
            assert answer, "the harness ended"
            answers.append(answer.rstrip("\n"))
        return answers

    def _say(self, line: str) -> None:
        self._lines.write(line + "\n")
        self._lines.flush()


@contextmanager
def harness(frame_bytes_max: int) -> Generator[Side]:
    """Start a harness from another folder than the repository's; it must end well with its input."""
    environment = {**os.environ, "FRAMESIZELIMIT": str(frame_bytes_max)}
    with subprocess.Popen(
        HARNESS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd="/"
    ) as process:
        try:
            yield Side(process)
        except BaseException:
            process.kill()
            raise
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=10) == 0


def run(text: str, *arguments: str, limit: str = "0") -> "subprocess.CompletedProcess[str]":
    """Run a harness over a whole input."""
    return subprocess.run(
        [*HARNESS, *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "FRAMESIZELIMIT": limit},
    )


@each_case
def test_two_harnesses_make_the_recorded_exchange(case: dict[str, Any]) -> None:
    """Two processes over the recorded items send the reference's messages and tell its difference once."""
    limit = case["frame_size_limit"]
    sent: list[str] = []
    told: list[str] = []
    with harness(limit) as client, harness(limit) as server:
        client.load(case["client_items"])
        server.load(case["server_items"])
        answers = client.ask("initiate")
        for _ in range(ROUNDS_MAX):
            *findings, last = answers
            told += findings
            if last == "done":
                break
            (reply,) = server.ask(last)
            sent += [last, reply]
            answers = client.ask(reply)
        else:
            pytest.fail(f"not done after {ROUNDS_MAX} rounds")
    assert sent == [f"msg,{m['hex']}" for m in case["messages"]]
    assert sorted(told) == sorted(
        [f"have,{id}" for id in case["have"]] + [f"need,{id}" for id in case["need"]]
    )


ID = "ab" * 32

BAD_LINES = {
    "no command": ("hello", 1, "not a command"),
    "blank": ("\n", 1, "not a command"),
    "short id": ("item,1,abcd", 1, "2 bytes, not 32"),
    "id not hex": (f"item,1,{'zz' * 32}", 1, "non-hexadecimal"),
    "timestamp not a number": (f"item,soon,{ID}", 1, "'soon'"),
    "timestamp of infinity": (f"item,{2**64 - 1},{ID}", 1, "2^64 - 2"),
    "item twice": (f"item,1,{ID}\nitem,1,{ID}", 2, "added before"),
    "item after seal": (f"seal\nitem,1,{ID}", 2, "sealed"),
    "message before seal": ("msg,61", 1, "seal the items first"),
    "initiate before seal": ("initiate", 1, "seal the items first"),
    "initiate twice": ("seal\ninitiate\ninitiate", 3, "has begun"),
    "malformed message": ("seal\nmsg,610000", 2, "ends inside"),
    "other version for an initiator": ("seal\ninitiate\nmsg,62", 3, "0x62"),
    "not hex at all": ("seal\nmsg,xyz", 2, "non-hexadecimal"),
}


@pytest.mark.parametrize(("text", "line", "said"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_named_and_ends_the_harness(text: str, line: int, said: str) -> None:
    """Exit code 1, and one line on standard error with the line's number and what is wrong with it."""
    result = run(text + "\n")
    assert result.returncode == 1
    assert result.stderr.startswith(f"line {line}: ")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_bytes_that_are_no_text_are_a_bad_line() -> None:
    """A driver that sends raw bytes is told so, without a traceback."""
    result = subprocess.run(HARNESS, input=b"\xff\xfe\n", capture_output=True, timeout=30, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith(b"line 1: not a command")


def test_the_largest_timestamp_is_accepted() -> None:
    """2^64 - 2 is an item's time; only infinity itself is not."""
    result = run(f"item,{2**64 - 2},{ID}\nseal\ninitiate\nmsg,6100000200\n")
    assert (result.returncode, result.stdout.splitlines()[1:]) == (0, [f"have,{ID}", "done"])


@pytest.mark.parametrize("limit", ["100", "4095", "-1", "many", ""])
def test_a_bad_frame_limit_is_a_usage_error(limit: str) -> None:
    """Exit code 2 before any line is read, naming the variable."""
    result = run("seal\n", limit=limit)
    assert result.returncode == 2
    assert "FRAMESIZELIMIT" in result.stderr


def test_help_teaches_every_command_and_answer() -> None:
    """Whoever writes a driver needs nothing but --help."""
    result = run("", "--help")
    assert result.returncode == 0
    for word in ("item,", "seal", "initiate", "msg,", "have,", "need,", "done", "FRAMESIZELIMIT"):
        assert word in result.stdout


def test_an_unknown_argument_is_a_usage_error() -> None:
    """Exit code 2, as for any command line."""
    assert run("", "--nonsense").returncode == 2
