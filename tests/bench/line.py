"""How long one poll takes on a serial line: the agent's reader on a pty with the line's own times.

A pty has no speed. So the device waits for as long as the request, its own turnaround and its
answer would be on the wire, and then answers.
"""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway_agent.clock import SystemClock
from gateway_agent.config import ProfileDevice, SerialBus
from gateway_agent.counters import Counters
from gateway_agent.field.cuts import CutFile
from gateway_agent.field.devices import OpenProfile
from gateway_agent.field.master import Master
from gateway_agent.field.profile import load_profile
from gateway_agent.field.profile_reader import ProfileReader
from tests.unit.gateway_agent.slave import PtySlave, Reply, raw_answer, registers

from . import mixed

BAUDRATES: Final = (9600, 19_200, 115_200)
GAP_MS: Final = 20  # between two requests, as slow devices need
_TURNAROUND_MS: Final = 5
_POLLS: Final = 20
_MAX_WORDS: Final = 40  # so that a poll is several requests, with a pause between them
_BITS: Final = 10  # of a character, 8N1


async def _polls(folder: Path, baudrate: int) -> tuple[float, float]:
    profile = folder / "mixed.toml"
    profile.write_text(mixed.mixed_profile())
    content = mixed.image(0)

    def reply(request: bytes) -> Iterator[Reply]:
        unit, function, address, count = registers(request)
        answer = raw_answer(unit, content[2 * address : 2 * (address + count)], function)
        wire_s = (len(request) + len(answer)) * _BITS / baudrate
        yield wire_s + _TURNAROUND_MS / 1000, answer

    slave = PtySlave(folder, reply)
    device = ProfileDevice(name="d", unit=1, profile=str(profile), period_ms=1000)
    bus = SerialBus(
        name="b",
        port=str(slave.path),
        baudrate=baudrate,
        turnaround_ms=_TURNAROUND_MS,
        request_gap_ms=GAP_MS,
        max_words=_MAX_WORDS,
        device=(device,),
    )
    opened = OpenProfile(device, load_profile(str(profile)))
    counters = Counters()
    reader = ProfileReader(bus, opened, "g.d", SystemClock(), counters, CutFile(folder))
    master = Master(bus, counters)
    try:
        await reader.poll(master)
        start = time.monotonic()
        for _ in range(_POLLS):
            await reader.poll(master)
        took = time.monotonic() - start
    finally:
        master.close()
        slave.close()
    if reader.errors:
        raise RuntimeError(f"{reader.errors} reads failed: {reader.problem}")
    return took * 1000 / _POLLS, mixed.predicted_ms(profile, bus)


def poll_ms(folder: Path, baudrate: int) -> tuple[float, float]:
    """Return the ms that one poll took, and that were predicted."""
    return asyncio.run(_polls(folder, baudrate))
