"""The one table of pollutant codes: what a number under a code means, its unit and its digits.

HJ 212 puts no unit on the wire, so a wrong one is seen by nobody. Every code names where its unit
and digits come from; a platform that agreed on others says so in its profile. ``POINTS`` gives the
code of each point of our own nodes; ``WITHOUT_CODE`` says of the others why they have none.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

from gateway_agent.uplink.units import gas_converted

_B: Final = "HJ 212-2017 annex B"
_AMBIENT: Final = "ug/m3 as ambient platforms agree (from implementations); annex B prints ng/m3"
_EQUIPMENT: Final = "HJ 212-2017 annex C.15 and C.19; annex B lists pollutants only"
_SEEN: Final = "frames of implementations, not from the text"

FLOW: Final = "w00000"


@dataclass(frozen=True, slots=True)
class PollutantCode:
    """One code. ``unit`` and ``digits`` are those on the wire."""

    code: str
    english: str
    chinese: str
    unit: str
    digits: int
    source: str
    molar_mass: Decimal | None = None  # g/mol of a gas: ppb and ppm become ug/m3 and mg/m3
    has_total: bool = False  # Cou: the flow itself, or what the flow carried (annex C.16)

    @property
    def is_water(self) -> bool:
        """Whether the rules of water hold for its flags (annex C, tables 16 to 18)."""
        return self.code.startswith("w")

    @property
    def is_equipment(self) -> bool:
        """Whether it is the state of equipment, one of RUNNING_STATES, and no pollutant."""
        return self.code.startswith("SB")


def _mass(text: str) -> Decimal:
    return Decimal(text)


CODES: Final[dict[str, PollutantCode]] = {
    row.code: row
    for row in (
        PollutantCode("a01001", "air temperature", "温度", "Cel", 1, _B),
        PollutantCode("a01002", "relative humidity", "湿度", "%RH", 1, _B),
        PollutantCode("a01006", "air pressure", "气压", "kPa", 3, f"{_B}; some send hPa"),
        PollutantCode("a01007", "wind speed", "风速", "m/s", 1, _B),
        PollutantCode("a01008", "wind direction", "风向", "deg", 0, _B),
        PollutantCode("a05001", "carbon dioxide", "二氧化碳", "mg/m3", 1, _B, _mass("44.010")),
        PollutantCode("a05024", "ozone", "臭氧", "ug/m3", 1, _SEEN, _mass("47.998")),
        PollutantCode("a21003", "nitric oxide", "一氧化氮", "ug/m3", 1, _AMBIENT, _mass("30.006")),
        PollutantCode(
            "a21004", "nitrogen dioxide", "二氧化氮", "ug/m3", 1, _AMBIENT, _mass("46.006")
        ),
        PollutantCode("a21005", "carbon monoxide", "一氧化碳", "mg/m3", 3, _B, _mass("28.010")),
        PollutantCode(
            "a21026", "sulfur dioxide", "二氧化硫", "ug/m3", 1, _AMBIENT, _mass("64.064")
        ),
        PollutantCode("a34001", "total suspended particles", "总悬浮颗粒物", "ug/m3", 0, _AMBIENT),
        PollutantCode("a34002", "PM10", "可吸入颗粒物", "ug/m3", 0, _AMBIENT),
        PollutantCode("a34004", "PM2.5", "细颗粒物", "ug/m3", 0, _AMBIENT),
        PollutantCode("w00000", "flow", "流量", "L/s", 1, _B, has_total=True),
        PollutantCode("w01001", "pH", "pH值", "pH", 2, _B),
        PollutantCode("w01003", "turbidity", "浊度", "NTU", 1, _SEEN),
        PollutantCode("w01009", "dissolved oxygen", "溶解氧", "mg/L", 2, _B),
        PollutantCode("w01010", "water temperature", "水温", "Cel", 1, _B),
        PollutantCode("w01014", "conductivity", "电导率", "uS/cm", 0, _B),
        PollutantCode("w01018", "chemical oxygen demand", "化学需氧量", "mg/L", 1, _B, None, True),
        PollutantCode("w01019", "permanganate index", "高锰酸盐指数", "mg/L", 2, _B),
        PollutantCode("w21001", "total nitrogen", "总氮", "mg/L", 2, _B, None, True),
        PollutantCode("w21003", "ammonia nitrogen", "氨氮", "mg/L", 3, _B, None, True),
        PollutantCode("w21011", "total phosphorus", "总磷", "mg/L", 3, _B, None, True),
        PollutantCode("LA", "A-weighted sound level", "A声级", "dB", 1, f"{_B}; C.25"),
        *(
            PollutantCode(f"SB{n}", f"treatment equipment {n}", f"治理设施{n}", "", 0, _EQUIPMENT)
            for n in range(1, 17)
        ),
    )
}

#: What a point of equipment has to be, SBx-RS (HJ 212-2017 tables 5 to 9).
RUNNING_STATES: Final[dict[int, tuple[str, str]]] = {
    0: ("off", "关闭"),
    1: ("running", "运行"),
    2: ("calibrating", "校准"),
    3: ("maintenance", "维护"),
    4: ("alarm", "报警"),
    5: ("blowing back", "反吹"),
}
RUNNING: Final = 1

#: What is further from 0 is no quantity of the table but a register read wrongly (ours).
WIDEST: Final = Decimal(10) ** 12
_DIGITS: Final = Context(prec=40)  # a day's total of the widest load at the widest flow has room

#: The pollutants of HJ 633 (table 1), which an air quality index is made of.
JUDGED: Final = ("a21026", "a21004", "a21005", "a05024", "a34002", "a34004")


@dataclass(frozen=True, slots=True)
class PointCode:
    """The code of a point. ``unit``: where the point's SenML unit is empty, that in its name."""

    code: str
    unit: str = ""


