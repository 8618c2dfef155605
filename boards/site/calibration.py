"""Two-point calibration of a probe as a dialogue: hold, wait for steady readings, judge, record.

While it runs the node shows no sample of the point and the status ``calibration`` (flag C of HJ
212), for a minute at a time: whatever ends the dialogue, the node goes on measuring by itself with
the coefficients it had. They change together, in the one write that also records who, when and with
what.

A pH electrode gives 59.16 mV per pH at 25 degC and in proportion to the absolute temperature
(Nernst). A slope of 85 to 105 % of that is a usable electrode; DFRobot's library for the SEN0161-V2
accepts 1322 to 1678 mV as pH 7. The SEN0189's own curve is the measure of a turbidity probe, from
half of it to twice.
"""

import datetime as dt
import statistics
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from boards.configure import APART, CALIBRATED
from boards.errors import BoardError
from boards.flash.errors import SITE_PROBE, SITE_UNSTEADY, FlashingError
from boards.node_line import NodeIdentity, NodeLine, NodeLineError
from firmware.node.identity import NodeKey
from protocols.wire.registers import SETTINGS, setting_address
from protocols.wire.site import HOLD, RECORD, TEXT_BYTES

WINDOW: Final = 6  # readings that are looked at together
SPREAD: Final = 120  # of 65535 between the highest and the lowest: 6 mV, 0.035 pH
DRIFT: Final = 60  # over the window, by the line through it
LIMIT_S: Final = 180.0
SLOPES: Final = {"ph": (85.0, 105.0), "turbidity_ntu": (50.0, 200.0)}  # in % of the ideal probe's
_NEUTRAL: Final = (1322 * 65535 // 3300, 1678 * 65535 // 3300)
_HOLD_S: Final = 60
_RENEW_S: Final = 10
_LOOK_S: Final = 0.1
_KELVIN: Final = 273.15


@dataclass(frozen=True, slots=True)
class Reference:
    """A liquid: what it has, in the point's unit, and the lot it is of."""

    value: float
    lot: str


@dataclass(frozen=True, slots=True)
class ProbeRecord:
    """What a calibration wrote into the node."""

    point: str
    raws: tuple[int, int]
    slope_percent: float
    day: dt.date


class Dialogue(Protocol):
    """Who answers: the technician. ``wait`` returns when the probe is in the liquid."""

    def wait(self, text: str) -> None:
        """Show what is to be done and wait until it is."""

    def show(self, text: str) -> None:
        """Show how it goes."""


def text(value: str, what: str) -> bytes:
    """Return a text for the node's record. NodeLineError if it is too long or not ASCII."""
    try:
        content = value.encode("ascii")
    except UnicodeEncodeError:
        content = b""
    if not 1 <= len(content) <= TEXT_BYTES:
        raise NodeLineError(f"{what}: expected 1 to {TEXT_BYTES} ASCII characters, got {value!r}")
    return content.ljust(TEXT_BYTES, b"\0")


def drift(raws: Sequence[int]) -> float:
    """Return how much the line through the readings rises from the first to the last."""
    return statistics.linear_regression(range(len(raws)), raws).slope * (len(raws) - 1)


def slope_percent(point: str, raws: Sequence[int], values: Sequence[int], celsius: float) -> float:
    """Return the probe's slope in percent of the ideal one's."""
    raw, value = CALIBRATED[point]
    start = [SETTINGS[setting_address(raw + number)].default for number in "12"]
    end = [SETTINGS[setting_address(value + number)].default for number in "12"]
    ideal = (start[1] - start[0]) / (end[1] - end[0])
    if point == "ph":
        ideal *= (_KELVIN + celsius) / (_KELVIN + 25)
    return 100 * (raws[1] - raws[0]) / (values[1] - values[0]) / ideal


def judge(point: str, raws: Sequence[int], values: Sequence[int], celsius: float) -> float:
    """Return the slope in percent. FlashingError if no such probe is well."""
    if abs(raws[1] - raws[0]) < APART or values[0] == values[1]:
        raise FlashingError(
            SITE_PROBE, f"{point}: both references give nearly the same reading, {list(raws)}"
        )
    percent = slope_percent(point, raws, values, celsius)
    low, high = SLOPES[point]
    if not low <= percent <= high:
        raise FlashingError(
            SITE_PROBE, f"{point}: slope {percent:.1f} %, expected {low:g} to {high:g} %"
        )
    if point == "ph":
        neutral = raws[0] + (700 - values[0]) * (raws[1] - raws[0]) / (values[1] - values[0])
        if not _NEUTRAL[0] <= neutral <= _NEUTRAL[1]:
            raise FlashingError(
                SITE_PROBE,
                f"ph: {neutral * 3300 / 65535:.0f} mV at pH 7, expected 1322 to 1678 mV",
            )
    return percent


def calibrate(
    line: NodeLine,
    identity: NodeIdentity,
    point: str,
    references: tuple[Reference, Reference],
    hand: str,
    key: NodeKey | None,
    dialogue: Dialogue,
    *,
    limit_s: float = LIMIT_S,
    today: Callable[[], dt.date] = dt.date.today,
) -> ProbeRecord:
    """Guide through one calibration. FlashingError, NodeLineError: nothing has changed."""
    names = [each.name for each in identity.map.points]
    if point not in CALIBRATED or point not in names:
        known = ", ".join(name for name in names if name in CALIBRATED) or "it has none"
        raise NodeLineError(f"{point}: expected a point that is calibrated: {known}")
    index = names.index(point)
    scale = 10 ** -identity.map.points[index].exp10
    values = [round(each.value * scale) for each in references]
    texts = b"".join(text(each.lot, "lot") for each in references) + text(hand, "hand")
    hold = _Hold(line, identity, 1 << index, key)
    try:
        hold.renew()
        raws = []
        for each in references:
            dialogue.wait(f"rinse the probe, put it into the reference {each.value:g}")
            raws.append(_steady(line, identity, index, hold, dialogue, limit_s))
        percent = judge(point, raws, values, _celsius(line, identity))
        dialogue.show(f"slope {percent:.1f} % of the ideal probe's")
        day = today()
        first = setting_address(CALIBRATED[point][0] + "1")
        words = (first, (day - dt.date(1970, 1, 1)).days, raws[0], values[0], raws[1])
        content = struct.pack(">7H", *words, values[1], round(10 * percent)) + texts
        line.write(RECORD + index, struct.unpack(">31H", content), key, identity.uid)
    finally:
        hold.end()
    return ProbeRecord(point, (raws[0], raws[1]), percent, day)


class _Hold:
    """Holds a point while somebody works at it; a node that hears no more of it lets go."""

    def __init__(
        self, line: NodeLine, identity: NodeIdentity, mask: int, key: NodeKey | None
    ) -> None:
        self._line, self._uid, self._mask, self._key = line, identity.uid, mask, key
        self._next = 0.0

    def renew(self) -> None:
        """Hold on, if it is time."""
        if time.monotonic() >= self._next:
            self._line.write(HOLD, [self._mask, _HOLD_S], self._key, self._uid)
            self._next = time.monotonic() + _RENEW_S

    def end(self) -> None:
        """Let go; a node that does not hear that lets go within a minute."""
        try:
            self._line.write(HOLD, [0, 0], self._key, self._uid)
        except BoardError:
            pass


def _steady(
    line: NodeLine,
    identity: NodeIdentity,
    index: int,
    hold: _Hold,
    dialogue: Dialogue,
    limit_s: float,
) -> int:
    """Wait for readings that agree and do not drift; return their median."""
    deadline = time.monotonic() + limit_s
    raws: list[int] = []
    seq = line.sample(identity.map)[1].header.seq
    while True:
        hold.renew()
        now = line.sample(identity.map)[1].header.seq
        if now != seq:
            seq = now
            raws = [*raws[1 - WINDOW :], line.raw(identity.map)[index]]
            spread = max(raws) - min(raws)
            full = len(raws) == WINDOW
            rise = drift(raws) if full else 0.0
            dialogue.show(f"reading {raws[-1]}, spread {spread}, drift {rise:+.0f}")
            if full and spread <= SPREAD and abs(rise) <= DRIFT:
                return round(statistics.median(raws))
        if time.monotonic() >= deadline:
            raise FlashingError(SITE_UNSTEADY, f"no steady reading in {limit_s:g} s, last {raws}")
        time.sleep(_LOOK_S)


def _celsius(line: NodeLine, identity: NodeIdentity) -> float:
    """Return the water's temperature; 25 where the node does not measure it."""
    names = [each.name for each in identity.map.points]
    _, sample = line.sample(identity.map)
    if "temperature" not in names or sample.quality[names.index("temperature")]:
        return 25.0
    return float(sample.raw[names.index("temperature")] * 0.01)
