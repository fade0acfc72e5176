"""The network that tests share, one after another: ten hosts, without faults at each test's start."""

from collections.abc import Generator

import pytest

from tests.hosts.network import Network, network


@pytest.fixture(scope="session")
def ten_hosts() -> Generator[Network, None, None]:
    """Ten hosts on one wire."""
    with network(10) as made:
        yield made


@pytest.fixture
def net(ten_hosts: Network) -> Generator[Network, None, None]:
    """The ten hosts; whatever the test does to the wire is undone."""
    try:
        yield ten_hosts
    finally:
        ten_hosts.heal()
