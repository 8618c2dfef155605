"""`hj212 try` shows what a platform does and names what it did not like."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from gateway_agent.uplink.hj212.profile import load_hj212_profile
from gateway_agent.uplink.hj212.trial import Hj212Trial, TrialOutcome
from hil.platform.hj212_platform import Hj212Faults, Hj212Platform
from protocols.uplink.hj212 import Moment

MN = "010000A8900016F000169DC0"
# What is sent is the same in each run: a checksum of 256 values takes one frame in 256 under a
# wrong key for a good one.
UNIX_MS = 1_764_322_200_000


def now() -> Moment:
    """Return a moment whose steady clock runs and whose wall clock stands."""
    return Moment(time.monotonic_ns() // 1_000_000, UNIX_MS)


@pytest.fixture
async def platform() -> AsyncIterator[Hj212Platform]:
    played = Hj212Platform()
    await played.start()
    yield played
    await played.stop()


async def tried(
    platform: Hj212Platform, name: str = "hj212-2017", key: bytes = b"", mn: str = MN
) -> tuple[TrialOutcome, list[str]]:
    """Try the platform with one second for each answer and no resend beyond the first."""
    profile = load_hj212_profile(name)
    settings = profile.settings("123456", key)
    shown: list[str] = []
    fast = type(settings)(1, 1, pw="123456", key=key)
    trial = Hj212Trial(profile, profile.options(mn), fast, shown.append, now)
    return await trial.run("127.0.0.1", platform.port, 0.05), shown


async def test_a_good_platform(platform: Hj212Platform) -> None:
    platform.asks = [("1011", "PolId=a34004"), ("1062", "RtdInterval=30"), ("7777", "")]
    outcome, shown = await tried(platform)
    assert outcome.disliked == []
    assert [item.cn for item in platform.heard if item.cn[0] == "2"] == [
        "2081",
        "2011",
        "2021",
        "2051",
        "2061",
        "2031",
        "2041",
    ]
    values = [item.cp for item in platform.heard if item.cn == "2011"]
    assert values[0].count("-Flag=M") == 6
    text = "\n".join(shown)
    assert "<- CN=1062 set the real-time interval 设置实时数据间隔" in text
    assert "SB1 treatment equipment 1 治理设施1: 3 maintenance 维护" in text
    assert "SB1 treatment equipment 1 治理设施1: hours run 运行小时 1.1" in text
    assert "QnRtn=2 refused 请求被拒绝" in text
    assert "QnRtn=8 CN is wrong CN错误" in text
    assert "123456" not in text


async def test_encrypted(platform: Hj212Platform) -> None:
    platform.key = b"0" * 16
    outcome, shown = await tried(platform, "hj212-2025", platform.key)
    assert outcome.disliked == []
    assert platform.damaged == 0
    assert [item.flag for item in platform.heard if item.cn == "2031"] == [9]
    assert any("PM" in line or "temperature" in line for line in shown)


async def test_another_key_is_named(platform: Hj212Platform) -> None:
    platform.key = b"1" * 16
    outcome, _ = await tried(platform, "hj212-2025", b"0" * 16)
    assert outcome.disliked[-1] == "CN=2011 was not answered, sent 2 times"
    assert platform.damaged > 0


async def test_a_mute_platform(platform: Hj212Platform) -> None:
    platform.faults = Hj212Faults(mute=True)
    outcome, shown = await tried(platform)
    assert "CN=2011 was not answered, sent 2 times" in outcome.disliked
    assert any(line.startswith("-> again 重发 CN=2011") for line in shown)


async def test_what_is_refused_is_named_for_each_kind(platform: Hj212Platform) -> None:
    platform.faults = Hj212Faults(refuse="QnRtn=3")
    outcome, _ = await tried(platform)
    refused = [item for item in outcome.disliked if "CN=9011 QnRtn=3 (PW is wrong PW错误)" in item]
    assert [item[:7] for item in refused] == [
        *("CN=2011", "CN=2021", "CN=2051", "CN=2061", "CN=2031", "CN=2041")
    ]
    assert not outcome.good


async def test_a_platform_that_closes(platform: Hj212Platform) -> None:
    platform.faults = Hj212Faults(close_every=4)
    outcome, _ = await tried(platform)
    assert outcome.disliked[-1].startswith("the platform closed the connection while ")


async def test_damaged_answers(platform: Hj212Platform) -> None:
    platform.faults = Hj212Faults(damage_every=3)
    outcome, shown = await tried(platform)
    assert any("a frame of the platform is refused: CRC" in item for item in outcome.disliked)
    assert any(line.startswith("<- not a frame 无效帧") for line in shown)


async def test_a_flood_is_survived(platform: Hj212Platform) -> None:
    platform.faults = Hj212Faults(flood=80)
    outcome, _ = await tried(platform)
    assert "CN=2031 污染物日历史数据: answered" in outcome.good


async def test_dust_in_fuzhou_needs_no_answer(platform: Hj212Platform) -> None:
    platform.faults = Hj212Faults(mute=True)
    outcome, _ = await tried(platform, "fuzhou-dust", mn="12345678901234")
    assert outcome.disliked == []
    assert [item.cn for item in platform.heard] == ["2011", "2051", "2061"]


async def test_a_water_station_logs_in(platform: Hj212Platform) -> None:
    outcome, _ = await tried(platform, "water-station-9015", mn="A110000_0001")
    assert [item.cn for item in platform.heard][:2] == ["9021", "2081"]
    assert len(platform.heard[0].qn) == 13
    assert outcome.disliked == [
        "login: ST is 91, the profile expects 21",
        "answer to a notice: ST is 91, the profile expects 21",
        "answer to data: ST is 91, the profile expects 21",
    ]


async def test_modbus_checksums_are_named() -> None:
    """A platform that answers with CRC-16/MODBUS (frame of a public program)."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(
            b"##0077QN=20170516010101001;ST=22;CN=1011;PW=123456;MN=ABCDEFG1234567;Flag=3;"
            b"CP=&&&&8411\r\n"
        )
        await writer.drain()
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        profile = load_hj212_profile("fuzhou-dust")
        trial = Hj212Trial(
            profile, profile.options("12345678901234"), profile.settings("1"), lambda line: None
        )
        outcome = await trial.run("127.0.0.1", server.sockets[0].getsockname()[1], 0.3)
    assert any("CRC-16/MODBUS 8411" in item for item in outcome.disliked)
