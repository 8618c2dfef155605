"""CSV files by day: what is in them, their names and signatures, and every kill counted."""

import asyncio
import csv
import hashlib
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from gateway_agent.uplink.csv.config import CsvUplink
from gateway_agent.uplink.trace_log import find_seq
from tests.paths import ROOT
from tests.unit.gateway_agent.store_help import StillClock, open_box

from .export_world import KEY, exporting, hole, sample, until, writer

DAY_MS = 86_400_000


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="ascii") as file:
        return list(csv.DictReader(file))


async def test_a_day_is_written_then_signed_and_named(tmp_path: Path) -> None:
    config = CsvUplink(folder=tmp_path / "out", latency_ms=0)
    clock = StillClock()
    async with (
        writer(tmp_path, clock) as outbox,
        exporting(outbox, tmp_path, config, clock=clock) as exporters,
    ):
        await outbox.put([sample(0), sample(1, failed=True), hole(2)], {})
        part = tmp_path / "out" / "2025-10-09.csv.part"
        await until(lambda: exporters.tasks and not exporters.tasks[0].feed.behind)
        found = rows(part)
        assert found[0] == {
            "time": "2025-10-09T08:53:20.000Z",
            "device": "hall",
            "point": "co2",
            "unit": "ppm",
            "value": "0",
            "quality": "",
            "uncertainty_ms": "5",
            "stream": str(outbox.stats.stream),
            "seq": "1",
        }
        assert [(row["value"], row["quality"]) for row in found[1:]] == [
            ("0.0", ""),
            ("1", ""),
            ("", "no-value"),
            ("", "gap: bus_timeout"),
        ]
        assert clock.wall_ms is not None
        clock.wall_ms += DAY_MS
        await outbox.put([sample(86400)], {})
        path = tmp_path / "out" / "2025-10-09.csv"
        await until(path.exists)
        assert not part.exists()
        assert len(rows(tmp_path / "out" / "2025-10-10.csv.part")) == 2
        text = path.with_name("2025-10-09.csv.json").read_bytes()
        signature = path.with_name("2025-10-09.csv.json.sig").read_bytes()
        KEY.public_key().verify(signature, text)
        manifest = json.loads(text)
        assert manifest["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert manifest["records"] == [f"{outbox.stats.stream}:1-3"]
        assert (manifest["rows"], manifest["gateway"]) == (5, "gw-1")
        # What comes late for a day that is signed goes into a file of its own.
        await outbox.put([sample(3)], {})
        await until((tmp_path / "out" / "2025-10-09.2.csv").exists)
        (one,) = find_seq(tmp_path, 5, None, 9)
        assert one.message.startswith("2025-10-09.2.csv:")


async def put(root: Path, number: int) -> int:
    """Export one more record in a process of its own, so to say; return the stream."""
    config = CsvUplink(folder=root / "out", latency_ms=0)
    async with writer(root) as outbox, exporting(outbox, root, config) as exporters:
        await until(lambda: exporters.tasks)
        await outbox.put([sample(number)], {})
        await until(lambda: not exporters.tasks[0].feed.behind)
        return outbox.stats.stream


async def test_a_start_drops_what_was_not_delivered_and_only_that(tmp_path: Path) -> None:
    part = tmp_path / "out" / "2025-10-09.csv.part"
    for number in range(3):
        stream = await put(tmp_path, number)
        with part.open("ab") as file:  # the process ended after its write, and in the middle of one
            file.write(f"t,hall,co2,ppm,1,,5,{stream},{number + 2}\r\nt,hall,co".encode())
    await put(tmp_path, 3)
    assert [row["seq"] for row in rows(part)] == [str(seq) for seq in (1, 1, 2, 2, 3, 3, 4, 4)]


CHILD = """
import asyncio, sys
from pathlib import Path
from gateway_agent.uplink.csv.config import CsvUplink
from tests.unit.gateway_agent.exporters.export_world import exporting, sample, writer
root = Path(sys.argv[1])
async def main() -> None:
    config = CsvUplink(folder=root / "out", latency_ms=0, batch_records=3)
    async with writer(root) as outbox, exporting(outbox, root, config):
        for number in range(outbox.stats.last, 100_000):
            await outbox.put([sample(number)], {})
asyncio.run(main())
"""


@pytest.mark.parametrize("damage", [b"\0" * 40, b"holiday\r\n"])
@pytest.mark.parametrize("where", ["head", "row"])
async def test_a_damaged_file_is_set_aside_and_stops_nothing(
    tmp_path: Path, damage: bytes, where: str
) -> None:
    await put(tmp_path, 1)
    part = tmp_path / "out" / "2025-10-09.csv.part"
    whole = part.read_bytes()
    at = 0 if where == "head" else whole.index(b"\r\n") + 2
    part.write_bytes(whole[:at] + damage + whole[at:])
    await put(tmp_path, 2)
    aside = part.with_name(f"{part.name}.damaged-1")
    assert aside.read_bytes() == whole[:at] + damage + whole[at:]
    assert [row["seq"] for row in rows(part)] == ["2", "2"]


async def test_killed_at_any_moment_each_record_is_in_the_files_once(tmp_path: Path) -> None:
    part = tmp_path / "out" / "2025-10-09.csv.part"
    size = 0
    for _ in range(3):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, str(tmp_path), cwd=ROOT
        )
        await until(lambda: part.exists() and part.stat().st_size > size + 3000, 40)  # noqa: B023
        os.kill(child.pid, signal.SIGKILL)
        await child.wait()
        size = part.stat().st_size
    box = open_box(tmp_path)
    last = box.stats().last
    box.close()
    config = CsvUplink(folder=tmp_path / "out", latency_ms=0)
    async with writer(tmp_path) as outbox, exporting(outbox, tmp_path, config) as exporters:
        await until(lambda: exporters.tasks and not exporters.tasks[0].feed.behind)
    counted = Counter(row["seq"] for row in rows(part))
    assert counted == {str(seq): 2 for seq in range(1, last + 1)}
