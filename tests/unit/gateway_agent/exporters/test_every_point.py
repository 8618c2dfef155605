"""Every point of every device through every exporter: the number that arrives, by physics.

The units on the other side are those of the clauses named beside them. The numbers are computed
with decimals from the integers in the registers; the code under test is asked for nothing.
"""

import csv
import io
import json
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway_agent.uplink.hj212.config import Hj212Uplink
from gateway_agent.uplink.hj212.work import Hj212Work
from gateway_agent.uplink.sl427.config import QuantityOfPoint, Sl427Device, Sl427Uplink
from gateway_agent.uplink.sl651.config import Sl651Uplink, StationElement, StationOfDevice
from hil.platform.sl427_centre import Sl427Centre
from hil.platform.sl651_centre import Sl651Centre
from protocols.export_message import MqttCore
from protocols.export_record import Portion
from protocols.uplink import clouds, homeassistant, influxdb, mqtt_json, sparkplug, thingsboard
from protocols.uplink import csv as csv_rows
from tests.paths import ROOT
from tests.unit.gateway_agent.store_help import GATEWAY, WALL_MS, StillClock

from .every_point import POINTS, ROLES, device, points_of, poll, record, site, value
from .export_world import context, exporting, until, writer

DEVICES = {device(role).id: device(role) for role in ROLES}

# --- HJ 212: a number under a code has the unit of annex B, and no unit on the wire ---------------

# The ideal gas: p V = n R T at 1013.25 hPa.
R_GAS = Decimal("8.314462618")  # J/(mol K), SI
P_PASCAL = Decimal(101325)


def mg_of_ppm(grams_per_mol: str, kelvin: str) -> Callable[[Decimal], Decimal]:
    """ppm of a gas in mg/m3: mol of air in a m3, its millionth part, its mass."""
    mol_per_m3 = P_PASCAL / (R_GAS * Decimal(kelvin))
    return lambda ppm: ppm / 1_000_000 * mol_per_m3 * Decimal(grams_per_mol) * 1000


def same(number: Decimal) -> Decimal:
    return number


def kilo(number: Decimal) -> Decimal:
    return number / 1000


def hpa_in_kpa(number: Decimal) -> Decimal:
    return number * 100 / 1000  # 1 hPa is 100 Pa, 1 kPa is 1000 Pa


Row = tuple[str, Callable[[Decimal], Decimal], int]  # code, physics, digits behind the point
DUST: dict[str, Row] = {
    "wind_speed": ("a01007", same, 1),
    "wind_direction": ("a01008", same, 0),
    "humidity": ("a01002", same, 1),
    "temperature": ("a01001", same, 1),
    "noise": ("LA", same, 1),
    "pm2_5": ("a34004", same, 0),
    "pm10": ("a34002", same, 0),
    "pressure": ("a01006", hpa_in_kpa, 3),  # annex B: kPa
}
CO2_25: Row = ("a05001", mg_of_ppm("44.010", "298.15"), 1)  # annex B: mg/m3; CO2 is 44.010 g/mol
#: role: point: code, what its unit makes of the value, digits behind the point (annex B).
HJ212: dict[str, dict[str, Row]] = {
    "air": {
        "pm2_5": ("a34004", same, 0),  # ug/m3
        "pm10": ("a34002", same, 0),
        "co2": CO2_25,
        "temperature": ("a01001", same, 1),
        "humidity": ("a01002", same, 1),
    },
    "water": {
        "temperature": ("w01010", same, 1),
        "ph": ("w01001", same, 2),
        "turbidity_ntu": ("w01003", same, 1),  # NTU; from implementations, not from the text
    },
    "renke-rs-fsxcs": DUST,
    "site-dust-noise": DUST,
    "senseair-s8": {"co2": CO2_25},
    "xy-md02": {"temperature": ("a01001", same, 1), "humidity": ("a01002", same, 1)},
    "xylem-odo-rtu": {
        "oxygen": ("w01009", same, 2),  # mg/L, which SenML writes mg/l
        "temperature": ("w01010", same, 1),
    },
    "jxbs-3001-tr": {"conductivity": ("w01014", same, 0), "ph": ("w01001", same, 2)},
}
NODES = ("air", "water", "camera")  # codes by role; devices of others get theirs from the file


def hj212(role: str, **more: Any) -> Hj212Uplink:
    own = {} if role in NODES else HJ212.get(role, {})
    points = {f"at-{role}/{point}": code for point, (code, _, _) in own.items()}
    return Hj212Uplink(
        host="h",
        port=7212,
        mn="010000A8900016F000169DC0",
        nodes=(f"at-{role}",),
        points=points,
        **more,
    )


