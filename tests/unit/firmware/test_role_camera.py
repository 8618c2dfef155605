"""The camera role: pictures, motion, the three kinds of tamper, and a camera that fails."""

import asyncio
import hashlib

from firmware.roles.camera import Camera
from protocols.wire.registers import (
    CHECKSUM,
    EVENT_MOTION,
    EVENT_SENSOR,
    EVENT_TAMPER_COVERED,
    EVENT_TAMPER_DARK,
    EVENT_TAMPER_FROZEN,
    NOT_FITTED,
    OK,
    STATUS_MOTION,
    STATUS_SENSOR_FAULT,
    STATUS_TAMPER,
    STATUS_WARMUP,
    TIMEOUT,
    WARMUP,
)
from tests.unit.firmware.fakes import Board, Config, Events, Uart, growth, take, until
from tests.unit.firmware.test_sensor_jpeg import frame
from tests.unit.firmware.test_sensor_vc0706 import MOTION, Fake

SNAPSHOTS, BYTES, LUMA, CONTRAST, MOTIONS, TAMPERS = range(6)


class Bench:
    """A camera node; ``show`` takes one picture of what is in the named file."""

    def __init__(self, step: int = 0, **changed: int) -> None:
        if "warmup_limit_s" not in changed:
            changed["warmup_limit_s"] = 0
        self.fake = Fake()
        self.uart = Uart(self.fake.answer)
        self.board = Board(step, vc0706=self.uart)
        self.config = Config(**changed)
        self.events = Events()
        self.role = Camera(self.board, self.config, self.events)
        self.raw: list[int] = []
        self._counter = 0

    def sample(self) -> "tuple[list[int], list[int]]":
        quality, self.raw = asyncio.run(take(self.role, self.config))
        return quality, self.raw

    def show(self, name: str, live: bool = True) -> "list[int]":
        """``live`` adds a comment that differs each time, as a sensor's noise would."""
        data = frame(name)
        if live:
            self._counter += 1
            data = data[:2] + b"\xff\xfe\x00\x03" + bytes((self._counter,)) + data[2:]
        self.fake.picture = data
        return self.sample()[0]


def test_one_picture() -> None:
    bench = Bench()
    assert bench.show("day.jpg", live=False) == [OK] * 6
    data = frame("day.jpg")
    assert bench.raw == [1, len(data), 45, 17, 0, 0]
    image = bench.role.image
    assert image is not None
    assert bytes(image.data[: image.length]) == data
    assert image.sha == hashlib.sha256(data).digest()
    assert image.number == 1
    assert bench.role.status() == 0
    assert bench.events.pushed == []


def test_the_last_good_picture_is_kept_when_the_next_one_is_bad() -> None:
    bench = Bench()
    bench.show("day.jpg", live=False)
    data = frame("day.jpg")
    bench.fake.picture = data[:1500] + b"\xff\xd9"  # start and end are there, the middle is not
    quality, raw = bench.sample()
    assert quality == [OK] + [CHECKSUM] * 5
    assert raw == [1, 0, 0, 0, 0, 0]
    image = bench.role.image
    assert image is not None
    assert bytes(image.data[: image.length]) == data
    assert image.number == 1
    assert bench.role.status() == STATUS_SENSOR_FAULT
    assert bench.show("day_car_1.jpg") == [OK] * 6
    assert image.number == 2


def test_a_held_picture_stays_while_later_ones_are_examined() -> None:
    bench = Bench(frozen_count=3)
    bench.show("day.jpg", live=False)
    image = bench.role.image
    assert image is not None
    image.held = True
    data = frame("day.jpg")
    for name in ("dark_1.jpg", "dark_2.jpg"):
        bench.show(name)
        assert bytes(image.data[: image.length]) == data
        assert (image.number, image.sha) == (1, hashlib.sha256(data).digest())
    assert bench.raw[:3] == [3, len(frame("dark_2.jpg")) + 5, 2]
    assert bench.events.pushed == [(EVENT_TAMPER_DARK, 1)]
    image.held = False
    bench.show("day.jpg")
    assert image.number == 4
    assert bytes(image.data[: image.length]) != data
    image.held = True  # equal ones are counted although they are not kept
    bench.show("day_car_1.jpg", live=False)
    bench.show("day_car_1.jpg", live=False)
    bench.show("day_car_1.jpg", live=False)
    assert bench.events.pushed[2:] == [(EVENT_TAMPER_FROZEN, 1)]


def test_dark_begins_and_ends() -> None:
    bench = Bench()
    bench.show("day.jpg")
    bench.show("dark_1.jpg")
    assert bench.role.status() == STATUS_TAMPER
    bench.show("dark_2.jpg")
    assert bench.raw[LUMA] == 2
    assert bench.raw[TAMPERS] == 1
    bench.show("day.jpg")
    assert bench.role.status() == 0
    assert bench.events.pushed == [(EVENT_TAMPER_DARK, 1), (EVENT_TAMPER_DARK, 0)]


def test_covered_is_not_dark() -> None:
    bench = Bench()
    bench.show("covered_1.jpg")
    assert (bench.raw[LUMA], bench.raw[CONTRAST]) == (37, 0)
    assert bench.events.pushed == [(EVENT_TAMPER_COVERED, 1)]
    bench.show("dark_1.jpg")
    assert bench.events.pushed[1:] == [(EVENT_TAMPER_DARK, 1), (EVENT_TAMPER_COVERED, 0)]
    bench.show("day.jpg")
    assert bench.events.pushed[3:] == [(EVENT_TAMPER_DARK, 0)]
    assert bench.raw[TAMPERS] == 2


