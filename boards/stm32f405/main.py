"""The node on this board. The C side calls ``run()`` after every reset.

The console says, each as one line of JSON: at every boot ``boot_epoch, role, mem_alloc, mem_free,
store, reset_cause, config`` (``store`` is "flash", or "volatile" where the flash takes nothing;
``config`` is the fingerprint of the settings in force), or ``error`` where the board was not
commissioned, which then stays in the REPL; before either ``last_fault`` where the run before ended
in one. Ctrl-C ends the node and leads into the REPL as well;
there ``import main; main.serve()`` goes on serving without sampling, after the line with
``sampled_frames, sampled_readings, boot_epoch, missed_slots`` of this boot.

A node that ends by itself says ``failure`` and raises, so that the C side records why and resets.
"""

import asyncio
import json

from micropython import const

from boards.stm32f405 import port
from boards.stm32f405.board import FlashFiles, Stm32Board
from boards.stm32f405.record import NAME, RecordError, parse
from firmware.node.app import RESTART, Node, assemble
from firmware.node.watchdog import TIMEOUT_MS
from firmware.roles import make_role

# Of the watchdog while somebody works at the REPL: the most it can wait. It cannot be stopped; the
# REPL feeds it while it waits for a byte (console.c), so this is for code that runs from there.
_REPL_MS = const(26000)


class State:
    """What ``serve`` needs of the boot before it."""

    node: "Node | None" = None


def say(fields: "dict[str, object]") -> None:
    """One line of JSON on the console."""
    print(json.dumps(fields))


def boot() -> "Node | None":
    """Make the node of this boot and say so; None if the board was not commissioned."""
    # First, so that a board that fails at every boot still says why.
    fault = port.last_fault()
    if fault is not None:
        say({"last_fault": fault[0], "text": fault[1], "uptime_ms": fault[-1]})
    content = FlashFiles().read(NAME)
    if content is None:
        say({"error": "no record 'board' in flash: provision this board"})
        return None
    try:
        record = parse(content)
    except RecordError as error:
        say({"error": "record 'board' in flash: %s" % error})
        return None
    board = Stm32Board(record)
    node = assemble(board, record.role, make_role, False)
    State.node = node
    used, free = board.heap()
    say(
        {
            "boot_epoch": node.epoch.value,
            "role": record.role,
            "mem_alloc": used,
            "mem_free": free,
            "store": "flash" if port.store_writable() else "volatile",
            "reset_cause": board.reset_cause(),
            "config": node.config.fingerprint(),
        }
    )
    if node.key.problem:
        say({"warning": node.key.problem})
    return node


def attend(node: Node) -> None:
    """Run until Ctrl-C; whatever else ends a run ends in a reset."""
    port.wdt(TIMEOUT_MS)
    try:
        outcome = asyncio.run(node.run())
    except KeyboardInterrupt:
        port.wdt(_REPL_MS)
        # It may have hit any task in the middle of its work, so all are made anew. What the node
        # shows changes by one store, so it is whole.
        port.forget_tasks()
        return
    if outcome == RESTART:
        port.reset()
    say({"failure": node.failure})
    raise RuntimeError(node.failure)


def run() -> None:
    """One boot. Returns into the REPL after Ctrl-C, or at once on a board without a role."""
    node = boot()
    if node is not None:
        attend(node)


def serve() -> None:
    """From the REPL: serve on, sample no more in this boot."""
    node = State.node or boot()
    if node is None:
        return
    node.stop_sampling()
    frame = node.sample_frame
    say(
        {
            "sampled_frames": frame.seq,
            "sampled_readings": frame.readings,
            "boot_epoch": node.epoch.value,
            "missed_slots": node.schedule.missed,
        }
    )
    attend(node)
