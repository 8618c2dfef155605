"""The air role, and through it what every role does alike: events, self-test, dead parts."""

import asyncio

from firmware.roles import make_role
from firmware.roles.air import Air
from protocols.wire.errors import LocalError
from protocols.wire.registers import (
    CHECKSUM,
    EVENT_SENSOR,
    NOT_FITTED,
    OK,
    RANGE,
    STATUS_SENSOR_FAULT,
    STATUS_WARMUP,
    TIMEOUT,
    WARMUP,
)
from tests.dual import raises, vectors
from tests.unit.firmware.fakes import Board, Config, Events, I2c, Uart, growth, take

VECTORS = vectors("sensors")
PMS = bytes.fromhex(VECTORS["pms5003"]["frames"][0]["hex"])
MHZ = bytes.fromhex(VECTORS["mhz19b"]["frames"][0]["hex"])
SHT = bytes.fromhex(VECTORS["sht3x"]["answers"][3]["hex"])


class Bench:
    """An air node's parts; ``sample`` gives qualities and values of one sample."""

    def __init__(self, step: int = 5, **changed: int) -> None:
        if "warmup_limit_s" not in changed:
            changed["warmup_limit_s"] = 0
        self.pms = Uart()
        self.mhz = Uart(lambda command: MHZ)
        self.sht = I2c(SHT)
        self.board = Board(step, pms5003=self.pms, mhz19b=self.mhz, i2c=self.sht)
        self.config = Config(**changed)
        self.events = Events()
        self.role = Air(self.board, self.config, self.events)

    def sample(self) -> "tuple[list[int], list[int]]":
        return asyncio.run(take(self.role, self.config))


def test_all_parts_well() -> None:
    bench = Bench()
    bench.pms.rx = PMS
    assert bench.sample() == ([OK] * 7, [12, 18, 20, 2100, 608, 2500, 4000])
    assert list(bench.role.raw) == [12, 18, 20, 2100, 608, 0x6666, 0x6666]
    assert bench.role.status() == 0
    assert bench.events.pushed == []


def test_a_dead_part_leaves_the_others_alone_and_says_so_once() -> None:
    bench = Bench(step=50)
    bench.mhz.answer = None
    for _ in range(3):
        bench.pms.rx = PMS
        quality, raw = bench.sample()
        assert quality == [OK] * 4 + [TIMEOUT] + [OK] * 2
        assert raw[4] == 0
    assert bench.role.status() == STATUS_SENSOR_FAULT
    assert bench.events.pushed == [(EVENT_SENSOR, 4 << 8 | TIMEOUT)]
    bench.mhz.answer = lambda command: MHZ
    bench.pms.rx = PMS
    bench.sample()
    assert bench.role.status() == 0
    assert bench.events.pushed[1:] == [(EVENT_SENSOR, 4 << 8 | OK)]


def test_parts_are_read_side_by_side() -> None:
    # Two dead parts, real waiting: MH-Z19B 0.3 s beside PMS5003 (passive) 0.4 s, not one after
    # the other. The clock takes 1 ms per look and there is a look every 2 ms of waiting.
    bench = Bench(step=1, pms_passive=1)
    bench.mhz.answer = None
    before = bench.board.at
    assert bench.sample()[0] == [TIMEOUT] * 5 + [OK] * 2
    # Looks of both parts count into one clock: 400 when side by side, 700 one after the other.
    assert bench.board.at - before < 600


def test_damage_and_range_are_told_apart() -> None:
    bench = Bench(step=20)
    bench.pms.rx = PMS[:-1] + b"\x00"
    bench.mhz.answer = lambda command: b"\xff\x86\x27\x11\x47\x00\x00\x00\xfb"  # 10001 ppm
    bench.sht.answer = b"\x00\x00\x81\xff\xff\xac"  # -45 degC: below the map's -40
    quality, raw = bench.sample()
    assert quality == [CHECKSUM] * 4 + [RANGE, RANGE, OK]
    assert raw == [0] * 6 + [10000]
    assert len(bench.events.pushed) == 6


