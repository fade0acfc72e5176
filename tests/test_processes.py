"""What the other tests stand on: ports of their own."""

import os
import resource

import pytest

from tests.processes import NodeProcess, free_port


def test_a_node_costs_its_test_no_descriptor() -> None:
    """Hundreds of them are made in one process."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        NodeProcess([], 0).log.unlink()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_process_out_of_descriptors_is_told_and_seeks_no_port_for_ever() -> None:
    """Only a port that somebody has leads to the next one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            free_port()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert free_port() != free_port()
