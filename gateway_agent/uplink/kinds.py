"""The table of exporters: the one file that changes when a kind of uplink is added.

A kind is a folder beside this file. Its configuration is read when a file has ``[[uplink]]``
tables, its code when one of them is of its type.
"""

import importlib
from typing import Final, NamedTuple

from .exporter_config import ExporterConfig


class Kind(NamedTuple):
    """Where configuration and exporter of a type stand: ``module:class``."""

    config: str
    exporter: str


def _kind(folder: str, name: str) -> Kind:
    place = f"gateway_agent.uplink.{folder}"
    return Kind(f"{place}.config:{name}Uplink", f"{place}.exporter:{name}Exporter")


KINDS: Final = {
    "hj212": Kind(
        "gateway_agent.uplink.hj212.config:Hj212Uplink",
        "gateway_agent.uplink.hj212.exporter:Hj212Exporter",
    ),
    "csv": _kind("csv", "Csv"),
    "mqtt-json": _kind("mqtt_json", "Json"),
    "thingsboard": _kind("thingsboard", "ThingsBoard"),
    "homeassistant": _kind("homeassistant", "HomeAssistant"),
    "sl651": _kind("sl651", "Sl651"),
    "sl427": _kind("sl427", "Sl427"),
    "influxdb": _kind("influxdb", "Influx"),
    "sparkplug": _kind("sparkplug", "Sparkplug"),
}


def _named(place: str) -> object:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def config_types() -> list[type[ExporterConfig]]:
    """Return the configuration tables of all kinds."""
    found = []
    for kind in KINDS.values():
        table = _named(kind.config)
        assert isinstance(table, type)
        assert issubclass(table, ExporterConfig)
        found.append(table)
    return found


def exporter_of(config: ExporterConfig) -> object:
    """Import the class that exports what a table asks for."""
    return _named(KINDS[config.kind].exporter)
