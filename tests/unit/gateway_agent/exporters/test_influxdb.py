"""InfluxDB: lines as another parser reads them, and each answer of the server counted."""

from collections import Counter
from pathlib import Path

from gateway_agent.uplink.influxdb.config import InfluxUplink
from gateway_agent.uplink.trace_log import find_seq
from protocols.export_record import DeviceInfo, ExportPoint, ExportRecord
from protocols.uplink import PROFILE, Decoded, Stamp, influxdb
from tests.unit.gateway_agent.store_help import WALL_MS

from .export_world import exporting, hole, sample, until, writer
from .line_protocol import Line, parse, serving

MS = 1_000_000  # in ns


async def test_two_gaps_of_one_moment_are_two_points(tmp_path: Path) -> None:
    """The database keeps one point of a series and a time."""
    with serving() as database:
        config = InfluxUplink(url=f"http://127.0.0.1:{database.port}/write?db=x", latency_ms=0)
        async with writer(tmp_path) as outbox, exporting(outbox, tmp_path, config) as exporters:
            await outbox.put([hole(3), hole(3), sample(3), sample(3)], {})
            await until(lambda: exporters.tasks and not exporters.tasks[0].feed.behind)
    kept = {(line.measurement, *sorted(line.tags.items()), line.time) for line in database.lines}
    assert len(kept) == 4


async def test_a_batch_is_written_once_with_times_tags_and_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    with serving() as database:
        config = InfluxUplink(
            url=f"http://127.0.0.1:{database.port}/api/v2/write?org=city&bucket=b",
            token_file=tmp_path / "token",
            latency_ms=0,
        )
        async with writer(tmp_path) as outbox, exporting(outbox, tmp_path, config) as exporters:
            await outbox.put([sample(1), sample(2, failed=True), hole(3)], {})
            await until(lambda: exporters.tasks and not exporters.tasks[0].feed.behind)
        tags = {"bus": "roof", "device": "hall", "gateway": "gw-1", "role": "senseair-s8"}
        fields: dict[str, float | int | str] = {"co2": 1.0, "temperature": 0.1, "seq": 1}
        assert database.lines == [
            Line("tianfu", tags, fields, (WALL_MS + 1000) * MS + 1),
            Line("tianfu", tags, {"co2": 2.0, "seq": 2}, (WALL_MS + 2000) * MS + 2),
            Line(
                "tianfu_gap",
                tags,
                {"cause": "bus_timeout", "detail": "silent", "seq": 3},
                (WALL_MS + 3000) * MS + 3,
            ),
        ]
        (target, token) = database.requests[0]
        assert target == "/api/v2/write?org=city&bucket=b&precision=ns"
        assert token == "Token secret"  # of the test
        (trace,) = find_seq(tmp_path, 2, None, 9)
        assert (trace.seqs, trace.ack) == ("1-3", "HTTP 204")


async def test_errors_of_the_server_delay_and_a_refused_record_is_named(tmp_path: Path) -> None:
    with serving() as database:
        database.answers = [503, 401, 413]
        database.poison = 40.0
        url = f"http://127.0.0.1:{database.port}/write?db=x"
        config = InfluxUplink(url=url, latency_ms=0, batch_records=64)
        async with writer(tmp_path) as outbox, exporting(outbox, tmp_path, config) as exporters:
            await outbox.put([sample(number) for number in range(100)], {})
            await until(lambda: exporters.tasks and not exporters.tasks[0].feed.behind)
            (status,) = exporters.status(outbox)
        assert [(one.first, one.last, one.cause) for one in status.losses] == [(41, 41, "refused")]
        assert "partial write" in status.rejection
        counted = Counter(line.fields["seq"] for line in database.lines)
        assert set(counted) == set(range(1, 101)) - {41}
        # What was written in part was written again, to the same times: the same points.
        assert max(counted.values()) == 2


def test_names_with_every_special_character_come_back_as_they_were() -> None:
    odd = "a b,c=d"
    record = ExportRecord(
        *(7, "d", "h,a l=l", "", WALL_MS, 5),
        (ExportPoint("p 1", "", -1.5e-7, ""), ExportPoint("q", "", None, "fault")),
        None,
        Decoded("d", PROFILE, Stamp(1, 2, WALL_MS, 5, 3), 0, (), (), (), (), None, None, 1),
    )
    devices = {"d": DeviceInfo("d", "h", odd, "", 1)}
    line = parse(influxdb.line_of("m x", "gw", devices, record).decode().removesuffix("\n"))
    tags = {"bus": odd, "device": "h,a l=l", "gateway": "gw"}
    assert line == Line("m x", tags, {"p 1": -1.5e-7, "seq": 7}, WALL_MS * MS + 7)
