"""The example configuration is good, shows every key, and means what it meant."""

import re
from typing import get_args

from msgspec import to_builtins
from msgspec.structs import fields

from gateway_agent.alarms.rules import AlarmRule
from gateway_agent.config import (
    GatewayIdentity,
    LinkBus,
    LinkNode,
    MqttUplink,
    NodeDevice,
    OrdersConfig,
    OutboxConfig,
    ProfileDevice,
    ReloadConfig,
    RtuOverTcpBus,
    SerialBus,
    TcpBus,
    WebConfig,
    load,
    parse,
)
from gateway_agent.config_types import TlsFiles
from gateway_agent.notify.config import NotifyConfig
from gateway_agent.telemetry.config import OtlpConfig

from .test_config import EXAMPLE, GATEWAY, example


def test_the_example_is_good() -> None:
    config = load(EXAMPLE)
    assert config.gateway.id == "site-12"
    assert [bus.type for bus in config.bus] == ["rtu", "tcp"]
    air, co2 = config.bus[0].device
    assert air.device_id("site-12") == "tf-0123456789abcdef01234567"
    assert co2.device_id("site-12") == "site-12.co2-hall"


def test_the_example_shows_every_key() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    tables = (
        GatewayIdentity,
        MqttUplink,
        TlsFiles,
        OutboxConfig,
        SerialBus,
        TcpBus,
        RtuOverTcpBus,
        NodeDevice,
        ProfileDevice,
        LinkBus,
        LinkNode,
        ReloadConfig,
        WebConfig,
        OrdersConfig,
        *get_args(AlarmRule),
        *get_args(NotifyConfig),
        OtlpConfig,
    )
    keys = {field.encode_name for table in tables for field in fields(table)} - {"tls", "device"}
    shown = set(re.findall(r"^([a-z_0-9]+) = ", text, re.MULTILINE))
    assert shown == keys | {"type", "kind", "when", "device"}
    for table in ("[uplink.tls]", "[[bus.device]]"):
        assert table in text


# What came later, as it is where a file does not name it.
NEWER_BUS_KEYS = {"data_bits": 8, "request_gap_ms": 0, "max_words": 125, "never_join": False}
NEWER_NET_KEYS = {"connect_delay_ms": 0, "close_after": "never", "check_transaction_id": True}
NEWER_DEVICE_KEYS = {
    "answer_unit": None,
    "timeout_ms": None,
    "request_gap_ms": 0,
    "title": "",
    "place": "",
    "note": "",
}


def test_the_example_means_what_it_meant() -> None:
    tables = example()
    buses = tables["bus"]
    assert isinstance(buses, list)
    del buses[2:]  # the links, which came later
    del tables["web"]
    del tables["orders"]
    del tables["alarm"]
    del tables["reload"]
    node = buses[0]["device"][0]
    for name in ("title", "place", "note"):
        del node[name]
    del tables["notify"]
    del tables["otlp"]
    config = parse(tables, GATEWAY)
    assert to_builtins(config, enc_hook=str) == {
        "gateway": {
            "id": "site-12",
            "state_dir": "/etc/tianfu/state",
            "key": "/etc/tianfu/gateway.key",
            "update_keys": ("/etc/tianfu/release.pub",),
            "site_group": "tianfu-site",
        },
        "uplink": {
            "type": "mqtt",
            "host": "broker.example.net",
            "port": 8883,
            "version": "5",
            "tls": {
                "ca": "/etc/tianfu/ca.pem",
                "cert": "/etc/tianfu/gateway.pem",
                "key": "/etc/tianfu/gateway-tls.key",
            },
            "username": "site-12",
            "password_file": "/etc/tianfu/broker.password",
            "receipt": "signed",
            "collector_key": "/etc/tianfu/collector.pub",
            "compression": "zstd",
            "batch_records": 1000,
            "latency": "normal",
            "batch_interval_ms": 1000,
            "window_bytes": 262144,
            "in_flight": 64,
            "retry_ms": 5000,
        },
        "outbox": {"max_bytes": 1073741824, "commit_ms": 50},
        "bus": (
            {
                "type": "rtu",
                "name": "roof",
                "rts": "none",
                "port": "/dev/serial/by-id/usb-example-if00-port0",
                "baudrate": 9600,
                "parity": "N",
                "stopbits": 1,
                "timeout_ms": 500,
                "turnaround_ms": 20,
                "quiet_ms": 50,
                **NEWER_BUS_KEYS,
                "gap_words": 8,
                "device": (
                    {
                        "kind": "node",
                        "name": "air-1",
                        "unit": 1,
                        **NEWER_DEVICE_KEYS,
                        "role": "air",
                        "uid": "0123456789abcdef01234567",
                        "key": "/etc/tianfu/air-1.key",
                        "replaces": 1,
                        "period_ms": 2500,
                    },
                    {
                        "kind": "profile",
                        "name": "co2-hall",
                        "unit": 2,
                        **NEWER_DEVICE_KEYS,
                        "answer_unit": 2,
                        "timeout_ms": 1000,
                        "request_gap_ms": 100,
                        "profile": "senseair-s8",
                        "period_ms": 4000,
                    },
                ),
            },
            {
                "type": "tcp",
                "name": "pump-house",
                "host": "192.168.1.20",
                **NEWER_NET_KEYS,
                "port": 502,
                "baudrate": 9600,
                "parity": "N",
                "stopbits": 1,
                "timeout_ms": 500,
                "turnaround_ms": 20,
                "quiet_ms": 50,
                **NEWER_BUS_KEYS,
                "gap_words": 8,
                "device": (
                    {
                        "kind": "profile",
                        "name": "basin",
                        "unit": 1,
                        **NEWER_DEVICE_KEYS,
                        "profile": "xylem-odo-rtu",
                        "period_ms": 10000,
                    },
                ),
            },
        ),
        "link": (),
        "exporters": (),
        "web": None,
        "reload": {"probation_s": 120, "silent_share": 0.2},
        "orders": None,
        "alarm": (),
        "notify": (),
        "otlp": None,
    }