def test_warm_up_is_a_status_not_an_event() -> None:
    bench = Bench(warmup_limit_s=3600)
    bench.pms.rx = PMS
    assert bench.sample()[0] == [WARMUP] * 5 + [OK] * 2
    assert bench.role.status() == STATUS_WARMUP
    bench.board.at += 180_000
    bench.pms.rx = PMS
    assert bench.sample()[0] == [OK] * 7
    assert bench.role.status() == 0
    assert bench.events.pushed == []


def test_parts_that_are_not_fitted_are_not_touched() -> None:
    bench = Bench(fitted=0b1100000)
    assert bench.sample() == ([NOT_FITTED] * 5 + [OK] * 2, [0] * 5 + [2500, 4000])
    assert bench.pms.tx == []
    assert bench.mhz.tx == []
    assert bench.role.status() == 0
    # One point of a part can be left out too.
    bench = Bench(fitted=0b0100000)
    assert bench.sample()[0] == [NOT_FITTED] * 5 + [OK, NOT_FITTED]


def test_a_flickering_part_cannot_flood_the_event_queue() -> None:
    bench = Bench(step=1, fitted=0b0100000)
    for _ in range(50):
        bench.sht.answer = None
        bench.sample()
        bench.sht.answer = SHT
        bench.sample()
    assert len(bench.events.pushed) == 4
    # The last state is reported when there is an allowance again.
    bench.sht.answer = None
    bench.sample()
    assert len(bench.events.pushed) == 4
    bench.board.at += 30_000
    bench.sample()
    assert bench.events.pushed[4:] == [(EVENT_SENSOR, 5 << 8 | TIMEOUT)]


def test_the_mode_of_the_particle_counter_follows_the_configuration() -> None:
    bench = Bench(step=20, fitted=0xF, pms_passive=1)
    bench.sample()
    commands = VECTORS["pms5003"]["commands"]
    assert bench.pms.tx == [bytes.fromhex(commands["passive"]), bytes.fromhex(commands["read"])]
    bench.config.set("pms_passive", 0)
    bench.sample()
    assert bench.pms.tx[-1] == bytes.fromhex(commands["active"])


def test_buses_that_fail_or_are_missing_never_raise() -> None:
    bench = Bench(step=20)
    bench.pms.broken = True
    bench.mhz.broken = True
    bench.sht.answer = None
    assert bench.sample()[0] == [TIMEOUT] * 7
    board = Board(20)
    role = Air(board, Config(), Events())
    assert asyncio.run(take(role, Config()))[0] == [TIMEOUT] * 7


def test_a_driver_that_breaks_is_a_fault_of_its_points_only() -> None:
    bench = Bench()
    bench.pms.rx = PMS

    def broken(command: bytes) -> bytes:
        raise ValueError("a bug")

    bench.mhz.answer = broken
    quality, _ = bench.sample()
    assert quality == [OK] * 4 + [7] + [OK] * 2


def test_self_test_names_the_parts_that_do_not_answer() -> None:
    bench = Bench(step=20, warmup_limit_s=3600)
    bench.pms.rx = PMS
    assert asyncio.run(bench.role.selftest()) == 0
    bench.mhz.answer = None
    bench.board.at += 4_000
    assert asyncio.run(bench.role.selftest()) == 0b011
    bench.config.set("fitted", 0b1101111)
    bench.pms.rx = PMS
    assert asyncio.run(bench.role.selftest()) == 0


def test_make_role_knows_three_names() -> None:
    board = Board()
    for name in ("air", "water", "camera"):
        assert make_role(name, board, Config(), Events()).map.role == name
    error = raises(LocalError, make_role, "radio", board, Config(), Events())
    assert error.got == "radio"


def test_sampling_leaves_nothing_on_the_heap() -> None:
    bench = Bench()

    def samples() -> None:
        for _ in range(12):
            bench.pms.rx = PMS
            bench.pms.tx = []
            bench.mhz.tx = []
            bench.sht.written = []
            asyncio.run(take(bench.role, bench.config))

    assert growth(samples) <= 0
