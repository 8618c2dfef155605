"""What gateways and operators did, at the collector: a row for each, proved again by the audit."""

import sqlite3
from contextlib import closing
from pathlib import Path

from gateway_agent.collector.receiver import ACCEPTED
from protocols.uplink import Action, Record, action_record

from .test_collector import UID, Chain, Collector, stamp
from .test_collector_packing import findings
from .test_collector_rebuild import rebuild

NODE = "tf-" + UID.hex()
ROWS = [
    (1, 1, "gw-1", "update-ordered", "li", 7, "one node"),
    (1, 2, NODE, "update-failed", "", 7, "it broke"),
]


def actions() -> list[Record]:
    return [
        action_record("gw-1", Action("update-ordered", "li", 7, "one node"), stamp(1)),
        action_record(NODE, Action("update-failed", "", 7, "it broke"), stamp(2)),
    ]


def test_actions_are_rows_that_the_audit_proves_and_a_rebuild_makes_again(tmp_path: Path) -> None:
    collector = Collector(tmp_path)
    collector.take(Chain().batch(actions()), ACCEPTED)
    assert collector.rows("SELECT * FROM actions ORDER BY seq") == ROWS
    assert collector.rows("SELECT DISTINCT kind, auth FROM records") == [("action", "none")]
    assert findings(collector.path) == []
    collector.database.close()
    rebuild(collector.path)
    with closing(sqlite3.connect(collector.path)) as connection:
        assert connection.execute("SELECT * FROM actions ORDER BY seq").fetchall() == ROWS
        connection.execute("UPDATE actions SET operator = 'wang' WHERE seq = 1")
        connection.commit()
    assert [finding for finding in findings(collector.path) if finding.startswith("actions")]


def test_an_action_makes_no_node_its_gateway_s(tmp_path: Path) -> None:
    """Any gateway can write one; the node belongs to the gateway that brings its first sample."""
    collector = Collector(tmp_path)
    collector.take(Chain().batch(actions()), ACCEPTED)
    assert collector.rows("SELECT * FROM devices") == []
    assert findings(collector.path) == []
    collector.database.close()