def sent_by_hj212(config: Hj212Uplink, directory: Path, role: str, which: int) -> dict[str, str]:
    """What stands in a message 2011 for one record."""
    clock = StillClock(wall_ms=WALL_MS + 2000)
    work = Hj212Work(config, context(directory, clock, devices=list(DEVICES.values())), WALL_MS)
    try:
        for reading in work.intake.readings(1, record(role, which)):
            work.site.newest[reading.code] = reading
        sent = work.site.real_time("2011")
        return {} if sent is None else {key: text for item in sent.body for key, text in item}
    finally:
        work.store.close()


@pytest.mark.parametrize("role", ROLES)
def test_hj212_sends_the_number_of_annex_b(role: str, tmp_path: Path) -> None:
    for which in (0, 1):
        sent = sent_by_hj212(hj212(role), tmp_path, role, which)
        expected = {}
        for point in points_of(role):
            if point.name in HJ212.get(role, {}):
                code, physics, digits = HJ212[role][point.name]
                step = Decimal(1).scaleb(-digits)
                expected[code] = physics(value(point, which)).quantize(step, ROUND_HALF_EVEN)
        rtd = {key.removesuffix("-Rtd"): text for key, text in sent.items() if "-Rtd" in key}
        assert {code: Decimal(text) for code, text in rtd.items()} == expected
        for code, text in rtd.items():  # as many digits as the table has, no exponent
            assert Decimal(text).as_tuple().exponent == expected[code].as_tuple().exponent


def test_hj212_states_gases_at_the_temperature_of_the_profile(tmp_path: Path) -> None:
    shipped = ROOT / "gateway_agent/uplink/hj212/profiles/hj212-2017.toml"
    cold = tmp_path / "cold.toml"
    text = f"kelvin = 273.15\n{shipped.read_text('utf-8')}"
    cold.write_text(text, "utf-8")
    sent = sent_by_hj212(hj212("senseair-s8", profile=str(cold)), tmp_path, "senseair-s8", 1)
    (point,) = [one for one in points_of("senseair-s8") if one.name == "co2"]
    exact = mg_of_ppm("44.010", "273.15")(value(point, 1))
    assert Decimal(sent["a05001-Rtd"]) == exact.quantize(Decimal("0.1"), ROUND_HALF_EVEN)


def test_what_hj212_has_no_code_for_is_named_by_the_check(tmp_path: Path) -> None:
    for role in ROLES:
        lines = list(hj212(role).left_out(site()))
        named = {line.partition(" has no code")[0] for line in lines}
        without = [one for one in points_of(role) if one.name not in HJ212.get(role, {})]
        assert named == {f"at-{role}/{one.name}" for one in without}


# --- SL 651: annex C has unit and digits of each element ------------------------------------------


def level(number: Decimal) -> Decimal:
    """The level of a surface under a sensor 5.2 m above the gauge's zero, from mm."""
    return Decimal("5.2") - kilo(number)


#: role: point: element, its digits and decimals N(d, p), what its unit makes of the value.
SL651: dict[str, dict[str, tuple[int, int, int, Callable[[Decimal], Decimal]]]] = {
    "air": {"temperature": (0x02, 3, 1, same), "humidity": (0x18, 4, 1, same)},
    "water": {
        "distance": (0x39, 7, 3, level),  # m
        "temperature": (0x03, 3, 1, same),
        "ph": (0x46, 4, 2, same),
        "turbidity_ntu": (0x49, 3, 0, same),
    },
    "site-dust-noise": {
        "pressure": (0x08, 5, 0, same),  # hPa
        "wind_speed": (0x35, 4, 1, same),
        "temperature": (0x02, 3, 1, same),
    },
    "xylem-odo-rtu": {"oxygen": (0x47, 4, 1, same), "temperature": (0x03, 3, 1, same)},
    "jxbs-3001-tr": {"conductivity": (0x48, 5, 0, same)},
}
NO_UNIT = {"turbidity_ntu": "NTU"}


def sl651(port: int) -> Sl651Uplink:
    stations = []
    for number, (role, points) in enumerate(SL651.items(), 1):
        elements = [
            StationElement(
                code=f"{identifier:02X}",
                point=point,
                unit=NO_UNIT.get(point, ""),
                datum_m=5.2 if point == "distance" else None,
            )
            for point, (identifier, _, _, _) in points.items()
        ]
        address = f"{number:010d}"
        stations.append(
            StationOfDevice(device=f"at-{role}", address=address, element=tuple(elements))
        )
    return Sl651Uplink(
        host="127.0.0.1", port=port, report_min=1, latency_ms=0, station=tuple(stations)
    )


def group(identifier: int, digits: int, decimals: int, number: Decimal) -> str:
    """An element group, by hand: identifier, definition byte, FF for a minus, digits as BCD."""
    size = (digits + 1) // 2
    whole = int(number.scaleb(decimals).to_integral_value(ROUND_HALF_EVEN))
    if abs(whole) >= 10**digits:
        return f"{identifier:02x}{size << 3 | decimals:02x}" + "ff" * size
    sign = "ff" if whole < 0 else ""
    size += len(sign) // 2
    return f"{identifier:02x}{size << 3 | decimals:02x}{sign}{abs(whole):0{2 * (digits + 1 >> 1)}d}"


