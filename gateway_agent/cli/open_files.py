"""A command refuses to start where it may open too few files: later, each of them would fail."""

import errno
import resource
from typing import Final

# `run` holds 14 with one bus: standard streams, loop, lock, socket, outbox, log, broker, bus. The
# rest is for further buses, name look-ups and what is open for a moment.
MIN_OPEN_FILES: Final = 32
REMEDY: Final = (
    "raise the limit of open files, with `ulimit -n 1024` in a shell or `LimitNOFILE=1024` in the"
    " unit of systemd, and start again"
)


def too_few_open_files() -> str:
    """Return what is wrong with the limit of open files and what to do; "" if nothing is."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY or limit >= MIN_OPEN_FILES:
        return ""
    return f"expected a limit of at least {MIN_OPEN_FILES} open files, got {limit}: {REMEDY}"


def is_too_many_open_files(error: OSError) -> bool:
    """Return whether a file was not opened because this process, or the system, has too many."""
    return error.errno in (errno.EMFILE, errno.ENFILE)