POINTS: Final[dict[tuple[str, str], PointCode]] = {
    ("air", "pm2_5"): PointCode("a34004"),
    ("air", "pm10"): PointCode("a34002"),
    ("air", "co2"): PointCode("a05001"),
    ("air", "temperature"): PointCode("a01001"),
    ("air", "humidity"): PointCode("a01002"),
    ("water", "temperature"): PointCode("w01010"),
    ("water", "ph"): PointCode("w01001"),
    ("water", "turbidity_ntu"): PointCode("w01003", "NTU"),
}

WITHOUT_CODE: Final[dict[tuple[str, str], str]] = {
    ("air", "pm1_0"): "no code in the sources that were read",
    ("air", "particles_0_3"): "a count of particles; annex B has concentrations only",
    ("water", "distance"): "a distance to the surface, not a level or a flow",
    ("camera", "snapshots"): "not a pollutant",
    ("camera", "image_bytes"): "not a pollutant",
    ("camera", "luma"): "not a pollutant",
    ("camera", "contrast"): "not a pollutant",
    ("camera", "motion_events"): "not a pollutant",
    ("camera", "tamper_events"): "not a pollutant",
}


def code_of(points: Mapping[str, str], device: str, role: str, point: str) -> PointCode | None:
    """Return the code of a point: that of ``points`` ("DEVICE/POINT": code), or of its role."""
    chosen = points.get(f"{device}/{point}")
    return POINTS.get((role, point)) if chosen is None else PointCode(chosen)


def points_with_code(
    device: str, role: str, points: Mapping[str, str]
) -> Iterator[tuple[str, PointCode]]:
    """Yield each point of a device that has a code, as far as role and ``points`` name it."""
    names = [name for known, name in POINTS if known == role]
    names += [place.partition("/")[2] for place in points if place.startswith(f"{device}/")]
    for name in dict.fromkeys(names):
        code = code_of(points, device, role, name)
        if code is not None:
            yield name, code


def shared_codes(
    roles: Mapping[str, str], nodes: Collection[str], points: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    """Yield each code that two points would give, with both as "DEVICE/POINT".

    ``roles``: of the devices, by name; ``nodes``: those that count, all if empty.
    """
    owners: dict[str, str] = {}
    for device, role in roles.items():
        if nodes and device not in nodes:
            continue
        for name, code in points_with_code(device, role, points):
            place = f"{device}/{name}"
            if owners.setdefault(code.code, place) != place:
                yield code.code, owners[code.code], place


def in_code(value: Decimal, unit: str, code: PollutantCode, kelvin: Decimal) -> Decimal:
    """Return the value in the code's unit. ValueError names both units if there is no way."""
    if code.is_equipment and value not in RUNNING_STATES:
        known = ", ".join(f"{state} {english}" for state, (english, _) in RUNNING_STATES.items())
        raise ValueError(f"one of {known} was expected, got {value}")
    return gas_converted(value, unit, code.unit, code.molar_mass, kelvin)


def written(value: Decimal, digits: int) -> str:
    """Return the number for the wire, rounded half to even (GB/T 8170).

    ArithmeticError: it has more than 40 digits, or is none.
    """
    rounded = value.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN, _DIGITS)
    return f"{abs(rounded) if rounded.is_zero() else rounded:f}"
