"""What the other tests stand on: ports of their own."""

import resource

import pytest

from tests.processes import free_port


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
