"""A command refuses to start where it may open too few files: later, each of them would fail."""

import errno
import resource
from typing import Final

from gateway_agent.errors import OperatorError

# `run` holds 13: standard streams, loop, lock, socket, outbox, log, broker. The rest is for name
# look-ups and what is open for a moment. Each bus takes one more.
MIN_OPEN_FILES: Final = 32
REMEDY: Final = (
    "raise the limit of open files, with `ulimit -n 1024` in a shell or `LimitNOFILE=1024` in the"
    " unit of systemd, and start again"
)


def check_open_files(buses: int = 0) -> None:
    """Raise OperatorError if this process may open too few files.

    The soft limit is raised if it is too low: systemd and most shells leave it at 1024.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MIN_OPEN_FILES + buses
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        text = f"expected a limit of at least {wanted} open files, got {hard}: {REMEDY}"
        raise OperatorError(text)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def is_too_many_open_files(error: OSError) -> bool:
    """Return whether a file was not opened because this process, or the system, has too many."""
    return error.errno in (errno.EMFILE, errno.ENFILE)