async def test_sl651_reports_the_number_of_annex_c(tmp_path: Path) -> None:
    clock, centre = StillClock(wall_ms=WALL_MS + 600_000), Sl651Centre()
    await centre.start()
    try:
        for which in (0, 1):
            root = tmp_path / str(which)
            root.mkdir()
            heard = await reported(centre, root, clock, which)
            for number, (role, points) in enumerate(SL651.items(), 1):
                by_name = {one.name: one for one in points_of(role)}
                expected = "".join(
                    group(identifier, digits, decimals, physics(value(by_name[name], which)))
                    for name, (identifier, digits, decimals, physics) in points.items()
                )
                assert heard[f"{number:010d}"] == expected, role
    finally:
        await centre.stop()


async def reported(
    centre: Sl651Centre, root: Path, clock: StillClock, which: int
) -> dict[str, str]:
    """The elements that each station reports of one poll, in hex."""
    centre.heard.clear()
    async with (
        writer(root, clock) as outbox,
        exporting(outbox, root, sl651(centre.port), clock=clock, devices=list(DEVICES.values())),
    ):
        await outbox.put([poll(role, which) for role in SL651], {})
        await until(lambda: len(centre.heard) == len(SL651))
    return {heard.station: heard.body[15:].hex() for heard in centre.heard}


def test_what_is_in_no_element_of_sl651_is_named_by_the_check() -> None:
    named = {line.partition(" is not reported")[0] for line in sl651(1).left_out(site())}
    expected = {f"at-{role} is no station" for role in ROLES if role not in SL651}
    expected |= {
        f"at-{role}/{one.name}"
        for role in SL651
        for one in points_of(role)
        if one.name not in SL651[role]
    }
    assert named == expected


# --- SL 427: low byte first, thousandths of a metre, F above the digits for a minus ---------------


async def test_sl427_reports_a_level_from_a_distance(tmp_path: Path) -> None:
    (distance,) = [one for one in points_of("water") if one.name == "distance"]
    report = (QuantityOfPoint(quantity="level", point="distance", datum_m=1.5),)
    station = Sl427Device(device="at-water", county="510100", number=13, report=report)
    clock, centre = StillClock(wall_ms=WALL_MS + 600_000), Sl427Centre()
    await centre.start()
    try:
        for which in (0, 1):
            root, centre.heard = tmp_path / str(which), []
            config = Sl427Uplink(
                host="127.0.0.1", port=centre.port, report_min=1, latency_ms=0, station=(station,)
            )
            async with (
                writer(root, clock) as outbox,
                exporting(outbox, root, config, clock=clock, devices=list(DEVICES.values())),
            ):
                await outbox.put([poll("water", which)], {})
                await until(centre.reports)
            millimetres = int((Decimal("1.5") - kilo(value(distance, which))) * 1000)
            digits = f"{'f' if millimetres < 0 else '0'}{abs(millimetres):07d}"
            sent = centre.reports()[0].data.hex()
            assert sent.startswith(bytes.fromhex(digits)[::-1].hex())
    finally:
        await centre.stop()
    named = set(config.left_out(site()))
    assert {"at-water/ph is not reported", "at-air is no station"} <= named
    assert not any("at-water/distance" in line for line in named)


# --- platforms that get a unit beside the number: the point's own, or one that means the same -----

#: SenML's unit (RFC 8428, RFC 8798): what Home Assistant calls it. The number is the same.
HOME_ASSISTANT = {
    "": None,
    "%RH": "%",
    "/100": "%",
    "A": "A",
    "Cel": "°C",
    "Hz": "Hz",
    "V": "V",
    "VA": "VA",
    "W": "W",
    "Wh": "Wh",
    "count": "count",
    "dB": "dB",
    "deg": "°",
    "hPa": "hPa",
    "kWh": "kWh",
    "lx": "lx",
    "m/s": "m/s",
    "mg/kg": "mg/kg",
    "mg/l": "mg/L",
    "mm": "mm",
    "pH": None,
    "ppm": "ppm",
    "s": "s",
    "uS/cm": "µS/cm",
    "ug/m3": "µg/m³",
    "var": "var",
}
#: device class: the units that Home Assistant's documentation of sensors allows with it.
CLASSES = {
    "apparent_power": ("VA",),
    "carbon_dioxide": ("ppm",),
    "conductivity": ("µS/cm",),
    "current": ("A",),
    "distance": ("mm", "m"),
    "duration": ("s",),
    "energy": ("Wh", "kWh"),
    "frequency": ("Hz",),
    "humidity": ("%",),
    "illuminance": ("lx",),
    "ph": (None,),
    "pm1": ("µg/m³",),
    "pm10": ("µg/m³",),
    "pm25": ("µg/m³",),
    "power": ("W",),
    "pressure": ("Pa", "hPa", "kPa"),
    "reactive_power": ("var",),
    "sound_pressure": ("dB",),
    "speed": ("m/s",),
    "temperature": ("°C",),
    "voltage": ("V",),
}


