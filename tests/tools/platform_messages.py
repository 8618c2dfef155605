"""What each exporter over MQTT publishes, made by its own code from the same three records."""

from pathlib import Path
from typing import Final, NamedTuple

from gateway_agent.config_types import MqttConnection
from gateway_agent.uplink.cloud_login import (
    AliyunAccount,
    AnyCloudAccount,
    HuaweiAccount,
    OneNetAccount,
    TencentAccount,
)
from gateway_agent.uplink.mqtt_json.config import JsonUplink
from protocols.export_message import MqttCore, PlatformMessage
from protocols.export_record import DeviceInfo, ExportRecord, Portion, export_record
from protocols.uplink import (
    Gap,
    ProfileTemplate,
    Record,
    Stamp,
    clouds,
    decode_record,
    gap_record,
    homeassistant,
    mqtt_json,
    sparkplug,
    thingsboard,
)

TIME_MS: Final = 1_764_322_200_250  # 2025-11-28T09:30:00.250Z
STREAM: Final = 4_294_967_297
FIRST: Final = 4711
POINTS: Final = [("pm2_5", "ug/m3", 0), ("temperature", "Cel", -1), ("humidity", "%RH", -1)]


class PlatformNames(NamedTuple):
    """How gateway, device, product and so on are called; capitals stand for parameters."""

    gateway: str
    device: str
    product: str
    own_device: str  # the gateway's, in a cloud
    group: str
    bus: str = "roof"


EXAMPLE: Final = PlatformNames("site-12", "yard", "a1Test0000", "gw1", "city")
PARAMETERS: Final = PlatformNames("GATEWAY", "DEVICE", "PRODUCT", "CLOUD-DEVICE", "GROUP")


def device_of(names: PlatformNames) -> DeviceInfo:
    """Return the one device: a dust monitor on a mast."""
    ident = f"{names.gateway}.{names.device}"
    return DeviceInfo(ident, names.device, names.bus, "site-dust-noise", 1000)


def raw_records(names: PlatformNames) -> list[Record]:
    """Return a good poll, one with a point that gave nothing, and a gap."""
    device = device_of(names)
    template = ProfileTemplate(device.id, POINTS)
    stamps = [Stamp(n, n + 20, TIME_MS + 1000 * n, 5, 3) for n in range(3)]
    return [
        template.record([35, 214, 483], stamps[0]),
        template.record([36, "timeout", 481], stamps[1]),
        gap_record(device.id, Gap("bus_timeout", None, None, None, "no answer"), stamps[2]),
    ]


def export_records(names: PlatformNames) -> tuple[ExportRecord, ...]:
    """Return these records as exporters get them."""
    made = []
    for number, record in enumerate(raw_records(names)):
        wall = (TIME_MS + 1000 * number, 5)
        decoded = decode_record(record.data)
        made.append(export_record(FIRST + number, decoded, wall, device_of(names)))
    return tuple(made)


def _cores(names: PlatformNames) -> dict[str, MqttCore]:
    gateway, device = names.gateway, device_of(names)
    devices = {device.id: device}
    topic = JsonUplink(broker=MqttConnection(host="h")).topic
    product, own, secret = names.product, names.own_device, Path("device.secret")
    accounts: list[AnyCloudAccount] = [
        AliyunAccount(product_key=product, device_name=own, secret_file=secret),
        HuaweiAccount(device_id=own, secret_file=secret),
        OneNetAccount(product_id=product, device_name=own, secret_file=secret),
        TencentAccount(product_id=product, device_name=own, secret_file=secret),
    ]
    return {
        "json": mqtt_json.JsonCore(gateway, devices, topic, "json"),
        "senml": mqtt_json.JsonCore(gateway, devices, topic, "senml"),
        **{one.cloud.kind: clouds.CloudCore(one.cloud) for one in accounts},
        "thingsboard": thingsboard.ThingsBoardCore(gateway, devices),
        "homeassistant": homeassistant.HomeAssistantCore(gateway, devices, "homeassistant", "1"),
        "sparkplug": sparkplug.SparkplugCore(names.group, gateway, devices),
    }


class PlatformTalk(NamedTuple):
    """What one exporter publishes for the records, in order, and what it subscribes to."""

    sent: list[PlatformMessage]
    filters: list[str]


def talk(kind: str, names: PlatformNames = EXAMPLE) -> PlatformTalk:
    """Return a whole session: what it begins with, the records, its goodbye."""
    core, now_ms = _cores(names)[kind], TIME_MS + 2500
    records = export_records(names)
    sent = core.opened(now_ms)
    sent += core.messages(
        Portion(STREAM, FIRST, FIRST + len(records) - 1, records, is_newest=True), now_ms
    )
    return PlatformTalk([*sent, *core.closing()], core.filters())


KINDS: Final = tuple(_cores(EXAMPLE))
