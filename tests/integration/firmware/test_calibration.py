"""A probe that is off by half a pH is calibrated over the bus, by one command in each liquid."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from boards.cli import app
from hil.bench import Bench
from hil.sim.part import Steady

OFF = 0.5  # what the probe shows too little


@pytest.mark.timeout(120)
async def test_a_probe_is_calibrated_in_two_liquids(tmp_path: Path) -> None:
    source = Steady()
    key = tmp_path / "key.json"
    key.touch(0o600)
    async with Bench(tmp_path / "bench", source, roles=("water",)) as bench:
        await bench.power_on()
        spec = bench.nodes["water"].spec
        key.write_text(json.dumps({"key_id": spec.key_id, "key": spec.key}))
        unit = str(spec.settings["unit_id"])

        async def command(*words: str) -> str:
            result = await asyncio.to_thread(
                CliRunner().invoke, app, [words[0], bench.port, *words[1:], "--unit", unit]
            )
            assert result.exit_code == 0, result.output
            return result.output

        async def shown() -> tuple[int, float | None]:
            """Return the number of the sample that the node shows, and its pH."""
            found = json.loads(await command("show", "--json"))
            return int(found["sample"].split("/")[1]), found["points"]["ph"]["value"]

        async def measured(liquid: float) -> float:
            """Return what the node measures once the probe is in this liquid."""
            source.water_now = replace(source.water_now, ph=liquid - OFF)
            first, _ = await shown()
            async with asyncio.timeout(30):
                while True:
                    seq, value = await shown()
                    # The sample under way may be of the liquid before.
                    if seq >= first + 2 and value is not None:
                        return value

        assert abs(await measured(7.0) - 6.5) <= 0.05
        text = await command("calibrate", "ph", "1", "7.00", "--key", str(key))
        assert "the node now measures 7" in text
        assert abs(await measured(4.0) - 4.0) > 0.1, "one point alone is not enough"
        text = await command("calibrate", "ph", "2", "4.00", "--key", str(key))
        assert "the node now measures 4" in text
        for liquid in (5.5, 9.0):
            assert abs(await measured(liquid) - liquid) <= 0.05
