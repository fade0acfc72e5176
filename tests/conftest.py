"""The parts of the suite run side by side, each in one process and in the order in which it stands.

Simulated clusters keep a core busy and know no real time; hosts in network namespaces and node processes
mostly wait, and share no network; the dashboard's tests share one browser. One after the other they take
three times as long. What takes longest begins first, so that no process is left with it in the end.
"""

# pyright: reportMissingTypeStubs=false
# xdist has types, but no marker that says so.

import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

LONGEST_FIRST = ("sim", "hosts", "node", "system", "api", "scripts", "dashboard", "hostile", "planted")
"""Folders in the order in which they begin; then all others."""

FILES_APART = frozenset({"sim", "node", "system", "scripts"})
"""Folders whose files share nothing and go to whoever is free: whole, one would be left for the end."""

# How long an example takes says what else the machine does: a property is not a matter of time.
settings.register_profile("dayfly", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dayfly")

# Started by nohup, or by a shell in the background, the suite would hand down that these are ignored, and a
# node keeps to that.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


def _part(path: str) -> str:
    """Name the part of the suite that a test belongs to, by its file's path or its id."""
    _, _, inside = path.partition("::")[0].partition("/")
    folder = inside.split("/")[0]
    return inside if folder in FILES_APART else folder


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the folders in their order."""
    places = {folder: place for place, folder in enumerate(LONGEST_FIRST)}
    root = Path(__file__).parent
    items.sort(key=lambda item: places.get(item.path.relative_to(root).parts[0], len(LONGEST_FIRST)))


class Parts(LoadScopeScheduling):
    """Keep each part of the suite in one process."""

    def _split_scope(self, nodeid: str) -> str:
        return _part(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Parts:
    """Tell pytest-xdist which tests stay together (`-n 5`)."""
    config.option.loadscopereorder = False  # it would begin with the folder of most tests
    return Parts(config, log)
