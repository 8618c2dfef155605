"""Each exporter ends wherever it is, and its place is never beyond what its platform has."""

from pathlib import Path

import pytest

from . import worlds_exporters as worlds
from . import worlds_platforms
from .sweep import MOMENTS, Make, Moment, sweep

WORLDS: dict[str, Make] = {
    "hj212": worlds.hj212,
    "sl651": worlds.sl651,
    "influxdb": worlds.influxdb,
    "csv": worlds.csv,
    "mqtt-json": worlds.mqtt_json,
    "sparkplug": worlds.sparkplug,
    "cloud": worlds.cloud,
    "thingsboard": worlds_platforms.thingsboard,
    "homeassistant": worlds_platforms.homeassistant,
    "sl427": worlds_platforms.sl427,
}
FEW = 9  # every so many suspensions in `make test`


@pytest.mark.parametrize("kind", WORLDS)
def test_an_exporter_ends(folder: Path, kind: str) -> None:
    sweep(WORLDS[kind], folder, Moment(with_answer=True), floor=20, part=FEW)


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("moment", "part"), MOMENTS)
@pytest.mark.parametrize("kind", WORLDS)
def test_an_exporter_ends_at_each_suspension(
    folder: Path, kind: str, moment: Moment, part: int
) -> None:
    sweep(WORLDS[kind], folder, moment, floor=20, part=part)
