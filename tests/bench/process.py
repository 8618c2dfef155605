"""What processes under load cost, by the kernel's count, and how they are started and ended."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

_END_S: Final = 60.0
_LOOK_S: Final = 0.02
_CPU_OF_ALL_THREADS: Final = 2  # CPUCLOCK_SCHED, in the clock id that clock_getcpuclockid(3) gives


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process so far, all its threads, to the nanosecond."""
    return time.clock_gettime((~pid << 3) | _CPU_OF_ALL_THREADS)


def resident_mib(pid: int) -> float:
    """Return the memory that a process holds now, in MiB."""
    return _status_mib(pid, "VmRSS:")


def peak_mib(pid: int) -> float:
    """Return the largest resident set of a process so far, in MiB."""
    return _status_mib(pid, "VmHWM:")


def _status_mib(pid: int, key: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no {key} for {pid}")


@contextlib.contextmanager
def running(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program that writes to ``log``; it gets SIGTERM at the end."""
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as child:
        try:
            yield child
        finally:
            child.terminate()
            child.wait(_END_S)


def count_when_it_rises(
    count: Callable[[], int], child: subprocess.Popen[bytes], log: Path, within_s: float = 60.0
) -> tuple[float, int]:
    """Return time and value when ``count`` next rises.

    Batches come once in a while: measured from one rise to another, a short run counts whole ones.
    RuntimeError if the process ends or nothing rises.
    """
    end = time.monotonic() + within_s
    before = count()
    while (now := count()) <= before:
        if child.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"nothing new was counted; the log:\n{log.read_text()[-4000:]}")
        time.sleep(_LOOK_S)
    return time.monotonic(), now
