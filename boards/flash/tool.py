"""A program of the system that flashes: run it, watch what it prints, end it if it hangs."""

import os
import select
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from boards.errors import ToolMissing

from .errors import STALLED, FlashingError

_PIECE: Final = 4096
_KEPT: Final = 65536  # bytes of output: no program that repeats itself fills the memory


@dataclass(frozen=True, slots=True)
class ToolRun:
    """How a run ended, and the last of what it printed on both outputs."""

    status: int
    output: str

    @property
    def last_line(self) -> str:
        """Return the last line that says anything."""
        lines = [line.strip() for line in self.output.replace("\r", "\n").split("\n")]
        return next((line for line in reversed(lines) if line), f"status {self.status}")


def run_tool(
    command: Sequence[str], limit_s: float, seen: Callable[[str], None] = lambda text: None
) -> ToolRun:
    """Run a program of the Debian package of its name; ``seen`` gets all that it printed so far.

    BoardError if it is not installed or does not end within ``limit_s``.
    """
    program = command[0]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C"},
        )
    except OSError as error:
        raise ToolMissing(program, "this way of flashing", program) from error
    output = ""
    end = time.monotonic() + limit_s
    with process:
        assert process.stdout is not None
        try:
            while select.select([process.stdout], [], [], max(end - time.monotonic(), 0))[0]:
                piece = os.read(process.stdout.fileno(), _PIECE)
                if not piece:
                    return ToolRun(process.wait(), output)
                output = (output + piece.decode("utf-8", "replace"))[-_KEPT:]
                seen(output)
        finally:
            process.kill()  # does nothing to one that has ended
    raise FlashingError(
        STALLED, f"{program} did not end within {limit_s:g} s; it last printed: {output[-200:]!r}"
    )
