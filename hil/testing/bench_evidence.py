"""What a bench adds to the folder of a failing test: consoles, and the bus in three forms."""

from __future__ import annotations

import json
from functools import partial
from typing import Final

from hil.bench import Bench
from hil.bus import Trace, decode, pcapng
from hil.engines.base import Board
from hil.testing.evidence import Evidence

_TRACE_FRAMES: Final = 2000


def show_bench(evidence: Evidence, bench: Bench) -> None:
    """Put consoles and bus trace into the folder of a test that fails."""
    for role, board in bench.nodes.items():
        evidence.add(f"console-{role}.log", partial(_console, board))
    bursts = bench.line.trace.bursts
    evidence.add("bus.txt", lambda: decode.text(list(bursts)[-_TRACE_FRAMES:]))
    evidence.add("bus.pcapng", lambda: _pcapng(bench))
    evidence.add("timeline.svg", lambda: _timeline(bench))
    for name, link in bench.links.items():
        evidence.add(f"link-{name}.jsonl", partial(_bursts, link.trace))
    if bench.line.late():
        evidence.add("bus-late.json", lambda: json.dumps(bench.line.late()))


def _console(board: Board) -> str:
    log = board.folder / "console.log"
    if log.exists():
        return log.read_text(encoding="utf-8", errors="replace")
    return "\n".join(board.console.lines) + "\n"


def _bursts(trace: Trace) -> str:
    return "".join(burst.to_json() + "\n" for burst in trace.bursts)


def _pcapng(bench: Bench) -> bytes:
    trace = bench.line.trace
    return pcapng.dump(list(trace.bursts), wall_ns=trace.wall_ns)


def _timeline(bench: Bench) -> str:
    from hil.bus.timeline import timeline_svg

    return timeline_svg(list(bench.line.trace.bursts))
