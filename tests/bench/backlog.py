"""How long an outbox takes to open, which reads and checks everything that waits in it."""

import time
from pathlib import Path
from typing import Final

from gateway_agent.clock import SystemClock
from gateway_agent.counters import Counters
from gateway_agent.store.outbox import Outbox
from gateway_agent.store.settings import StoreContext, StoreSettings
from protocols.uplink import ProfileTemplate, Stamp

_POINTS: Final = 10  # of a record
_COMMIT: Final = 200  # records
_MAX_BYTES: Final = 1 << 32


def open_s(directory: Path, readings: int) -> float:
    """Fill an outbox as a gateway without its collector does; return the seconds to open it."""
    context = StoreContext(
        StoreSettings(directory, "bench", _MAX_BYTES, 1000), SystemClock(), Counters()
    )
    template = ProfileTemplate("bench.d", [(f"point_{n}", "Cel", -1) for n in range(_POINTS)])
    box = Outbox.open(context)
    for first in range(0, readings // _POINTS, _COMMIT):
        records = [
            template.record([(at + n) % 30_000 for n in range(_POINTS)], Stamp(at, at, None, 0, 0))
            for at in range(first, first + _COMMIT)
        ]
        box.append(records, {})
    box.close()
    start = time.monotonic()
    box = Outbox.open(context)
    took_s = time.monotonic() - start
    assert box.stats().depth * _POINTS == readings
    box.close()
    return took_s
