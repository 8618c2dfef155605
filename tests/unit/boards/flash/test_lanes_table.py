"""The live table of lanes on a terminal of 80 columns: columns that stay, rows that end."""

import io

from rich.console import Console

from boards.cli.flash_lanes import _Lanes
from boards.flash.lanes import FlashLane, LaneResult
from boards.ports import PortInfo

ASK = "set BOOT0 low, take the board's power away and give it back"


def lane(place: str) -> FlashLane:
    port = PortInfo("", "", "", "", "", "", ())
    return FlashLane(place, (port, port), either=False)


def shown(lanes: _Lanes) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=80).print(lanes.table())
    return out.getvalue().splitlines()


def test_columns_stay_where_they_are() -> None:
    lanes = _Lanes(Console(file=io.StringIO()), json_output=False, bell=False)
    second, first = (lanes.watcher(lane(place)) for place in ("1-2.10", "1-1"))
    tables = [shown(lanes)]
    first.begin("write the image")
    first.progress(1, 3)
    second.ask(ASK)
    tables.append(shown(lanes))
    first.done(LaneResult("1-1", "3a001f000d51383437363136", 7, None, "TF-FLASH-020", "x", 1.0))
    second.wait("a board with BOOT0 high")
    tables.append(shown(lanes))
    assert {table[0] for table in tables} == {tables[0][0]}, "the width of no column changes"
    assert {len(line) for table in tables for line in table} == {80}
    rows = [line for line in tables[1] if "%" in line or "BOOT0" in line]
    assert "1-1 " in rows[0], "in the order of places"
    assert " 33 %" in rows[0]
    assert any("37363136 TF-FLASH-020" in line for line in tables[2])
    lanes.rest()
    last = "".join(shown(lanes))
    assert "waits" not in last
    assert "write" not in last
