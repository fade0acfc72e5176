"""A cluster key is replaced over running nodes, under load: nothing is lost, nothing is refused.

`DAYFLY_TEST_LONG=1`: five nodes and 200 posts a second in place of three and 40.
"""

import os
import signal
import time
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

import pytest

from cluster.key import ClusterKey
from tests.background import Background
from tests.processes import NodeProcess, cluster, wait_until

LONG = os.environ.get("DAYFLY_TEST_LONG", "") not in ("", "0")
NODES = 5 if LONG else 3
POSTERS = 4
POSTS_PER_S = 50 if LONG else 10
"""Of each poster: 200 a second over all in the long form."""

STEP_S = 10.0 if LONG else 0.3
"""How long a step is given under load before the next."""

OLD, NEW = ClusterKey(b"o" * 32), ClusterKey(b"n" * 32)


class Poster(Background):
    """Posts to all nodes in turn, at a steady rate, until told to stop."""

    def __init__(self, nodes: list[NodeProcess]) -> None:
        super().__init__()
        self._nodes = nodes
        self.answers: list[int] = []

    def run(self) -> None:
        """Post; what raises is counted as an answer of 0."""
        next_s = time.monotonic()
        for number, node in enumerate(cycle(self._nodes)):
            if self.over.is_set():
                return
            try:
                answer = node.ask("POST", "/v1/records", f"{number}", content_type="text/plain")
                self.answers.append(answer.status)
            except OSError:
                self.answers.append(0)
            next_s += 1 / POSTS_PER_S
            time.sleep(max(next_s - time.monotonic(), 0))


def write_keys(path: Path, *keys: ClusterKey) -> None:
    """Replace a key file as an operator's tools would: whole, for its user alone."""
    new = path.with_suffix(".new")
    new.touch(0o600)
    new.write_text("".join(f"{key.line}\n" for key in keys))
    new.replace(path)


def turn(node: NodeProcess, path: Path, *keys: ClusterKey) -> None:
    """Give one node these keys and wait until it uses them."""
    write_keys(path, *keys)
    node.signal(signal.SIGHUP)
    names = [key.fingerprint for key in keys]
    wait_until(lambda: node.get("/v1/node")["link_keys"]["accepted"] == names, f"{node.port} has its keys")


def all_on(node: NodeProcess, key: ClusterKey) -> bool:
    """Whether a node is linked with all others, and all of them show `key`."""
    return [p["key"] for p in node.peers] == [key.fingerprint] * (NODES - 1)


@pytest.mark.timeout(180)
def test_a_key_is_replaced_under_load_and_nothing_is_lost(tmp_path: Path) -> None:
    """Add, promote, remove, one node after the other: every post is taken and every node holds them all."""
    with cluster() as made:
        files = [tmp_path / f"{i}.key" for i in range(NODES)]
        for file in files:
            write_keys(file, OLD)
            made.add("--key-file", str(file))
        made.wait_linked()
        assert all(all_on(node, OLD) for node in made.nodes)
        with ExitStack() as stack:
            posters = [stack.enter_context(Poster(made.nodes)) for _ in range(POSTERS)]
            for keys in ((OLD, NEW), (NEW, OLD)):
                for node, file in zip(made.nodes, files, strict=True):
                    turn(node, file, *keys)
                time.sleep(STEP_S)  # under load: the links that are up stay
                assert all(all_on(node, OLD) for node in made.nodes)
            for node, file in zip(made.nodes, files, strict=True):
                turn(node, file, NEW)
            for node in made.nodes:
                wait_until(lambda node=node: all_on(node, NEW), f"{node.port} is on the new key")  # type: ignore[misc]
            time.sleep(STEP_S)
        answers = [status for poster in posters for status in poster.answers]
        assert len(answers) > 20
        assert set(answers) == {201}
        made.wait_equal(len(answers), timeout_s=40)
