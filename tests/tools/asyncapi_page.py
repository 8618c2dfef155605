"""Write docs/asyncapi.yaml from the code: ``python -m tests.tools.asyncapi_page --write``.

The channels are those that the code publishes to and subscribes to: each exporter's core is run
with capitals for the parameters of its topics, and once more with names for the examples.
"""

import inspect
import json
import re
import sys
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

from gateway_agent.notify.queue import Notice
from gateway_agent.uplink import topics
from tests.paths import ROOT
from tests.tools import asyncapi_schemas as schemas
from tests.tools import page
from tests.tools.platform_messages import EXAMPLE, KINDS, PARAMETERS, talk

PATH: Final = ROOT / "docs" / "asyncapi.yaml"
_COMMAND: Final = "python -m tests.tools.asyncapi_page --write"
_PARAMETERS: Final = {
    "gateway": "the id of the gateway",
    "stream": "the number of its stream of records",
    "device": "the name of a device, or what is left of its id",
    "product": "the product in a cloud",
    "cloud-device": "the gateway's own device in a cloud",
    "group": "the group of Sparkplug",
    "kid": "the id of a key, in hex",
    "alarm": "the name of an alarm",
}
_CLOUD: Final = (
    '[uplink.login] kind = "{}", format = "thing"; from implementations, not from the text'
)
#: The uplink of each kind of messages, as docs/integrators.md calls it.
_UPLINKS: Final = {
    "json": 'type = "mqtt-json" with format = "json", on its topic if none is configured',
    "senml": 'type = "mqtt-json" with format = "senml" (RFC 8428)',
    **{kind: _CLOUD.format(kind) for kind in ("aliyun", "huawei", "onenet", "tencent")},
    "thingsboard": "ThingsBoard's gateway API",
    "homeassistant": "Home Assistant's device discovery",
    "sparkplug": "Sparkplug B 3.0; payloads are its Protocol Buffers",
}
_SPARKPLUG: Final = "application/x-protobuf"
#: Of what topics end in, within a kind: the name of the channel, and its payload.
_SENT: Final = {
    ("json", "DEVICE"): ("Record", schemas.JSON),
    ("senml", "DEVICE"): ("Record", schemas.SENML),
    ("aliyun", "post"): ("Post", schemas.ALIYUN),
    ("huawei", "report"): ("Report", schemas.HUAWEI),
    ("onenet", "post"): ("Post", schemas.ONENET),
    ("tencent", "CLOUD-DEVICE"): ("Report", schemas.TENCENT),
    ("thingsboard", "connect"): ("Connect", schemas.CONNECT),
    ("thingsboard", "attributes"): ("Attributes", schemas.ATTRIBUTES),
    ("thingsboard", "telemetry"): ("Telemetry", schemas.TELEMETRY),
    ("homeassistant", "config"): ("Discovery", schemas.DISCOVERY),
    ("homeassistant", "state"): ("State", schemas.STATE),
    ("homeassistant", "status"): ("Availability", schemas.AVAILABILITY),
    **{
        ("sparkplug", kind): (kind.title(), schemas.BINARY)
        for kind in ("NBIRTH", "DBIRTH", "DDATA", "NDEATH")
    },
}
_RECEIVED: Final = {
    "aliyun": [("Answer", schemas.CLOUD_ANSWER)],
    "onenet": [("Answer", schemas.CLOUD_ANSWER)],
    "tencent": [("Answer", schemas.CLOUD_ANSWER)],
    "thingsboard": [("Rpc", schemas.RPC)],
    "homeassistant": [("Status", schemas.AVAILABILITY)],
    "sparkplug": [("NodeCommand", schemas.BINARY), ("DeviceCommand", schemas.BINARY)],
}


class OwnTopic(NamedTuple):
    """A topic between gateway, collector and operators: who publishes, who listens, the payload."""

    senders: tuple[str, ...]
    receivers: tuple[str, ...]
    content_type: str
    schema: schemas.Schema
    retained: bool = False


_COSE: Final = "application/cose; cose-type=cose-sign1"
_JSON: Final = "application/json"
_NOTICE: Final = schemas.of_struct(Notice)
#: By the function in gateway_agent/uplink/topics.py.
_OWN: Final = {
    "batch_topic": OwnTopic(("gateway",), ("collector",), _COSE, schemas.BINARY),
    "receipt_topic": OwnTopic(("collector",), ("gateway",), _COSE, schemas.BINARY, True),
    "status_topic": OwnTopic(("gateway",), (), _JSON, schemas.PRESENCE, True),
    "alarm_topic": OwnTopic(("gateway",), (), _JSON, _NOTICE, True),
    "alarm_change_topic": OwnTopic(("gateway",), (), _JSON, _NOTICE),
    "order_topic": OwnTopic((), ("gateway",), _COSE, schemas.BINARY),
    "reply_topic": OwnTopic(("gateway",), (), _COSE, schemas.BINARY),
}
_Way: TypeAlias = tuple[str, Literal["send", "receive"]]


class _Parameter(str):
    """A parameter of a topic, in the place of a text, a number or a key id."""

    __slots__ = ()

    def hex(self) -> str:
        return self


class MqttChannel(NamedTuple):
    """One topic: who sends to it or receives from it, and what its payloads are."""

    name: str
    address: str
    description: str
    ways: tuple[_Way, ...]
    schema: schemas.Schema
    content_type: str
    retained: bool = False
    examples: tuple[object, ...] = ()


