"""Change the settings of a node over its line, and calibrate its analog probes."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from firmware.node.identity import NodeKey
from protocols.wire.errors import PeerError
from protocols.wire.registers import COMMAND_ADDRESS, COMMAND_RESTART, SETTINGS, setting_address
from protocols.wire.signed_write import MAX_VALUES

from .node_line import NodeIdentity, NodeLine, NodeLineError

#: By point: how the names of the settings of its calibration begin (raw, value), see SETTINGS.
CALIBRATED: Final[Mapping[str, tuple[str, str]]] = {
    "ph": ("ph_raw_", "ph_value_"),
    "turbidity_ntu": ("ntu_raw_", "ntu_value_"),
}
SAMPLES: Final = 5
STEADY: Final = 200  # of 65535: 10 mV of 3.3 V, or 0.06 pH
APART: Final = 1000  # two calibration points nearer than this give no line worth having
_LOOK_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Change:
    """A setting before and after a write."""

    name: str
    old: int
    new: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """A calibration point that was written, and what the node then measured in the same liquid."""

    changes: Sequence[Change]
    raw: int
    spread: int
    measured: float | None  # None: the value is out of range or the part has failed


def checked(wanted: Mapping[str, int]) -> dict[int, int]:
    """Return raw values by address. NodeLineError names what is no setting or out of its range."""
    by_address: dict[int, int] = {}
    for name, raw in wanted.items():
        try:
            address = setting_address(name)
        except PeerError as error:
            names = ", ".join(setting.name for setting in SETTINGS)
            raise NodeLineError(f"{name}: expected a setting: {names}") from error
        setting = SETTINGS[address]
        if not setting.allows(raw):
            raise NodeLineError(f"{name}: expected {setting.low} to {setting.high}, got {raw}")
        by_address[address] = raw
    return by_address


def change(
    line: NodeLine, identity: NodeIdentity, wanted: Mapping[str, int], key: NodeKey | None
) -> list[Change]:
    """Write settings and read them back; return those that changed, by address. NodeLineError."""
    by_address = checked(wanted)
    before = line.settings()
    new = {at: raw for at, raw in by_address.items() if before[at] != raw}
    for first, values in _runs(new):
        line.write(first, values, key, identity.uid)
    after = line.settings()
    for at, raw in by_address.items():
        if after[at] != raw:
            raise NodeLineError(
                f"{SETTINGS[at].name}: expected {raw} after the write, got {after[at]}"
            )
    return [Change(SETTINGS[at].name, before[at], new[at]) for at in sorted(new)]


def restart(line: NodeLine, identity: NodeIdentity, key: NodeKey | None) -> None:
    """Have the node restart, so that its address and speed come into force. NodeLineError."""
    line.write(COMMAND_ADDRESS, [COMMAND_RESTART], key, identity.uid)


def calibrate(
    line: NodeLine,
    identity: NodeIdentity,
    point: str,
    number: int,
    value: float,
    key: NodeKey | None,
    progress: Callable[[str], None],
) -> Calibration:
    """Make what an analog probe reads now one of its two calibration points. NodeLineError.

    ``value`` is what the reference liquid has, in the point's unit.
    """
    names = [each.name for each in identity.map.points]
    if point not in CALIBRATED or point not in names:
        known = [name for name in names if name in CALIBRATED]
        raise NodeLineError(
            f"{point}: expected a point of this {identity.map.role} node that is calibrated: "
            f"{', '.join(known) or 'it has none'}"
        )
    index = names.index(point)
    scale = 10 ** -identity.map.points[index].exp10
    raw_name, value_name = (begin + str(number) for begin in CALIBRATED[point])
    wanted = {value_name: round(value * scale)}
    checked(wanted)
    readings = []
    seq = _next_seq(line, identity, None)
    for count in range(SAMPLES):
        seq = _next_seq(line, identity, seq)
        readings.append(line.raw(identity.map)[index])
        progress(f"sample {count + 1} of {SAMPLES}: raw {readings[-1]}")
    spread = max(readings) - min(readings)
    raw = round(statistics.median(readings))
    if not all(readings):
        raise NodeLineError(f"{point}: expected readings of the converter, got none: is it fitted?")
    if spread > STEADY:
        raise NodeLineError(
            f"{point}: expected readings within {STEADY}, got {min(readings)} to {max(readings)}: "
            "wait until the probe is steady in the liquid"
        )
    other = line.settings()[setting_address(CALIBRATED[point][0] + str(3 - number))]
    if abs(raw - other) < APART:
        raise NodeLineError(
            f"{point}: expected a reading at least {APART} from that of point {3 - number} "
            f"({other}), got {raw}: take another liquid, or calibrate point {3 - number} first"
        )
    changes = change(line, identity, {raw_name: raw, **wanted}, key)
    # The sample under way may be older than the write.
    for _ in range(2):
        seq = _next_seq(line, identity, seq)
    _, sample = line.sample(identity.map)
    ok = sample.quality[index] == 0
    return Calibration(changes, raw, spread, sample.raw[index] / scale if ok else None)


def _next_seq(line: NodeLine, identity: NodeIdentity, last: int | None) -> int:
    """Wait for a sample after number ``last`` and return its number. NodeLineError."""
    period_s = line.settings()[setting_address("sample_period_ds")] / 10
    deadline = time.monotonic() + 2 * period_s + 10
    while True:
        _, sample = line.sample(identity.map)
        if sample.header.seq and sample.header.seq != last:
            return sample.header.seq
        if time.monotonic() >= deadline:
            raise NodeLineError(
                f"expected a sample every {period_s:g} s, got none: does it sample?"
            )
        time.sleep(_LOOK_S)


def _runs(values: Mapping[int, int]) -> list[tuple[int, list[int]]]:
    """Return neighbouring registers together, at most MAX_VALUES in one write."""
    runs: list[tuple[int, list[int]]] = []
    for at in sorted(values):
        if runs and at == runs[-1][0] + len(runs[-1][1]) and len(runs[-1][1]) < MAX_VALUES:
            runs[-1][1].append(values[at])
        else:
            runs.append((at, [values[at]]))
    return runs