def test_limits_come_from_the_configuration_with_hysteresis() -> None:
    bench = Bench(dark_percent=46)  # day.jpg has 45
    bench.show("day.jpg")
    assert bench.events.pushed == [(EVENT_TAMPER_DARK, 1)]
    bench.config.set("dark_percent", 45)  # not below 45, but not two percent above it either
    bench.show("day.jpg")
    assert bench.role.status() == STATUS_TAMPER
    bench.config.set("dark_percent", 43)
    bench.show("day.jpg")
    assert bench.role.status() == 0
    bench = Bench(dark_percent=0, covered_percent=0)
    bench.show("dark_1.jpg")
    bench.show("covered_1.jpg")
    assert bench.events.pushed == []


def test_equal_pictures_in_a_row_are_frozen() -> None:
    bench = Bench(frozen_count=3)
    for name in ("day.jpg", "day.jpg", "day_car_1.jpg", "day.jpg", "day.jpg"):
        bench.show(name, live=False)
        assert bench.events.pushed == []
    bench.show("day.jpg", live=False)
    assert bench.events.pushed == [(EVENT_TAMPER_FROZEN, 1)]
    assert bench.role.status() == STATUS_TAMPER
    bench.show("day_car_1.jpg", live=False)
    assert bench.events.pushed == [(EVENT_TAMPER_FROZEN, 1), (EVENT_TAMPER_FROZEN, 0)]


def test_motion_holds_and_ends() -> None:
    bench = Bench(motion_hold_ds=100)
    bench.show("day.jpg")
    bench.uart.rx += MOTION
    bench.show("day_car_1.jpg")
    assert bench.events.pushed == [(EVENT_MOTION, 1)]
    assert bench.role.status() == STATUS_MOTION
    bench.board.at += 6_000
    bench.uart.rx += MOTION  # still moving: one event goes on, the hold time begins again
    bench.show("day_car_2.jpg")
    bench.board.at += 6_000
    bench.show("day_car_3.jpg")
    assert bench.role.status() == STATUS_MOTION
    assert bench.raw[MOTIONS] == 1
    bench.board.at += 4_000
    bench.show("day.jpg")
    assert bench.role.status() == 0
    assert bench.events.pushed == [(EVENT_MOTION, 1), (EVENT_MOTION, 0)]


def test_motion_is_noticed_between_pictures_by_the_service() -> None:
    async def scenario() -> None:
        bench = Bench()
        service = asyncio.create_task(bench.role.run())
        await asyncio.sleep(0)
        bench.uart.rx += MOTION
        await until(lambda: len(bench.events.pushed) == 1)
        bench.uart.broken = True
        await until(lambda: bench.uart.refused > 0)
        bench.uart.broken = False
        bench.board.at += 10_000
        await until(lambda: len(bench.events.pushed) == 2)
        assert bench.events.pushed == [(EVENT_MOTION, 1), (EVENT_MOTION, 0)]
        service.cancel()

    asyncio.run(scenario())


def test_a_service_beside_a_snapshot_does_not_steal_its_bytes() -> None:
    async def scenario() -> None:
        bench = Bench(step=1)
        bench.uart.piece = 16
        bench.fake.picture = frame("day.jpg")
        service = asyncio.create_task(bench.role.run())
        for number in range(1, 4):
            quality, raw = await take(bench.role, bench.config)
            assert quality == [OK] * 6
            assert raw[SNAPSHOTS] == number
        service.cancel()

    asyncio.run(scenario())


def test_warm_up_and_a_camera_that_is_not_fitted() -> None:
    bench = Bench(warmup_limit_s=3600)
    assert bench.sample()[0] == [OK] + [WARMUP] * 5
    assert bench.role.status() == STATUS_WARMUP
    assert asyncio.run(bench.role.selftest()) == 0
    bench = Bench(fitted=0)
    assert bench.sample()[0] == [NOT_FITTED] * 6
    assert bench.uart.tx == []
    assert asyncio.run(bench.role.selftest()) == 0


def test_a_camera_that_dies_and_returns() -> None:
    bench = Bench(step=20)
    bench.show("day.jpg")
    bench.uart.answer = None
    assert bench.sample()[0] == [OK] + [TIMEOUT] * 5
    assert asyncio.run(bench.role.selftest()) == 1
    assert (EVENT_SENSOR, LUMA << 8 | TIMEOUT) in bench.events.pushed
    bench.uart.answer = bench.fake.answer
    assert bench.show("day.jpg") == [OK] * 6
    assert bench.raw[SNAPSHOTS] == 2
    bench.uart.broken = True
    assert bench.sample()[0] == [OK] + [TIMEOUT] * 5
    board = Board(20)
    role = Camera(board, Config(warmup_limit_s=0), Events())
    assert asyncio.run(take(role, Config()))[0] == [OK] + [TIMEOUT] * 5


def test_pictures_leave_nothing_on_the_heap() -> None:
    bench = Bench()

    def pictures() -> None:
        for number in range(4):
            # As many bytes each time, another picture each time.
            bench.fake.picture = frame("day.jpg")[:-2] + bytes((number + 1,)) + b"\xff\xd9"
            bench.sample()
            assert bench.raw[BYTES] == 2556
            bench.fake.commands = []
            bench.uart.tx = []

    assert growth(pictures) <= 0