def channels() -> Iterator[MqttChannel]:
    """Yield every channel there is."""
    yield from _own_channels()
    for kind in KINDS:
        yield from _platform_channels(kind)


def _own_channels() -> Iterator[MqttChannel]:
    for name, function in inspect.getmembers(topics, inspect.isfunction):
        if not name.endswith("_topic"):
            continue
        if name not in _OWN:
            raise KeyError(f"topics.{name} is not described in tests/tools/asyncapi_page.py")
        own, names = _OWN[name], inspect.signature(function).parameters
        sends: list[_Way] = [(who, "send") for who in own.senders]
        receives: list[_Way] = [(who, "receive") for who in own.receivers]
        text = (inspect.getdoc(function) or "").removeprefix("Return the topic ")
        if own.schema is schemas.BINARY:
            text += " Its bytes are in docs/formats.md."
        yield MqttChannel(
            name.removesuffix("_topic"),
            function(**{one: _Parameter("{" + one + "}") for one in names}),
            f"The topic {text}",
            (*sends, *receives),
            own.schema,
            own.content_type,
            own.retained,
        )


def _platform_channels(kind: str) -> Iterator[MqttChannel]:
    templates, real = talk(kind, PARAMETERS), talk(kind, EXAMPLE)
    found: dict[str, list[tuple[bytes, bool]]] = {}
    for template, message in zip(templates.sent, real.sent, strict=True):
        found.setdefault(template.topic, []).append((message.payload, message.retain))
    for topic, payloads in found.items():
        end = topic.rpartition("/")[2] if kind != "sparkplug" else topic.split("/")[2]
        name, schema = _SENT[kind, end]
        is_binary = schema is schemas.BINARY
        distinct = list(dict.fromkeys(payload for payload, _ in payloads))
        yield MqttChannel(
            kind + name,
            _address(topic),
            _UPLINKS[kind],
            (("gateway", "send"),),
            schema,
            _SPARKPLUG if is_binary else _JSON,
            payloads[0][1],
            () if is_binary else tuple(_read(payload) for payload in distinct),
        )
    for topic, (name, schema) in zip(templates.filters, _RECEIVED.get(kind, ()), strict=True):
        ways: tuple[tuple[str, Literal["send", "receive"]], ...] = (("gateway", "receive"),)
        if kind == "thingsboard":
            ways = (("gateway", "receive"), ("gateway", "send"))
        content_type = _SPARKPLUG if schema is schemas.BINARY else "application/json"
        yield MqttChannel(kind + name, _address(topic), _UPLINKS[kind], ways, schema, content_type)


def _read(payload: bytes) -> object:
    try:
        return json.loads(payload)
    except ValueError:
        return payload.decode()


def _address(topic: str) -> str:
    for name in (*PARAMETERS[:2], *PARAMETERS[2:5]):
        topic = topic.replace(name, "{" + name.lower() + "}")
    return topic.replace("/+", "/{device}").replace("CLOUD-{device}", "{cloud-device}")


def document() -> dict[str, object]:
    """Return the whole description."""
    found = list(channels())
    assert len({one.name for one in found}) == len(found)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "tianfu-edge over MQTT",
            "version": "0.1.0",
            "description": (
                "What a gateway and its collector publish and subscribe to, and what gateways"
                " publish to the platforms of a site; docs/integrators.md has the configuration of"
                " each."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {one.name: _channel(one) for one in found},
        "operations": {
            _operation(who, way, one): {
                "action": way,
                "channel": {"$ref": f"#/channels/{one.name}"},
                "summary": f"The {who} {way}s it.",
                "bindings": {
                    "mqtt": {"qos": 0 if "spB" in one.address else 1, "retain": one.retained}
                },
            }
            for one in found
            for who, way in one.ways
        },
    }


def _operation(who: str, way: str, channel: MqttChannel) -> str:
    return f"{who}{way.title()}s{channel.name[0].upper()}{channel.name[1:]}"


def _channel(channel: MqttChannel) -> dict[str, object]:
    message: dict[str, object] = {"contentType": channel.content_type, "payload": channel.schema}
    if channel.examples:
        message["examples"] = [{"payload": example} for example in channel.examples]
    made: dict[str, object] = {
        "address": channel.address,
        "description": channel.description,
        "messages": {channel.name: message},
    }
    parameters = dict.fromkeys(re.findall(r"\{([^}]+)\}", channel.address))
    if parameters:
        made["parameters"] = {
            name: {"description": _PARAMETERS.get(name, "as configured")} for name in parameters
        }
    return made


def yaml(value: object, indent: str = "") -> str:
    """Return a value as YAML: blocks of names, and JSON, which is YAML, for all that is short."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or len(flat) + len(indent) < 90:
        return f" {flat}\n"
    lines = "\n"
    if isinstance(value, list):
        for item in value:
            lines += f"{indent}-{yaml(item, indent + '  ')}"
        return lines
    for name, item in value.items():
        key = name if re.fullmatch(r"[A-Za-z][\w.-]*", name) else json.dumps(name)
        lines += f"{indent}{key}:{yaml(item, indent + '  ')}"
    return lines


def render() -> str:
    """Return the text of the file."""
    head = f"# Made from the code, and compared with it by a test: {_COMMAND}\n"
    return head + yaml(document()).lstrip("\n")


def main(arguments: list[str] | None = None) -> int:
    """Print, write or check the file; returns the exit code."""
    return page.run(sys.argv[1:] if arguments is None else arguments, PATH, render(), _COMMAND)


if __name__ == "__main__":
    sys.exit(main())
