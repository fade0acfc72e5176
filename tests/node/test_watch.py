"""`dayfly watch`: records as lines, a command for each, failures, a state over restarts, and Ctrl-C."""

import json
import signal
import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from node.following import Delivery, Record
from node.hooks import Hook, Hooks
from node.watch import STATE_BYTES_MAX
from tests.api.nodes import lone_node
from tests.node.commands import COMMAND, ENVIRONMENT, dayfly
from tests.node.terminals import in_terminal
from tests.processes import ROOT, NodeProcess, free_port, wait_until

TELL = ["sh", "-c", 'cat > "$0/$DAYFLY_SIZE.raw" && env | grep ^DAYFLY_ | sort > "$0/$DAYFLY_SIZE.env"']
NOTE = ["sh", "-c", 'echo "$DAYFLY_ID" >> "$0"']
NOTE_AND_FAIL = ["sh", "-c", 'echo "$DAYFLY_ID" >> "$0"; case $DAYFLY_ID in *bad) exit 3;; esac']


@pytest.fixture(scope="module")
def node() -> Iterator[NodeProcess]:
    """One node for all tests here; each uses ids of its own."""
    with lone_node() as node:
        yield node


class Watching:
    """A `dayfly watch` under way. `out`, `err`: files with what it has said."""

    def __init__(self, process: "subprocess.Popen[bytes]", out: Path, err: Path) -> None:
        self.process = process
        self.out = out
        self.err = err

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send it a signal; return what it ends with. It must not fall over its own feet."""
        self.process.send_signal(number)
        code = self.process.wait(20)
        assert "Traceback" not in self.err.read_text()
        return code


@contextmanager
def watching(folder: Path, state: Path, node: NodeProcess, *arguments: str) -> Generator[Watching]:
    """Start the command and wait until it has begun: its state file tells, and the node whom it follows."""
    opened = followers(node)
    out, err = folder / "out", folder / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [*COMMAND, "watch", "--node", node.url, "--state", str(state), *arguments],
            cwd=ROOT,
            env=ENVIRONMENT,
            stdout=stdout,
            stderr=stderr,
        )
    try:
        wait_until(lambda: followers(node) > opened, "it follows the node")
        wait_until(lambda: state.exists() and node.url in state.read_text(), "it has begun")
        yield Watching(process, out, err)
    finally:
        process.kill()
        process.wait()


def followers(node: NodeProcess) -> int:
    """How many feeds the node has opened since its start."""
    return sum(node.get("/v1/node")["feeds"]["opened"].values())


def noted(file: Path) -> list[str]:
    """The ids that a command has noted."""
    return file.read_text().split() if file.exists() else []


# --- lines ----------------------------------------------------------------------------------------------


def test_what_comes_from_now_on_is_a_line_each_until_ctrl_c(node: NodeProcess, tmp_path: Path) -> None:
    """The record as the node shows it; nothing from before; an end with 130 and no more words."""
    node.post("before", "line/0")
    with watching(tmp_path, tmp_path / "state", node, "--prefix", "line/") as it:
        node.post("hello", "line/1")
        node.post("other", "elsewhere/1")
        node.post("again", "line/2")
        wait_until(lambda: it.out.read_text().count("\n") == 2, "two lines")
        assert it.stop() == 130
        lines = [json.loads(line) for line in it.out.read_text().splitlines()]
        assert [line["id"] for line in lines] == ["line/1", "line/2"]
        assert lines[0] | {"cursor": ""} == node.get("/v1/records/line/1") | {"cursor": ""}
        assert it.err.read_text() == ""


def test_who_cannot_be_served_hears_why(node: NodeProcess, tmp_path: Path) -> None:
    """Nobody there, a command that is none, a damaged state, a point in time that is none."""
    nobody = f"http://127.0.0.1:{free_port()}"
    assert dayfly("watch", "--node", nobody).code == 3
    assert dayfly("watch", "--node", node.url, "--", "no-such-command").code == 2
    assert dayfly("watch", "--node", node.url, "--since", "yesterday").code == 1
    unwritable = dayfly("watch", "--node", node.url, "--state", str(tmp_path / "none" / "state"))
    assert (unwritable.code, "cannot be written" in unwritable.err) == (1, True)
    damaged = tmp_path / "state"
    largest = '{"cursors":{},"seen":""}'.ljust(STATE_BYTES_MAX)
    damaged.write_text(largest)
    assert dayfly("watch", "--node", nobody, "--state", str(damaged)).code == 3  # taken, then nobody answers
    for text in ("{", '{"cursors":{},"seen":"?"}', largest + " "):
        damaged.write_text(text)
        result = dayfly("watch", "--node", node.url, "--state", str(damaged))
        assert (result.code, "is not the state of a watch" in result.err) == (1, True)


# --- commands -------------------------------------------------------------------------------------------


def test_a_command_gets_raw_and_the_fields_and_no_shell(node: NodeProcess, tmp_path: Path) -> None:
    """Whatever stands in a record is data: as it was, and never a word of a command line."""
    raw, id = "$(touch pwned); `x` \N{BUTTERFLY}\n", "cmd/$(touch pwned) ; é"
    with watching(tmp_path, tmp_path / "state", node, "--prefix", "cmd/", "--", *TELL, str(tmp_path)) as it:
        receipt = node.post(raw, id)
        told = tmp_path / f"{len(raw.encode())}.env"
        wait_until(lambda: told.exists() and "DAYFLY_TIME" in told.read_text(), "the command has run")
        assert it.stop(signal.SIGTERM) == 0
    assert (tmp_path / f"{len(raw.encode())}.raw").read_text() == raw
    assert dict(line.split("=", 1) for line in told.read_text().splitlines()) == {
        "DAYFLY_ID": id,
        "DAYFLY_TIME": str(receipt["time_stamp"]),
        "DAYFLY_EXPIRES": str(receipt["expires_at"]),
        "DAYFLY_SIGNATURE": receipt["signature"],
        "DAYFLY_DIGEST": receipt["digest"],
        "DAYFLY_SIZE": str(len(raw.encode())),
    }


def test_ctrl_c_at_a_terminal_lets_a_running_command_end(node: NodeProcess, tmp_path: Path) -> None:
    """The terminal sends it to every process in front; the command is not, and its record is done."""
    begun, go_on, state = tmp_path / "begun", tmp_path / "go", tmp_path / "state"
    script = f"touch {begun}; while [ ! -e {go_on} ]; do sleep 0.01; done; echo done > {begun}"
    arguments = ["watch", "--node", node.url, "--since", "all", "--prefix", "tty/", "--state", str(state)]
    node.post("x", "tty/1")
    with in_terminal([*COMMAND, *arguments, "--", "sh", "-c", script], ENVIRONMENT) as terminal:
        wait_until(begun.exists, "the command runs")
        terminal.press("\x03")
        wait_until(lambda: "^C" in terminal.shown, "the terminal has sent the signal")
        go_on.touch()
        assert terminal.process.wait(30) == 130
    assert begun.read_text() == "done\n"
    with watching(tmp_path, state, node, "--prefix", "tty/") as it:
        node.post("x", "tty/2")
        wait_until(lambda: it.out.read_text().count("\n") == 1, "only what came later")
        assert "tty/2" in it.out.read_text()


def test_a_command_that_fails_is_run_again_and_then_passed_over(node: NodeProcess, tmp_path: Path) -> None:
    """It is reported each time; those behind it wait, then have their turn; a restart does not repeat it."""
    notes, state = tmp_path / "notes", tmp_path / "state"
    arguments = ("--prefix", "fail/", "--retries", "1", "--", *NOTE_AND_FAIL, str(notes))
    with watching(tmp_path, state, node, *arguments) as it:
        node.post("x", "fail/bad")
        node.post("x", "fail/good")
        wait_until(lambda: len(noted(notes)) == 3, "both have been dealt with")
        assert it.stop() == 130
        said = it.err.read_text().splitlines()
    assert noted(notes) == ["fail/bad", "fail/bad", "fail/good"]
    failed = "dayfly: fail/bad: the command failed (exit code 3); "
    assert said == [failed + "it is run again", failed + "passed over"]
    with watching(tmp_path, state, node, *arguments) as it:
        node.post("x", "fail/next")
        wait_until(lambda: len(noted(notes)) == 4, "the next one")
    assert noted(notes)[3] == "fail/next"


def test_with_a_state_nothing_is_missed_over_a_kill(node: NodeProcess, tmp_path: Path) -> None:
    """What was posted meanwhile comes; what was done and written down does not come again."""
    notes, state = tmp_path / "notes", tmp_path / "state"
    arguments = ("--prefix", "state/", "--", *NOTE, str(notes))
    with watching(tmp_path, state, node, *arguments) as it:
        for i in range(5):
            node.post("x", f"state/{i}")
        wait_until(lambda: len(noted(notes)) == 5, "five are done")
        it.stop()
    for i in range(5, 10):
        node.post("x", f"state/{i}")
    with watching(tmp_path, state, node, *arguments) as it:
        wait_until(lambda: len(noted(notes)) >= 7, "some more are done")
        it.process.kill()
        it.process.wait()
    with watching(tmp_path, state, node, *arguments) as it:
        wait_until(lambda: len(set(noted(notes))) == 10, "all are done")
        assert it.stop() == 130
    assert set(noted(notes)) == {f"state/{i}" for i in range(10)}
    assert noted(notes)[:5] == [f"state/{i}" for i in range(5)]
    assert not set(noted(notes)[5:]) & {f"state/{i}" for i in range(5)}


def ignore(record: Record, trouble: str, passed_over: bool) -> None:
    """Hear of a failure and do nothing."""


def delivery(id: str) -> Delivery:
    """A record to be dealt with."""
    return Delivery(Record(id, "x", "", 0, 1, "", 1, ""), "http://a", id)


async def test_no_more_run_at_once_than_asked_for(tmp_path: Path) -> None:
    """And no more is read than can be run, so that a slow command slows the stream and not the machine."""
    running = 'mkdir "$0/run.$$"; ls "$0" | grep -c ^run >> "$0/counts"; sleep 0.05; rmdir "$0/run.$$"'
    done: list[Delivery] = []
    hooks = Hooks(Hook(["sh", "-c", running, str(tmp_path)], parallel=3), done.append, ignore)
    batches = [[delivery(f"{i}") for i in range(12)], []]

    async def next_batch() -> list[Delivery]:
        return batches.pop(0)

    await hooks.run(next_batch)
    counts = [int(count) for count in (tmp_path / "counts").read_text().split()]
    assert (len(done), max(counts)) == (12, 3)


async def test_told_to_stop_it_leaves_undone_what_fails_and_waits_for_what_runs(tmp_path: Path) -> None:
    """A command that Ctrl-C has ended too is no failure of its record: it is run after a restart."""
    done: list[Delivery] = []
    failed: list[str] = []
    wait = 'touch "$0/$DAYFLY_ID"; while [ ! -e "$0/go" ]; do sleep 0.01; done; [ "$DAYFLY_ID" = good ]'
    hook = Hook(["sh", "-c", wait, str(tmp_path)], parallel=2)
    hooks = Hooks(hook, done.append, lambda record, trouble, passed_over: failed.append(record.id))
    batches = [[delivery("good"), delivery("bad"), delivery("never")]]

    async def next_batch() -> list[Delivery]:
        if not batches:
            await trio.sleep_forever()
        return batches.pop(0)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hooks.run, next_batch)
        with trio.fail_after(20):
            while not ((tmp_path / "good").exists() and (tmp_path / "bad").exists()):  # noqa: ASYNC110
                await trio.sleep(0.01)
        hooks.stop()
        (tmp_path / "go").touch()
    assert ([d.cursor for d in done], failed) == (["good"], [])
    assert not (tmp_path / "never").exists()
