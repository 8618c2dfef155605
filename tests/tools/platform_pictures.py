"""Draw what arrives at each platform: ``python -m tests.tools.platform_pictures --write``.

A gateway's outbox with three records is exported to servers on this machine: MQTT brokers, an
InfluxDB, a platform of HJ 212, a centre of SL 651, a folder. The pictures for docs/integrators.md
show what these got. With ``--check`` nothing is written; the exit status is 1 if one is not
current.
"""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.text import Text

from gateway_agent.config_types import MqttConnection
from gateway_agent.uplink.cloud_login import (
    AliyunAccount,
    AnyCloudAccount,
    HuaweiAccount,
    OneNetAccount,
    TencentAccount,
)
from gateway_agent.uplink.csv.config import CsvUplink
from gateway_agent.uplink.exporter_config import ExporterConfig
from gateway_agent.uplink.hj212.config import Hj212Uplink
from gateway_agent.uplink.homeassistant.config import HomeAssistantUplink
from gateway_agent.uplink.influxdb.config import InfluxUplink
from gateway_agent.uplink.mqtt_json.config import JsonUplink
from gateway_agent.uplink.sl427.config import QuantityOfPoint, Sl427Device, Sl427Uplink
from gateway_agent.uplink.sl651.config import Sl651Uplink, StationElement, StationOfDevice
from gateway_agent.uplink.sparkplug.config import SparkplugUplink
from gateway_agent.uplink.thingsboard.config import ThingsBoardUplink
from hil.platform.hj212_platform import Hj212Platform
from hil.platform.sl427_centre import Sl427Centre
from hil.platform.sl651_centre import Sl651Centre
from protocols.export_record import DeviceInfo
from protocols.uplink import ProfileTemplate, Stamp, sl427, sl651, sparkplug
from tests.integration.cloud_broker import CloudBroker, answering, front_door
from tests.paths import ROOT
from tests.tools import page
from tests.tools.guide_pictures import terminal
from tests.tools.platform_messages import EXAMPLE, STREAM, TIME_MS, device_of, raw_records
from tests.unit.gateway_agent.exporters.export_world import exporting, until, writer
from tests.unit.gateway_agent.exporters.line_protocol import serving
from tests.unit.gateway_agent.store_help import GATEWAY, StillClock

FOLDER: Final = ROOT / "docs" / "platforms"
_COMMAND: Final = "python -m tests.tools.platform_pictures --write"
_NAMES: Final = EXAMPLE._replace(gateway=GATEWAY)
TITLES: Final = {
    "csv": "2025-11-28.csv.part",
    "json": 'a subscriber of the topic, format = "json" and "senml"',
    "clouds": "the brokers of Aliyun, Huawei IoTDA, OneNET, Tencent",
    "thingsboard": "ThingsBoard's broker",
    "homeassistant": "Home Assistant's broker",
    "influxdb": "writes to InfluxDB",
    "sparkplug": "a host of Sparkplug B",
    "hj212": "tianfu-hil platform hj212",
    "sl651": "tianfu-hil platform sl651",
    "sl427": "tianfu-hil platform sl427",
}
_WIDTH: Final = 86
_POOL: Final = Sl427Device(
    device="pool",
    county="510100",
    number=13,
    report=(QuantityOfPoint(quantity="level", point="distance", datum_m=5.2),),
)
_GROUPS: Final = 15  # bytes of a report's body before its elements: address, class, time
Lines = list[tuple[str, str]]  # text and style


async def _arrived(root: Path) -> dict[str, Lines]:
    """Run all exporters, once while the records are new and once when their minute is over."""
    found = await _at_once(root)
    return found | await _minutes_later(root)


