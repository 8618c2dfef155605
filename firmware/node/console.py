"""What a node prints on its console: lines of JSON, the same on every board.

Benches and technicians read them, so each has its fixed keys: see docs/board.md.
"""

import json

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from .app import Node


def write_line(fields: "dict[str, object]") -> None:
    """Print one line of JSON."""
    print(json.dumps(fields))


def write_fault(kind: str, text: str, uptime_ms: int) -> None:
    """Print what ended the run before this one."""
    write_line({"last_fault": kind, "text": text, "uptime_ms": uptime_ms})


def write_boot_line(node: "Node") -> None:
    """Print what this boot is, and why it has no usable key where that is so.

    ``config`` is the fingerprint of the settings in force. A board that is a process has no medium
    and prints the first three fields alone.
    """
    board = node.board
    used, free = board.heap()
    medium = board.medium()
    if medium:
        write_line(
            {
                "boot_epoch": node.epoch.value,
                "role": node.sample_frame.map.role,
                "mem_alloc": used,
                "mem_free": free,
                "store": medium,
                "reset_cause": board.reset_cause(),
                "config": node.config.fingerprint(),
            }
        )
    else:
        write_line(
            {
                "boot_epoch": node.epoch.value,
                "role": node.sample_frame.map.role,
                "mem_alloc": used,
            }
        )
    if node.key.problem:
        write_line({"warning": node.key.problem})


def write_figures(word: str, node: "Node") -> None:
    """Print what this boot has sampled; ``word`` is "sampled" or "ended"."""
    frame = node.sample_frame
    write_line(
        {
            word + "_frames": frame.seq,
            word + "_readings": frame.readings,
            "boot_epoch": node.epoch.value,
            "missed_slots": node.schedule.missed,
        }
    )
