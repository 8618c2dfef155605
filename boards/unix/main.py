"""A node as a process: ``micropython boards/unix/main.py NODE.json`` (see :mod:`.spec`).

The console says, each as one line of JSON: at every boot ``boot_epoch, role, mem_alloc``; at the
first SIGINT, which ends sampling but not serving, ``sampled_frames, sampled_readings,
boot_epoch, missed_slots`` of that boot; when a boot ends by itself, the same figures as
``ended_frames, ended_readings``. The second SIGINT ends the process with status 0. A restart
(commanded, or by the watchdog) is a new boot within the same process. Status 2: the file or a
tty cannot be used.
"""

import asyncio
import json
import sys

# Started by path, from anywhere: the tree this file lies in is three names up.
_parts = __file__.rsplit("/", 3)
sys.path.insert(0, _parts[0] if len(_parts) > 3 else ("../..", "..", ".")[len(_parts) - 1])

from boards.unix import port  # noqa: E402  # after the path is set

port.collect_often(True)

from boards.unix.board import (  # noqa: E402
    COMMANDED,
    POWER_ON,
    WATCHDOG,
    PortError,
    UnixBoard,
)
from boards.unix.spec import Spec, SpecError, load  # noqa: E402
from firmware.node.app import RESTART, Node, assemble  # noqa: E402
from firmware.roles import make_role  # noqa: E402

_WATCH_MS = 100
_PAUSE_MS = 1000  # before a boot that follows a failure: a broken node must not spin


def say(fields: "dict[str, object]") -> None:
    """One line of JSON on the console."""
    print(json.dumps(fields))


async def attend(node: Node, board: UnixBoard) -> int:
    """Run one boot to its end; the reset cause of the next. The watchdog's bite is here."""
    running = asyncio.create_task(node.run())
    while not node.outcome:
        await port.sleep_ms(_WATCH_MS)
        if board.watchdog is not None and board.watchdog.expired():
            node.fail("watchdog: sampling or serving made no progress")
            running.cancel()
    if node.outcome == RESTART:
        return COMMANDED
    say({"failure": node.failure})
    await port.sleep_ms(_PAUSE_MS)
    return WATCHDOG


class Process:
    """The boots of one process. ``sampling`` ends with the first SIGINT, for all that follow."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.sampling = True
        self.cause = POWER_ON

    def boot(self) -> None:
        """One boot, to its end. PortError if a tty cannot be used."""
        board = UnixBoard(self.spec, self.cause)
        try:
            port.collect_often(True)
            node = assemble(board, self.spec.role, make_role, False)
            port.collect_often(False)
            if node.key.problem:
                say({"warning": node.key.problem})
            used = board.heap()[0]
            try:
                say({"boot_epoch": node.epoch.value, "role": self.spec.role, "mem_alloc": used})
                self._run(node, board)
            except KeyboardInterrupt:
                if not self.sampling:
                    raise
                self.sampling = False
                # The signal may have hit any task in the middle of its work, so all are made
                # anew. What the node shows changes by one store, so it is whole.
                port.forget_tasks()
                self._tell("sampled", node)
                self._run(node, board)
            self._tell("ended", node)
        finally:
            port.forget_tasks()
            board.close()

    def _run(self, node: Node, board: UnixBoard) -> None:
        if not self.sampling:
            node.stop_sampling()
        self.cause = asyncio.run(attend(node, board))

    def _tell(self, word: str, node: Node) -> None:
        frame = node.sample_frame
        say(
            {
                word + "_frames": frame.seq,
                word + "_readings": frame.readings,
                "boot_epoch": node.epoch.value,
                "missed_slots": node.schedule.missed,
            }
        )


def main(arguments: "list[str]") -> int:
    """The process; returns its exit status."""
    try:
        if len(arguments) != 2:
            raise SpecError("usage: micropython boards/unix/main.py NODE.json")
        process = Process(load(arguments[1]))
        while True:
            process.boot()
    except KeyboardInterrupt:
        return 0
    except (SpecError, PortError) as error:
        print(error)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv))
