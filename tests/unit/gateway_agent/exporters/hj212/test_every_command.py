"""A platform asks every command of tables 5 to 7, and gets the answers of annex C."""

from pathlib import Path

import pytest

from hil.platform.hj212_platform import Hj212Heard, Hj212Platform
from tests.unit.gateway_agent.exporters.export_world import until

from .exporter_world import MovingClock, config, put, running

PERIOD = "BeginTime=20251009165400;EndTime=20251009165400"
DONE, REFUSED, NO_DATA, CONDITION, FAILED = "1", "QnRtn=2", "100", "3", "2"
#: CN, what is asked, the data between the answers, and the last answer with allow_control or
#: without: ExeRtn, QnRtn, or "" for 9013.
COMMANDS = [
    ("1000", "OverTime=7;ReCount=2", "", DONE, REFUSED),
    ("1001", "", "", REFUSED, REFUSED),
    ("1002", "MN=X", "", REFUSED, REFUSED),
    ("1011", "PolId=a01001", "PolId=a01001;SystemTime=20251009165800", DONE, DONE),
    ("1012", "SystemTime=20251009170000", "", FAILED, REFUSED),  # the site sets no clock
    ("1013", "", "", REFUSED, REFUSED),
    ("1014", "NewSK=31", "", CONDITION, REFUSED),
    ("1061", "", "RtdInterval=60", DONE, DONE),
    ("1062", "RtdInterval=30", "", DONE, REFUSED),
    ("1063", "", "MinInterval=1", DONE, DONE),
    ("1064", "MinInterval=2", "", DONE, REFUSED),
    ("2011", "", "DataTime=20251009165756;a01001-Rtd=27.6,a01001-Flag=N", DONE, DONE),
    ("2012", "", "", "", REFUSED),
    ("2021", "", "", NO_DATA, NO_DATA),
    ("2022", "", "", "", REFUSED),
    ("2031", PERIOD, "", NO_DATA, NO_DATA),
    ("2041", PERIOD, "", NO_DATA, NO_DATA),
    (
        *("2051", PERIOD),
        "DataTime=20251009165400;a01001-Min=4.0,a01001-Avg=6.8,a01001-Max=9.6,a01001-Flag=N",
        *(DONE, DONE),
    ),
    ("2061", PERIOD, "", NO_DATA, NO_DATA),
    *((cn, "PolId=a01001", "", REFUSED, REFUSED) for cn in ("3011", "3012", "3013", "3014")),
    ("3015", "", "", NO_DATA, NO_DATA),
    *((cn, "PolId=a01001", "", REFUSED, REFUSED) for cn in ("3016", "3017", "3018")),
    ("3019", "PolId=a01001", "", NO_DATA, NO_DATA),  # measured by a device without a unique id
    (
        *("3020", "PolId=a01001"),
        "DataTime=20251009165800;PolId=a01001;i12001-Info=0;i12002-Info=0",
        *(DONE, DONE),
    ),
    (
        *("3020", "PolId=a01001;InfoId=i12002"),
        "DataTime=20251009165800;PolId=a01001;i12002-Info=0",
        *(DONE, DONE),
    ),
    ("3020", "PolId=a01001;InfoId=i11001", "", NO_DATA, NO_DATA),
    ("3021", "PolId=a01001;InfoId=i13004;i13004-Info=9", "", NO_DATA, REFUSED),
    ("9015", "", "", "", ""),
    ("7777", "", "", "QnRtn=8", "QnRtn=8"),
    ("1072", "NewPW=654321", "", DONE, REFUSED),
]


@pytest.mark.parametrize("is_allowed", [True, False])
async def test_every_command(tmp_path: Path, is_allowed: bool) -> None:
    platform = Hj212Platform()
    await platform.start()
    clock = MovingClock()
    points = {"hall/temperature": "a01001"}
    uplink = config(platform, points=points, allow_control=is_allowed)
    async with running(tmp_path, uplink, clock) as (outbox, _):
        await put(outbox, clock, 40, 280)  # 16:54:00 to 16:58:00
        await until(lambda: len(platform.periods("2051")) == 4)
        first = len(platform.heard)
        platform.asks = [(cn, cp) for cn, cp, *_ in COMMANDS]
        platform.drop()
        await until(lambda: _last(platform.heard[first:], is_allowed))
    await platform.stop()
    found = _conversations(platform.heard[first:])
    for (cn, cp, data, allowed, plain), (between, last) in zip(COMMANDS, found, strict=True):
        result = allowed if is_allowed else plain
        wanted = result if result.startswith("QnRtn") or not result else f"ExeRtn={result}"
        assert (between, last) == ([data] if data else [], wanted), f"{cn} {cp}"


def _last(heard: list[Hj212Heard], is_allowed: bool) -> bool:
    return len(_conversations(heard)) == len(COMMANDS)


def _conversations(heard: list[Hj212Heard]) -> list[tuple[list[str], str]]:
    """Return for each command the data that it drew (Flag=4), and its last answer."""
    found: list[tuple[list[str], str]] = []
    between: list[str] = []
    for item in heard:
        is_last = item.cn in ("9012", "9013") or (item.cn == "9011" and item.cp != "QnRtn=1")
        if item.cn not in ("9011", "9012", "9013") and item.flag == 4:
            between.append(item.cp)
        elif is_last:
            found.append((between, item.cp))
            between = []
    return found
