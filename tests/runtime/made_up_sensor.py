"""A sensor that does not exist, in all that CONTRIBUTING's list "A sensor" asks for.

``STEPS`` are the files in the order of that list. A file that is new has its whole text; of one
that exists, each pair is a text that stands there once and what takes its place.
"""

from typing import Final

NAME: Final = "wind9"
ROLE: Final = "air"
#: What the simulated part measures in the end, in m/s, and as the raw value of the point.
METRES_PER_SECOND: Final = 5.25
RAW: Final = 525

DRIVER = '''"""WIND9, an anemometer that does not exist (made-up data sheet, 1.1 "Frames").

UART 9600 8N1, sends unasked every 100 ms: A5, high, low, sum of these three modulo 256;
A5 02 0D B4 = 5.25 m/s in steps of 0.01 m/s.
"""

from micropython import const

from .part import Warmup
from .stream import DAMAGED, FRAME, Link, Parser, StreamPart

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from .ports import Clock, Uart

_SIZE = const(4)
_MAX_AGE_MS = const(1000)


class Wind9Parser(Parser):
    """``speed`` of the last checked frame, in 0.01 m/s."""

    def __init__(self) -> None:
        Parser.__init__(self, _SIZE)
        self.speed = 0

    def _size(self, at: int, held: int) -> int:
        return _SIZE if self._buf[at] == 0xA5 else -1

    def _take(self, at: int, size: int) -> int:
        buf = self._buf
        if (0xA5 + buf[at + 1] + buf[at + 2]) & 0xFF != buf[at + 3]:
            return DAMAGED
        self.speed = (buf[at + 1] << 8) | buf[at + 2]
        return FRAME


class Wind9(StreamPart):
    """Value: speed of the wind in 0.01 m/s."""

    def __init__(self, clock: "Clock", uart: "Uart") -> None:
        self._parser = Wind9Parser()
        StreamPart.__init__(self, 1, Link(clock, uart, self._parser), Warmup(clock, 0), _MAX_AGE_MS)

    async def read(self, limit_s: int) -> None:
        """Deadline 1 s, or none while ``run`` serves the line."""
        self.codes[0] = await self.newest(limit_s)
        self.values[0] = self._parser.speed
'''

DUAL_TEST = '''"""The parser of WIND9 against its vectors, and a damaged frame."""

from firmware.sensors.stream import DAMAGED, FRAME
from firmware.sensors.wind9 import Wind9Parser
from tests.dual import vectors
from tests.unit.firmware.fakes import outcomes


def test_vectors_whole_and_byte_by_byte() -> None:
    for vector in vectors("sensors")["wind9"]["frames"]:
        data = bytes.fromhex(vector["hex"])
        for piece in (len(data), 1):
            parser = Wind9Parser()
            assert outcomes(parser, data, piece) == [FRAME]
            assert parser.speed == vector["speed"]


def test_a_wrong_sum_is_noticed() -> None:
    assert DAMAGED in outcomes(Wind9Parser(), bytes.fromhex("A5020DB5"), 4)
'''

SIMULATION = '''"""WIND9, an anemometer that does not exist: sends a frame every ``period_s``."""

from __future__ import annotations

from hil.sim.part import Part, Source, clamp
from hil.wires.wire import Wire


class Wind9(Part):
    """Sends ``A5``, the speed in 0.01 m/s, and the sum of these bytes, unasked."""

    def __init__(self, source: Source, *, seed: int = 0, wire: Wire | None = None) -> None:
        super().__init__(source, seed=seed, wire=wire)

    def start(self) -> None:
        super().start()
        self.every(0.1)

    def received(self, data: bytes) -> None:
        self.requests += len(data)

    def tick(self) -> None:
        speed = clamp(100 * self.source.air().wind, 0, 6000)
        body = bytes((0xA5, speed >> 8, speed & 0xFF))
        self.send(body + bytes((sum(body) & 0xFF,)))
'''

