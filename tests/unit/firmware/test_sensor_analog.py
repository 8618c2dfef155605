"""Two-point calibration in integers, saturation, and calibrations that say nothing."""

import asyncio

from firmware.sensors.analog import Analog, calibrated_code, middle, two_point
from protocols.wire.registers import FAULT, OK, RANGE, TIMEOUT, setting_address
from tests.dual import vectors
from tests.unit.firmware.fakes import Adc, Config, heap_locked

PH = (2048, 700, 1540, 400)
SMALL = {"ph_raw_1": 2048, "ph_raw_2": 1540}
REFERENCE_MV = 3300
# DFRobot SEN0161-V2, millivolts of the electrode (59.16 per pH at 25 degC) and of its amplifier.
ELECTRODE = ((700, 0, 1500), (400, 177.48, 2032.44), (1000, -177.48, 967.56))
# DFRobot SEN0189, volts and 0.1 NTU at points of its published curve, and how far the line may be.
TURBIDITY = ((4.2002, 0, 50), (4.1973, 107, 60), (4.0562, 5054, 300), (3.9003, 9999, 50))


def read(adc: Adc, config: Config, first: str = "ph_raw_1") -> "tuple[int, int]":
    part = Analog(adc, config, setting_address(first))
    asyncio.run(part.read(0))
    return part.codes[0], part.values[0]


def test_vectors() -> None:
    for vector in vectors("sensors")["analog"]["values"]:
        points = vector["points"]
        assert two_point(vector["raw"], *points) == vector["value"], vector
        # The order of the two points is the technician's choice.
        assert two_point(vector["raw"], points[2], points[3], points[0], points[1]) in (
            vector["value"],
            vector["value"] + 1,  # a half is rounded up from either side
            vector["value"] - 1,
        )


def test_every_reading_is_within_half_a_step_of_the_line() -> None:
    raw_1, value_1, raw_2, value_2 = PH
    for raw in range(0, 65536, 97):
        # value * span must be within half a span of the exact line.
        exact = value_1 * (raw_2 - raw_1) + (raw - raw_1) * (value_2 - value_1)
        error = two_point(raw, *PH) * (raw_2 - raw_1) - exact
        assert 2 * abs(error) <= abs(raw_2 - raw_1), raw


def test_calibration_comes_from_the_configuration_each_time() -> None:
    config = Config(**SMALL)
    assert read(Adc([1794]), config) == (OK, 550)
    config.set("ph_value_1", 900)
    assert read(Adc([1794]), config) == (OK, 650)


def readings(mv: float) -> "tuple[int, int]":
    """The u16 of an ideal converter at this voltage, and of the board's 12 bits spread over 16."""
    code = int(mv / REFERENCE_MV * 4096)
    return round(mv / REFERENCE_MV * 65535), code << 4 | code >> 8


def test_defaults_are_a_glass_electrode_at_25_degrees() -> None:
    for value, electrode_mv, pin_mv in ELECTRODE:
        assert abs(1500 + 3 * electrode_mv - pin_mv) < 0.01
        for raw in readings(pin_mv):
            code, got = read(Adc([raw]), Config())
            assert code == OK
            assert abs(got - value) <= 5, (value, got)


def test_defaults_are_the_turbidity_sensor_behind_its_divider() -> None:
    for volt, value, off in TURBIDITY:
        for raw in readings(volt * 1000 * 20 / 30):
            code, got = read(Adc([raw]), Config(), "ntu_raw_1")
            assert code == OK
            assert got >= 0, "clear water is below 0 NTU"
            assert abs(got - value) <= off, (value, got)


def test_saturation_is_out_of_range() -> None:
    for raw in (0, 15, 65520, 65535):
        assert calibrated_code(raw, *PH) == RANGE
        assert read(Adc([raw]), Config())[0] == RANGE
    for raw in (16, 65519):
        assert calibrated_code(raw, *PH) == OK


def test_equal_points_are_a_fault_whatever_is_read() -> None:
    assert calibrated_code(2000, 2048, 700, 2048, 400) == FAULT
    assert calibrated_code(2000, 2048, 700, 1540, 700) == FAULT
    assert calibrated_code(65535, 2048, 700, 2048, 400) == FAULT
    assert read(Adc([2000]), Config(ph_raw_1=2048, ph_raw_2=2048))[0] == FAULT


def test_one_spike_is_no_reading() -> None:
    for a, b, c in ((1, 2, 3), (3, 1, 2), (2, 3, 1), (3, 2, 1), (1, 3, 2), (2, 1, 3)):
        assert middle(a, b, c) == 2
    assert read(Adc([1794, 65535, 1794]), Config(**SMALL)) == (OK, 550)


def test_a_converter_that_is_gone_is_a_timeout() -> None:
    assert read(Adc([]), Config())[0] == TIMEOUT


def test_calibrating_allocates_nothing() -> None:
    def work() -> None:
        calibrated_code(1794, 2048, 700, 1540, 400)
        two_point(1794, 2048, 700, 1540, 400)

    work()
    heap_locked(work)