def expected_values(role: str, which: int) -> dict[str, Decimal]:
    return {one.name: value(one, which) for one in points_of(role)}


def exact(text: str) -> Any:
    """JSON with its numbers as they are written."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def messages(core: MqttCore, role: str, which: int) -> list[tuple[str, Any]]:
    core.opened(WALL_MS)
    portion = Portion(1, 1, 1, (record(role, which),), True)
    return [(one.topic, exact(one.payload.decode())) for one in core.messages(portion, WALL_MS)]


@pytest.mark.parametrize("role", ROLES)
def test_home_assistant_gets_the_number_with_a_unit_that_means_the_same(role: str) -> None:
    core = homeassistant.HomeAssistantCore(GATEWAY, DEVICES, "ha", "1")
    (_, announced), (_, state) = messages(core, role, 1)
    assert state == expected_values(role, 1)
    for point in points_of(role):
        shown = announced["cmps"][point.name]
        unit = shown.get("unit_of_measurement")
        assert unit == HOME_ASSISTANT[point.unit], point
        if "device_class" in shown:
            assert unit in CLASSES[shown["device_class"]], point
        is_energy = shown.get("device_class") == "energy"
        assert shown["state_class"] == ("total" if is_energy else "measurement")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("which", [0, 1])
def test_json_in_all_its_forms_has_the_number_and_the_points_own_unit(
    role: str, which: int
) -> None:
    expected, name = expected_values(role, which), f"at-{role}"
    units = {one.name: one.unit for one in points_of(role) if one.unit}
    ((_, plain),) = messages(mqtt_json.JsonCore(GATEWAY, DEVICES, "t", "json"), role, which)
    assert (plain["values"], plain["units"]) == (expected, units)
    ((_, pack),) = messages(mqtt_json.JsonCore(GATEWAY, DEVICES, "t", "senml"), role, which)
    assert {one["n"]: one["v"] for one in pack} == expected
    assert {one["n"]: one["u"] for one in pack if "u" in one} == units
    *_, (_, telemetry) = messages(thingsboard.ThingsBoardCore(GATEWAY, DEVICES), role, which)
    assert telemetry[name][0]["values"] == expected
    prefix = f"{name}_".replace("-", "_")
    for kind in ("aliyun", "onenet"):
        ((_, post),) = messages(clouds.CloudCore(clouds.Cloud(kind, "t")), role, which)
        got = {key.removeprefix(prefix): one["value"] for key, one in post["params"].items()}
        assert got == expected
    ((_, post),) = messages(clouds.CloudCore(clouds.Cloud("tencent", "t")), role, which)
    assert {key.removeprefix(prefix): one for key, one in post["params"].items()} == expected
    ((_, post),) = messages(clouds.CloudCore(clouds.Cloud("huawei", "t")), role, which)
    assert post["services"][0]["properties"] == expected


@pytest.mark.parametrize("role", ROLES)
def test_files_databases_and_sparkplug_have_the_number(role: str) -> None:
    expected = expected_values(role, 1)
    units = {one.name: one.unit for one in points_of(role)}
    rows = list(csv.reader(io.StringIO(csv_rows.rows_of(1, record(role, 1)).decode())))
    assert {row[2]: Decimal(row[4]) for row in rows} == expected
    assert {row[2]: row[3] for row in rows} == units
    line = influxdb.line_of("m", GATEWAY, DEVICES, record(role, 1)).decode()
    fields = dict(part.split("=") for part in line.split(" ")[1].split(",")[:-1])
    assert {name: Decimal(text) for name, text in fields.items()} == expected
    core = sparkplug.SparkplugCore("g", "e", DEVICES)
    core.opened(WALL_MS)
    sent = core.messages(Portion(1, 1, 1, (record(role, 1),), True), WALL_MS)
    assert [one.topic for one in sent] == [
        f"spBv1.0/g/{kind}/e/at-{role}" for kind in ("DBIRTH", "DDATA")
    ]
    birth, data = (sparkplug.read_metrics(message.payload) for message in sent)
    names = {one.alias: one.name for one in birth}
    assert {names[one.alias]: Decimal(repr(one.value)) for one in data} == expected


def test_every_unit_of_a_point_is_in_the_table_of_this_test() -> None:
    assert {one.unit for one in POINTS} == set(HOME_ASSISTANT)
