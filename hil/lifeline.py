"""Make a child process end together with the bench, even when the bench itself is killed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import Final

# prctl(PR_SET_PDEATHSIG, ...), see prctl(2): the kernel sends the signal when the thread that
# started the child ends. exec keeps the setting.
_LAUNCH: Final = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, int(sys.argv[1]));"
    " os.execv(sys.argv[2], sys.argv[2:])"
)


def bound(command: Sequence[str], number: signal.Signals = signal.SIGKILL) -> list[str]:
    """Return ``command`` (first word: the path of a program) with a launcher before it.

    Start the result in a thread that runs as long as the child is to run: when that thread ends,
    the kernel sends the child signal ``number``.
    """
    return [sys.executable, "-I", "-S", "-c", _LAUNCH, str(int(number)), *command]
