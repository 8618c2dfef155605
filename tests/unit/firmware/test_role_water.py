"""The water role with its four parts in memory."""

import asyncio

from firmware.roles.water import Water
from protocols.wire.registers import (
    FAULT,
    NO_SAMPLE,
    OK,
    RANGE,
    STATUS_SENSOR_FAULT,
    TIMEOUT,
)
from tests.dual import vectors
from tests.unit.firmware.fakes import Adc, Board, Config, Events, OneWire, Uart, take, until

VECTORS = vectors("sensors")
A02 = bytes.fromhex(VECTORS["a02yyuw"]["frames"][0]["hex"])
# 12.5 degC and the power-on value; CRCs worked out with the definition in application note 27.
ROM = bytes.fromhex("281CB801000000C6")
PAD = bytes.fromhex("C8004B467FFF0C1039")
POWER_ON = bytes.fromhex(VECTORS["ds18b20"]["scratchpads"][0])


class Bench:
    def __init__(self, step: int = 5, **changed: int) -> None:
        self.a02 = Uart()
        self.wire = OneWire(ROM, [PAD])
        self.ph = Adc([35076])  # 1766.22 mV: 5.50 pH
        self.ntu = Adc([55577])  # 48 below the point of 0 NTU, of 3988 for 1000
        self.board = Board(
            step, a02yyuw=self.a02, onewire=self.wire, ph=self.ph, turbidity=self.ntu
        )
        self.config = Config(**changed)
        self.events = Events()
        self.role = Water(self.board, self.config, self.events)

    def sample(self) -> "tuple[list[int], list[int]]":
        return asyncio.run(take(self.role, self.config))


def test_all_parts_well() -> None:
    bench = Bench()
    bench.a02.rx = A02
    assert bench.sample() == ([OK] * 4, [1953, 1250, 550, 120])
    assert bench.role.status() == 0
    # 12.5 degC is 200 sixteenths.
    assert list(bench.role.raw) == [1953, 200, 35076, 55577]


def test_each_part_fails_alone() -> None:
    bench = Bench(step=20)
    bench.a02.rx = b"\xff\x00\x1d\x1c"  # 29 mm: inside the blind zone
    bench.wire.pads = [POWER_ON]
    bench.ph.readings = [0]
    bench.config.set("ntu_raw_2", 55625)  # both calibration points at one reading
    quality, raw = bench.sample()
    assert quality == [RANGE, NO_SAMPLE, RANGE, FAULT]
    assert raw == [0] * 4
    assert bench.role.status() == STATUS_SENSOR_FAULT
    # Who calibrates needs the reading just where there is no value.
    assert list(bench.role.raw) == [29, 0, 0, 55577]


def test_a_calibrated_value_beyond_its_scale_is_out_of_range() -> None:
    bench = Bench()
    bench.a02.rx = A02
    bench.ph.readings = [60000]  # 3021 mV: beyond 0 pH
    bench.ntu.readings = [55700]  # below 0 NTU
    assert bench.sample()[0] == [OK, OK, RANGE, RANGE]
    assert list(bench.role.raw)[2:] == [60000, 55700]


def test_everything_dead() -> None:
    bench = Bench(step=20)
    bench.wire.present = False
    bench.ph.readings = []
    bench.ntu.readings = []
    bench.board.at += 3_000
    assert bench.sample() == ([TIMEOUT] * 4, [0] * 4)
    assert list(bench.role.raw) == [0] * 4
    assert asyncio.run(bench.role.selftest()) == 0b1111


def test_the_service_keeps_the_level_fresh() -> None:
    async def scenario() -> None:
        bench = Bench(step=1, fitted=1)
        service = asyncio.create_task(bench.role.run())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        bench.a02.rx = bytes.fromhex("FF001E1D") * 3 + A02
        await until(lambda: bench.a02.rx == b"")
        quality, raw = await take(bench.role, bench.config)
        assert (quality[0], raw[0]) == (OK, 1953)
        service.cancel()

    asyncio.run(scenario())
