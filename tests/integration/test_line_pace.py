"""A master on a terminal of a line in another process, which counts the pauses between polls."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway_agent.config import SerialBus
from gateway_agent.counters import Counters
from gateway_agent.field.master import Master
from protocols.modbus_client import Read, read_request
from protocols.wire.modbus.pdu import READ_INPUT
from tests.bench.paced_line import Turnarounds

BAUDRATE = 19200
WORDS = 2
POLLS = 50
# The own timers of a loop are late by more than this at each poll: they wait 2 ms for what is left
# of 1.8.
SHORT_US = 350
pytestmark = pytest.mark.timeout(60)


@contextmanager
def paced_line(found: Turnarounds) -> Iterator[str]:
    """Run a line with a device; yields its port, and fills ``found`` at the end."""
    program = [sys.executable, "-m", "tests.bench.paced_line", str(BAUDRATE), str(WORDS), "1"]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        figures = "{}"
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            figures, _ = process.communicate()  # closes its input, which ends it
        found.__dict__.update(json.loads(figures))


async def test_no_pause_is_below_t35_and_most_are_hardly_longer() -> None:
    found = Turnarounds()
    request = read_request(1, Read(READ_INPUT, 0, WORDS))
    with paced_line(found) as port:
        bus = SerialBus(name="line", port=port, baudrate=BAUDRATE, timeout_ms=2000, device=())
        master = Master(bus, Counters())
        try:
            for _ in range(POLLS):
                await master.read(request)
        finally:
            master.close()
    assert len(found.excess_us) == POLLS - 1
    assert found.violations == 0
    # What else runs on the machine delays some of them.
    assert sorted(found.excess_us)[POLLS // 10] < SHORT_US
