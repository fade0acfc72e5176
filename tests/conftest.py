"""Four parts of the suite that can run side by side, each in the order in which it stands.

Simulated clusters keep a core busy and know no real time; hosts in network namespaces and node processes
mostly wait, and share no network. One after the other they take three times as long. What is tested of HTTP,
with the dashboard's one browser, and all other processes are two parts.
"""

# pyright: reportMissingTypeStubs=false
# xdist has types, but no marker that says so.

import signal

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

PARTS = {
    "sim": "virtual time",
    "planted": "virtual time",
    "hosts": "namespaces",
    "dashboard": "HTTP",
    "api": "HTTP",
}
"""Folders, and the part of the suite each belongs to; all others are `processes`."""

# Started by nohup, the suite would hand down that SIGHUP is ignored, and a node keeps to that.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Parts(LoadScopeScheduling):
    """Keep each part of the suite in one process."""

    def _split_scope(self, nodeid: str) -> str:
        return PARTS.get(nodeid.split("/")[1], "processes")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Parts:
    """Tell pytest-xdist which tests stay together (`-n 4`)."""
    return Parts(config, log)
