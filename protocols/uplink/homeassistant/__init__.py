"""Home Assistant's device discovery on MQTT, with availability, and values that expire.

From Home Assistant's documentation and its implementations, not from a standard. The platform has
the present only: a record older than a value's life is not sent, and a value of a silent device
turns unavailable instead of standing for ever.
"""

import json
import re
from typing import Final

from protocols.export_message import PlainCore, PlatformMessage
from protocols.export_record import DeviceInfo, ExportRecord, Portion

LEAST_LIFE_S: Final = 30  # of a value; three periods of its device, if that is longer
#: SenML unit: the unit there, and the device class that goes with it.
UNITS: Final = {
    "Cel": ("°C", "temperature"),
    "%RH": ("%", "humidity"),
    "ug/m3": ("µg/m³", ""),
    "mg/m3": ("mg/m³", ""),
    "ppm": ("ppm", ""),
    "Pa": ("Pa", "pressure"),
    "hPa": ("hPa", "pressure"),
    "kPa": ("kPa", "pressure"),
    "V": ("V", "voltage"),
    "A": ("A", "current"),
    "W": ("W", "power"),
    "VA": ("VA", "apparent_power"),
    "var": ("var", "reactive_power"),
    "Wh": ("Wh", "energy"),
    "kWh": ("kWh", "energy"),
    "Hz": ("Hz", "frequency"),
    "dB": ("dB", "sound_pressure"),
    "uS/cm": ("µS/cm", "conductivity"),
    "mg/l": ("mg/L", ""),
    "deg": ("°", ""),
    "s": ("s", "duration"),
    "lx": ("lx", "illuminance"),
    "m": ("m", "distance"),
    "mm": ("mm", "distance"),
    "m/s": ("m/s", "speed"),
    "/100": ("%", ""),
    "/": ("", ""),
    "pH": ("", "ph"),
}
#: Name and unit of a point: its device class, where the unit alone does not decide.
CLASSES: Final = {
    ("pm1_0", "ug/m3"): "pm1",
    ("pm2_5", "ug/m3"): "pm25",
    ("pm10", "ug/m3"): "pm10",
    ("co2", "ppm"): "carbon_dioxide",
}
_OTHER: Final = re.compile(r"[^a-zA-Z0-9_-]")


class HomeAssistantCore(PlainCore):
    """Each of our devices is a device there, each point a sensor."""

    def __init__(
        self, gateway: str, devices: dict[str, DeviceInfo], prefix: str, version: str
    ) -> None:
        self._gateway = gateway
        self._devices = devices
        self._prefix = prefix
        self._version = version
        self._base = f"tianfu/{gateway}/ha"
        self._shown: dict[str, dict[str, str]] = {}  # device id: units of the points announced

    def will(self) -> PlatformMessage | None:
        """Return that everything of this gateway is unavailable."""
        return PlatformMessage(f"{self._base}/status", b"offline", (), True)

    def filters(self) -> list[str]:
        """Return where Home Assistant announces that it has started."""
        return [f"{self._prefix}/status"]

    def opened(self, now_ms: int | None) -> list[PlatformMessage]:
        """Return that the gateway is there; devices are announced with their first values."""
        self._shown.clear()
        return [PlatformMessage(f"{self._base}/status", b"online", (), True)]

    def closing(self) -> list[PlatformMessage]:
        """Return that everything is unavailable."""
        return [PlatformMessage(f"{self._base}/status", b"offline", (), True)]

    def received(self, topic: str, payload: bytes) -> list[PlatformMessage]:
        """Announce all devices again when Home Assistant has started."""
        if topic != f"{self._prefix}/status" or payload not in (b"online", b"offline"):
            raise ValueError(f"expected online or offline, got {payload[:40]!r} on {topic[:80]!r}")
        if payload == b"online":
            self._shown.clear()
        return []

    def is_stale(self, record: ExportRecord, now_ms: int | None) -> bool:
        """Return whether a value of this record would be dead on arrival."""
        return now_ms is not None and now_ms - record.wall_ms > 1000 * self._life_s(record.device)

    def _life_s(self, device: str) -> int:
        known = self._devices.get(device)
        return max(LEAST_LIFE_S, 0 if known is None else -(-3 * known.period_ms // 1000))

    def messages(self, portion: Portion, now_ms: int | None) -> list[PlatformMessage]:
        """Return the state of each record, after the announcement of what is new in it."""
        found = []
        for record in portion.records:
            if not record.is_data:
                continue
            shown = self._shown.setdefault(record.device, {})
            new = {one.name: one.unit for one in record.points if one.value is not None}
            if not new.items() <= shown.items():
                shown.update(new)
                found.append(self._announcement(record, shown))
            # null is "unknown" there: a point without a reading keeps no old value.
            values = {one.name: one.value for one in record.points if one.name in shown}
            payload = json.dumps(values, separators=(",", ":")).encode()
            found.append(PlatformMessage(self._state(record.device), payload, (record.seq,)))
        return found

    def _state(self, device: str) -> str:
        return f"{self._base}/{_OTHER.sub('_', device)}/state"

    def _announcement(self, record: ExportRecord, points: dict[str, str]) -> PlatformMessage:
        ident = _OTHER.sub("_", record.device)
        components = {
            name: {
                "p": "sensor",
                "name": name,
                "unique_id": f"{ident}_{name}",
                "value_template": "{{ value_json." + name + " }}",
                "expire_after": self._life_s(record.device),
                **_unit(name, unit),
            }
            for name, unit in points.items()
        }
        content = {
            "dev": {"ids": ident, "name": record.name, "mf": "tianfu-edge", "mdl": record.role},
            "o": {"name": "tianfu-edge", "sw": self._version},
            "cmps": components,
            "state_topic": self._state(record.device),
            "availability_topic": f"{self._base}/status",
            "qos": 1,
        }
        payload = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
        return PlatformMessage(f"{self._prefix}/device/{ident}/config", payload, (), True)


def _unit(name: str, unit: str) -> dict[str, str]:
    shown, device_class = UNITS.get(unit, (unit, ""))
    device_class = CLASSES.get((name, unit), device_class)
    # A meter reading only grows, and Home Assistant takes energy as nothing else.
    found = {"state_class": "total" if device_class == "energy" else "measurement"}
    if shown:
        found["unit_of_measurement"] = shown
    if device_class:
        found["device_class"] = device_class
    return found
