"""What a calibration accepts of a probe: slope, offset, drift; by hand from Nernst's equation."""

import pytest

from boards.flash.errors import FlashingError
from boards.node_line import NodeLineError
from boards.site.calibration import drift, judge, text

PH = (700, 400)  # 0.01 pH


def raws(neutral_mv: float, mv_per_ph: float) -> tuple[int, int]:
    """Readings at pH 7 and 4 of a probe behind an amplifier of 3, 65535 at 3300 mV."""
    return tuple(round((neutral_mv - 3 * mv_per_ph * (ph - 7)) * 65535 / 3300) for ph in (7, 4))  # type: ignore[return-value]  # two


def test_an_ideal_electrode_has_a_hundred_percent_at_any_temperature() -> None:
    assert judge("ph", raws(1500, 59.16), PH, 25.0) == pytest.approx(100, abs=0.1)
    assert judge("ph", raws(1500, 56.18), PH, 10.0) == pytest.approx(100, abs=0.1)


@pytest.mark.provokes("TF-SITE-076")
@pytest.mark.parametrize(
    ("neutral", "slope", "why"),
    [
        (1500, 0.84 * 59.16, "slope 84.0 %"),
        (1500, 1.06 * 59.16, "slope 106.0 %"),
        (1690, 59.16, "1690 mV at pH 7"),
        (1310, 59.16, "1310 mV at pH 7"),
        (1500, 0, "nearly the same reading"),
        (1500, -59.16, "slope -100.0 %"),
    ],
)
def test_a_worn_or_swapped_probe_is_refused(neutral: float, slope: float, why: str) -> None:
    with pytest.raises(FlashingError, match="TF-SITE-076") as caught:
        judge("ph", raws(neutral, slope), PH, 25.0)
    assert why in str(caught.value)


def test_limits_of_a_turbidity_probe_are_those_of_its_curve() -> None:
    # DFRobot's curve: 0 NTU at 4.2002 V, 1000 NTU at 3.9003 V, two thirds of it at the pin.
    ideal = [round(volt * 2 / 3 / 3.3 * 65535) for volt in (4.2002, 3.9003)]
    assert judge("turbidity_ntu", ideal, (0, 10000), 25.0) == pytest.approx(100, abs=0.6)
    with pytest.raises(FlashingError, match="expected 50 to 200"):
        judge("turbidity_ntu", (55600, 55600 - 1500), (0, 10000), 25.0)


def test_drift_is_the_rise_over_the_window() -> None:
    assert drift([100, 110, 120, 130, 140, 150]) == pytest.approx(50)
    assert drift([7, 7, 7, 7]) == 0


@pytest.mark.parametrize("value", ["", "x" * 17, "lot 批号"])
def test_what_does_not_fit_into_the_record_is_refused(value: str) -> None:
    with pytest.raises(NodeLineError, match="1 to 16 ASCII"):
        text(value, "lot")