async def _at_once(root: Path) -> dict[str, Lines]:
    clock = StillClock(wall_ms=TIME_MS + 2500)
    secret = root / "device.secret"
    secret.touch(0o600)
    secret.write_text("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "utf-8")
    product, own = _NAMES.product, _NAMES.own_device
    accounts: dict[str, AnyCloudAccount] = {
        "Aliyun": AliyunAccount(product_key=product, device_name=own, secret_file=secret),
        "Huawei IoTDA": HuaweiAccount(device_id=own, secret_file=secret),
        "OneNET": OneNetAccount(product_id=product, device_name=own, secret_file=secret),
        "Tencent": TencentAccount(product_id=product, device_name=own, secret_file=secret),
    }
    makers: dict[str, Callable[[MqttConnection], ExporterConfig]] = {
        "json": lambda at: JsonUplink(name="json", broker=at),
        "senml": lambda at: JsonUplink(name="senml", broker=at, format="senml"),
        "thingsboard": lambda at: ThingsBoardUplink(broker=at),
        "homeassistant": lambda at: HomeAssistantUplink(broker=at),
        "sparkplug": lambda at: SparkplugUplink(broker=at, group=_NAMES.group),
    }
    for kind, account in accounts.items():
        name = kind.split()[0]
        makers[kind] = lambda at, name=name, account=account: JsonUplink(  # type: ignore[misc] # mypy has no defaults in lambdas
            name=name, broker=at, format="thing", login=account
        )
    folder = root / "export"
    async with contextlib.AsyncExitStack() as stack:
        brokers = {
            kind: await stack.enter_async_context(front_door(lambda _: float("inf"), lambda: 0))
            for kind in makers
        }
        for broker in brokers.values():
            broker.platform = answering(lambda _: 0)
        influx = stack.enter_context(serving())
        outbox = await stack.enter_async_context(writer(root / "first", clock))
        configs = [
            make(MqttConnection(host="127.0.0.1", port=brokers[kind].port, version="3.1.1"))
            for kind, make in makers.items()
        ]
        url = f"http://127.0.0.1:{influx.port}/api/v2/write?org=city&bucket=site"
        configs += [CsvUplink(folder=folder), InfluxUplink(url=url)]
        await outbox.put(raw_records(_NAMES), {})
        async with exporting(
            outbox, root / "first", *configs, clock=clock, devices=[device_of(_NAMES)]
        ) as exporters:
            await until(
                lambda: (
                    len(exporters.tasks) == len(configs)
                    and all(task.feed.delivered_to == 3 for task in exporters.tasks)
                )
            )
        stream = str(outbox.stats.stream)
        (file,) = folder.iterdir()
        rows = file.read_text("utf-8")
        lines = "".join(influx.texts)
    found = {kind: _mqtt(kind, broker) for kind, broker in brokers.items()}
    shown = {
        "csv": [(row, "") for row in rows.splitlines()],
        "json": [*found["json"], *found["senml"]],
        "clouds": [line for kind in accounts for line in [(f"# {kind}", "bold"), *found[kind][:2]]],
        "thingsboard": found["thingsboard"],
        "homeassistant": found["homeassistant"],
        "influxdb": [(line, "") for line in lines.splitlines()],
        "sparkplug": found["sparkplug"],
    }
    return {
        kind: [(text.replace(stream, str(STREAM)), style) for text, style in parts]
        for kind, parts in shown.items()
    }


async def _minutes_later(root: Path) -> dict[str, Lines]:
    clock = StillClock(wall_ms=TIME_MS + 180_000)
    platform, centre, other = Hj212Platform(), Sl651Centre(), Sl427Centre()
    heard: list[str] = []
    centre.show = heard.append
    lines: list[str] = []
    other.show = lines.append
    points = {"pm2_5": "a34004", "temperature": "a01001", "humidity": "a01002"}
    elements = (
        StationElement(code="02", point="temperature"),
        StationElement(code="18", point="humidity"),
    )
    station = StationOfDevice(device=_NAMES.device, address="0012345678", element=elements)
    await platform.start()
    await centre.start()
    await other.start()
    try:
        configs: list[ExporterConfig] = [
            Hj212Uplink(
                host="127.0.0.1",
                port=platform.port,
                mn="010000A8900016F000169DC0",
                points={f"{_NAMES.device}/{point}": code for point, code in points.items()},
                minutes=1,
                late_s=0,
            ),
            Sl651Uplink(host="127.0.0.1", port=centre.port, report_min=1, station=(station,)),
            Sl427Uplink(host="127.0.0.1", port=other.port, report_min=1, station=(_POOL,)),
        ]
        async with writer(root / "second", clock) as outbox:
            level = ProfileTemplate(f"{GATEWAY}.pool", [("distance", "mm", 0)])
            polled = level.record([4250], Stamp(3, 20, TIME_MS + 3000, 5, 3))
            await outbox.put([*raw_records(_NAMES), polled], {})
            pool = DeviceInfo(f"{GATEWAY}.pool", "pool", "roof", "water", 1000)
            async with exporting(
                outbox, root / "second", *configs, clock=clock, devices=[device_of(_NAMES), pool]
            ):
                await until(lambda: centre.heard and platform.periods("2051") and other.reports())
    finally:
        await other.stop()
        await platform.stop()
        await centre.stop()
    minutes = [item for item in platform.answered if item.cn == "2051"]
    minute = min(minutes, key=lambda item: item.cp)  # those after it are empty
    parts = [(f"CN={minute.cn}  MN={minute.mn}", "bold cyan")]
    parts += [(part, "") for part in minute.cp.split(";")]
    (report,) = [item for item in centre.heard if item.function == 0x32]
    told = [(line, "bold cyan") for line in heard if line.startswith("<- 32")]
    for group in sl651.read_groups(report.body[_GROUPS:]):
        element = sl651.ELEMENTS[group.identifier]
        value = sl651.element_value(group)
        shown = "missing" if value is None else f"{value!s} {element.unit}"
        told.append((f"  {group.identifier:02X} {element.name}: {shown}", ""))
    reader = sl427.Sl427Reader()
    (line,) = [line for line in lines if line.startswith("<- C0")]
    reader.feed(bytes.fromhex(line.rpartition(" ")[2]))
    frame = reader.next_frame()
    assert frame is not None
    quantity, number, _ = sl427.read_number(frame)
    levels = [(line, "bold cyan"), (f"  {quantity.name}: {number} {quantity.unit}", "")]
    return {"hj212": parts, "sl651": told, "sl427": levels}


# --- how it is shown ------------------------------------------------------------------------------


def _mqtt(kind: str, broker: CloudBroker) -> Lines:
    lines: Lines = []
    names: dict[int | None, str] = {}
    for topic, payload in broker.messages:
        lines.append((topic, "bold cyan"))
        if kind == "sparkplug":
            lines += _metrics(payload, names)
        else:
            lines.append((_shown(payload), ""))
    return lines


def _metrics(payload: bytes, names: dict[int | None, str]) -> Lines:
    lines: Lines = []
    for metric in sparkplug.read_metrics(payload):
        if metric.name and metric.alias is not None:
            names[metric.alias] = metric.name
        name = metric.name or names[metric.alias]
        value = "the number of the session" if name == "bdSeq" else json.dumps(metric.value)
        more = f"  (alias {metric.alias})" if metric.alias is not None else ""
        lines.append((f"  {name} = {value}{more}", ""))
    return lines


def _shown(payload: bytes) -> str:
    try:
        return _pretty(json.loads(payload))
    except ValueError:
        return payload.decode()


def _pretty(value: object, indent: str = "") -> str:
    """JSON with what fits into a line in one."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) + len(indent) <= _WIDTH or not isinstance(value, dict | list):
        return flat
    inner = indent + "  "
    parts = (
        [f"{json.dumps(name)}: {_pretty(item, inner)}" for name, item in value.items()]
        if isinstance(value, dict)
        else [_pretty(item, inner) for item in value]
    )
    begin, end = "{}" if isinstance(value, dict) else "[]"
    return begin + "\n" + ",\n".join(inner + part for part in parts) + f"\n{indent}{end}"


def pictures() -> Mapping[str, str]:
    """Return each picture, by the name of its file."""
    with tempfile.TemporaryDirectory() as name:
        arrived = asyncio.run(_arrived(Path(name)))
    made = {}
    for kind, title in TITLES.items():
        text = Text("\n").join(Text(line, style) for line, style in arrived[kind])
        made[f"{kind}.svg"] = terminal(text, title)
    return made


def main(arguments: Sequence[str]) -> int:
    """Run with the options of :mod:`tests.tools.page`; returns the exit code."""
    os.environ.pop("NO_COLOR", None)
    FOLDER.mkdir(exist_ok=True)
    return max(
        page.run(arguments, FOLDER / name, made, _COMMAND) for name, made in pictures().items()
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
