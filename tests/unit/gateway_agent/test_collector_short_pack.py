"""A collector takes short packs as it takes whole ones, and proves them again from what it kept."""

from pathlib import Path

from gateway_agent.collector.receiver import ACCEPTED, DUPLICATE
from protocols.uplink import GENESIS, build_batch
from protocols.uplink.batch import parse_batch, read_header
from tests.unit.gateway_agent.test_collector import (
    ANCHOR,
    GATEWAY,
    GATEWAY_KEY,
    Collector,
    node_record,
    readings,
)
from tests.unit.gateway_agent.test_collector_audit import audited

ROWS = "SELECT seq, device, name, value, unit, time_ms, auth FROM measurements ORDER BY seq, name"


def batch(short: bool, key_of_node: bytes = b"n" * 32) -> bytes:
    records = [*readings(1, 2), node_record(1), node_record(2, key_of_node), *readings(3, 3)]
    return build_batch(
        gateway=GATEWAY, key_epoch=0, stream=1, first=1, prev=GENESIS, anchor=ANCHOR,
        records=[record.data for record in records], key=GATEWAY_KEY, compress=True, short=short,
    )  # fmt: skip


def test_the_rows_are_those_of_the_whole_pack_and_the_audit_proves_them(tmp_path: Path) -> None:
    rows = []
    for short in (False, True):
        folder = tmp_path / str(short)
        folder.mkdir()
        data = batch(short)
        assert read_header(parse_batch(data)).compression == 1 + short
        collector = Collector(folder)
        receipt = collector.take(data, ACCEPTED)
        # The same records, packed the other way, are the same records.
        assert collector.take(batch(not short), DUPLICATE) == receipt
        collector.database.close()
        rows.append(collector.rows(ROWS))
        findings, _ = audited(collector.path)
        assert findings == []
    assert rows[0] == rows[1]
    assert [row[6] for row in rows[0]] == ["none"] * 4 + ["node"] * 12 + ["none"] * 2


def test_a_frame_by_another_key_in_a_short_pack_is_no_data(tmp_path: Path) -> None:
    collector = Collector(tmp_path)
    collector.take(batch(True, b"forged" * 6), ACCEPTED)
    collector.database.close()
    assert collector.rows("SELECT DISTINCT seq FROM measurements ORDER BY seq") == [
        (1,),
        (2,),
        (3,),
        (5,),
    ]