STEPS: Final[dict[str, str | list[tuple[str, str]]]] = {
    "firmware/sensors/wind9.py": DRIVER,
    "protocols/vectors/sensors.json": [
        (
            ' "a02yyuw": {',
            (
                ' "wind9": {"source": "made up", "frames": [{"hex": "A5020DB4", "speed": 525}]},\n'
                ' "a02yyuw": {'
            ),
        )
    ],
    "tests/unit/firmware/test_sensor_wind9.py": DUAL_TEST,
    "protocols/wire/registers.py": [
        ('    0x0101,\n    1,\n    "air",', '    0x0101,\n    2,\n    "air",'),
        (
            '        Point("humidity", "%RH", U16, -2, 0, 10000),\n',
            (
                '        Point("humidity", "%RH", U16, -2, 0, 10000),\n'
                '        Point("wind_speed", "m/s", U16, -2, 0, 6000),\n'
            ),
        ),
    ],
    "protocols/registers_doc.py": [
        (
            '        "humidity": "relative humidity (SHT3x)",\n',
            (
                '        "humidity": "relative humidity (SHT3x)",\n'
                '        "wind_speed": "speed of the wind (WIND9)",\n'
            ),
        )
    ],
    "firmware/roles/air.py": [
        (
            "from firmware.sensors.sht3x import Sht3x\n",
            "from firmware.sensors.sht3x import Sht3x\nfrom firmware.sensors.wind9 import Wind9\n",
        ),
        (
            "        self._fit(Sht3x(board, self._i2c()), 5)\n",
            (
                "        self._fit(Sht3x(board, self._i2c()), 5)\n"
                '        self._fit(Wind9(board, self._uart("wind9")), 7)\n'
            ),
        ),
    ],
    "boards/unix/board.toml": [
        (
            'a02yyuw = { wiring = "pty", baud = 9600 }\n',
            'a02yyuw = { wiring = "pty", baud = 9600 }\nwind9 = { wiring = "pty", baud = 9600 }\n',
        )
    ],
    "boards/unix/node_file.py": [('"a02yyuw", "vc0706")', '"a02yyuw", "vc0706", "wind9")')],
    "hil/sim/wind9.py": SIMULATION,
    "hil/sim/part.py": [
        (
            "    co2: float | None  # ppm\n",
            "    co2: float | None  # ppm\n    wind: float = 0.0  # m/s\n",
        )
    ],
    "hil/engines/unix.py": [
        ('("pms5003", "mhz19b", "bridge")', '("pms5003", "mhz19b", "wind9", "bridge")')
    ],
    "hil/bench.py": [
        (
            "from hil.sim.vc0706 import Vc0706\n",
            "from hil.sim.vc0706 import Vc0706\nfrom hil.sim.wind9 import Wind9\n",
        ),
        (
            '            parts = {"pms5003": self.pms, "mhz19b": self.mhz}\n',
            (
                '            parts = {"pms5003": self.pms, "mhz19b": self.mhz}\n'
                '            wind = Wind9(source, seed=seed + 7, wire=board.wire("wind9"))\n'
                '            parts["wind9"] = wind\n'
            ),
        ),
    ],
}
"""File to touch -> its text, or what changes in it."""

GENERATED: Final = {
    "docs/registers.md": "tests.tools.registers_page --write",
    "tests/budgets.toml": "tests.tools.budgets",
}
"""File that a command writes -> the module to run and its arguments."""

#: Run in the changed tree: a node of the role on the simulated part, read over its line.
READ_IT = f"""
import asyncio
import sys
from pathlib import Path

from pymodbus.client import AsyncModbusSerialClient

from hil.bench import Bench
from hil.sim.part import Air, Steady
from protocols.wire import registers, sample

AIR = Air(pm2_5=18, temperature=21.5, humidity=44.0, co2=608, wind={METRES_PER_SECOND})


async def main() -> None:
    async with Bench(Path(sys.argv[1]), Steady(AIR), roles=("{ROLE}",)) as bench:
        await bench.power_on()
        client = AsyncModbusSerialClient(bench.port, baudrate=bench.baud, timeout=2)
        await client.connect()
        async with asyncio.timeout(30):
            while True:
                answer = await client.read_input_registers(
                    registers.SAMPLE_ADDRESS, count=registers.AIR.words, device_id=1
                )
                frame = b"".join(word.to_bytes(2, "big") for word in answer.registers)
                read = sample.decode(frame)
                if read.quality[7] == registers.OK:
                    break
                await asyncio.sleep(0.2)
        client.close()
        print(registers.AIR.points[7].name, read.raw[7])


asyncio.run(main())
"""
