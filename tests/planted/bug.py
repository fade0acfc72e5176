"""What a planted bug is, and the ways in which the suite finds one.

A bug is planted by changing the product's classes for the time of one test. Its catcher is a part of the
suite as it stands: a test that is called as pytest calls it, or a few seeds of the simulator.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from inspect import iscoroutinefunction
from pathlib import Path

import pytest
import trio

from tests.sim.plan import Options
from tests.sim.run import run_seed

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Catcher:
    """A part of the suite. `run` fails when it finds something; `name` is for people."""

    name: str
    run: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Bug:
    """A mistake known in this field.

    Attributes:
        name: as it is talked about.
        what: what goes wrong, half a sentence.
        plant: plants it, until the end of the monkeypatch.
        catcher: what finds it.
        says: pattern of what the catcher says then, where it could fail of something else; else None.
    """

    name: str
    what: str
    plant: Callable[[pytest.MonkeyPatch], None]
    catcher: Catcher
    says: str | None = None


def case(function: Callable[..., None] | Callable[..., Awaitable[None]], *arguments: object) -> Catcher:
    """A test of the suite, with the arguments that its parameters take."""
    path = Path(function.__code__.co_filename).relative_to(ROOT)
    name = f"{path}::{function.__name__}"
    return Catcher(name, partial(_call, function, arguments))


def _call(function: Callable[..., object], arguments: tuple[object, ...]) -> None:
    if not iscoroutinefunction(function):
        function(*arguments)
        return
    try:
        trio.run(function, *arguments)
    except BaseExceptionGroup as group:
        failed, others = group.split(AssertionError)
        if failed is None or others is not None:
            raise
        raise AssertionError(str(failed.exceptions)) from group


def seeds(count: int, options: Options) -> Catcher:
    """Seeds of the simulator from 0 on, up to the first that fails."""

    def run() -> None:
        for seed in range(count):
            failure = run_seed(seed, options).failure
            assert failure is None, f"seed {seed}: {failure}"

    tier = " in the partial tier" if options.partial else ""
    return Catcher(f"tests/sim ({count} seeds of {options.nodes} nodes{tier})", run)


SEEDS = seeds(20, Options(nodes=5, records=60, seconds=10))
"""Small clusters with all faults: a tenth of a second each, and most bugs show within a few."""

PARTIAL = seeds(8, Options(nodes=10, records=20, seconds=8, churn=3, partial=True))
"""Clusters in the partial tier, of which many nodes end."""
