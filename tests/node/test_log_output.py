"""Where the log's lines go: none waits for the system, and those it does not take are counted and told of."""

import os
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from node.log_output import WAITING_BYTES_MAX, LogOutput
from tests.mounts import mounted
from tests.processes import wait_until

LINE_BYTES = 1024


def line(number: int) -> str:
    """Make a line of `LINE_BYTES`."""
    return f"{number} ".ljust(LINE_BYTES - 1, "x") + "\n"


def notice(dropped: int) -> str:
    """Make the line that tells of dropped ones."""
    return f"dropped {dropped}\n"


def told(text: str) -> tuple[list[int], list[int]]:
    """Return the numbers of whole lines, and what the notices among them say."""
    whole = [part for part in text.splitlines() if len(part) == LINE_BYTES - 1]
    notices = [part.split() for part in text.splitlines() if part.startswith("dropped ")]
    return [int(part.split()[0]) for part in whole], [int(count) for _, count in notices]


@pytest.mark.parametrize("blocking", [True, False])
def test_what_finds_no_room_is_dropped_and_the_next_line_says_how_many_were(blocking: bool) -> None:
    """Nobody reads for a while: whoever logs never waits, and the gap is told where it is.

    Another program that shares the terminal may have set it not to block.
    """
    output, (reader, writer) = LogOutput(), os.pipe()
    os.set_blocking(writer, blocking)
    read: list[bytes] = []

    def take() -> None:
        while data := os.read(reader, 65536):
            read.append(data)

    taker = threading.Thread(target=take)
    with output.written_to(writer, notice):
        for number in range(made := 3 * WAITING_BYTES_MAX // LINE_BYTES):
            output.write(line(number))
        dropped = output.dropped_total
        taker.start()
        wait_until(lambda: output.waiting_bytes == 0, "all that had room is written")
        output.write(line(made))
        wait_until(lambda: output.waiting_bytes == 0, "the last one too")
    os.close(writer)
    taker.join()
    os.close(reader)

    numbers, notices = told(b"".join(read).decode())
    gaps = [after - before - 1 for before, after in pairwise(numbers) if after > before + 1]
    assert WAITING_BYTES_MAX // LINE_BYTES <= made - dropped < made
    assert (numbers[0], numbers[-1], len(numbers)) == (0, made, made + 1 - dropped)
    assert notices == gaps  # more than one if the thread had its first turn late


def test_a_line_is_let_in_if_it_just_fits() -> None:
    """The bound is one on bytes, and holds to the byte."""
    output = LogOutput()
    output.write("x" * (WAITING_BYTES_MAX - 1) + "\n")
    assert (output.waiting_bytes, output.dropped_total) == (WAITING_BYTES_MAX, 0)
    output.write("\n")
    assert (output.waiting_bytes, output.dropped_total) == (WAITING_BYTES_MAX, 1)


def test_a_full_disk_leaves_no_line_that_is_two_and_the_next_one_says_what_is_missing(tmp_path: Path) -> None:
    """What was half written is ended before the next line, which can then be read."""
    with mounted(tmp_path, "size=16k"):
        log, filler = tmp_path / "log", tmp_path / "filler"
        filler.write_bytes(b"x" * 8192)
        log.write_bytes(b"\n" * 100)  # so that the last line breaks off
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
        output = LogOutput()
        with output.written_to(descriptor, notice):
            for number in range(made := 20):
                output.write(line(number))
            wait_until(lambda: output.waiting_bytes == 0, "all is written or refused")
            dropped = output.dropped_total
            filler.unlink()
            output.write(line(made))
        os.close(descriptor)
        text = log.read_text()

    numbers, notices = told(text)
    assert 0 < dropped < made
    assert numbers == [*range(made - dropped), made]
    assert notices == [dropped]
    assert output.dropped_total == dropped


def test_a_block_that_ended_while_its_output_was_held_leaves_the_next_one_alone() -> None:
    """Its thread wakes up in the next one: it takes nothing more. What it left is told as dropped."""
    output, (held_reader, held), (reader, writer) = LogOutput(), os.pipe(), os.pipe()
    before = set(threading.enumerate())
    with output.written_to(held, notice):
        for number in range(made := 100):  # more than a pipe holds
            output.write(line(number))
    (stuck,) = set(threading.enumerate()) - before
    with output.written_to(writer, notice):
        output.write(line(made))
        wait_until(lambda: output.waiting_bytes == 0, "the second output is written to")
        taken = os.read(held_reader, WAITING_BYTES_MAX)
        stuck.join(10)
        assert not stuck.is_alive()
        output.write(line(made + 1))
    for descriptor in (held, writer):
        os.close(descriptor)
    with open(held_reader, "rb") as rest:
        first, _ = told((taken + rest.read()).decode())
    with open(reader, "rb") as rest:
        numbers, notices = told(rest.read().decode())
    assert first == list(range(len(first)))
    assert numbers == [made, made + 1]
    assert notices == [output.dropped_total]
    assert output.dropped_total == made - len(first) + 1  # with the one it hung in, which came after all
