"""What the kernel knows about processes, this machine's load, and the loopback interface (Linux)."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU time over all cores since the machine started: in use, in all, and used by this process and by
    the children it has waited for."""

    busy_s: float
    total_s: float
    own_s: float


def usage() -> Usage:
    """Read the machine's CPU time."""
    first = Path("/proc/stat").read_text().split("\n", 1)[0]
    user, nice, system, idle, waiting, *rest = (int(n) / _TICKS_PER_S for n in first.split()[1:9])
    busy = user + nice + system + sum(rest)
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    return Usage(busy, busy + idle + waiting, own)


def others_since(before: Usage) -> dict[str, float]:
    """Return how much of the whole machine processes that are not ours used, beside the load average.

    Call it when the processes of a round have been waited for: only then are they known as ours.
    """
    after = usage()
    others_s = (after.busy_s - before.busy_s) - (after.own_s - before.own_s)
    total_s = max(after.total_s - before.total_s, 1 / _TICKS_PER_S)
    return {
        "machine_others_percent": round(max(others_s, 0) / total_s * 100, 1),
        "machine_load": os.getloadavg()[0],
        "machine_cores": os.cpu_count() or 1,
    }


def cpu_s(pid: int) -> float:
    """Return the CPU time a process has used, in seconds, user and system together."""
    # The name in brackets may hold blanks; the fields after it are utime and stime at 11 and 12.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def queued_s(pid: int) -> float:
    """Return how long a process's living threads were ready to run and had no core, in seconds.

    Source: Linux, sched-stats, `/proc/<pid>/schedstat`: the second field, in nanoseconds.
    """
    files = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[1]) for file in files) / 1e9


def rss_mb(pid: int) -> float:
    """Return a process's resident memory in MB (10^6 bytes)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ProcessLookupError(f"process {pid} has ended")


@dataclass(frozen=True, slots=True)
class Traffic:
    """What has crossed the loopback interface of this namespace: IP packets and their bytes, IP headers
    included, each counted once; `datagrams`: how many of them were UDP."""

    bytes: int
    packets: int
    datagrams: int


def loopback_traffic() -> Traffic:
    """Read the counters. The kernel counts a loopback packet both as sent and as received; this is one."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    counters = next(line for line in lines if line.strip().startswith("lo:")).partition(":")[2].split()
    names, values = (
        line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Udp:")
    )
    return Traffic(int(counters[0]), int(counters[1]), int(values[names.index("OutDatagrams")]))
