"""What a bus really does, in figures and in frames, beside what was predicted."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from gateway_agent.config import AsciiBus, ProfileDevice, SerialBus, TcpBus
from gateway_agent.field import line_tap
from gateway_agent.field.bus_use import BusUse
from gateway_agent.field.line_tap import LineTap, ViewersError
from gateway_agent.frames_socket import watched_frames
from protocols.modbus_client.listener import HeardFrame

from .reload.reload_site import ReloadSite
from .slave import frame, mbap, until

DEVICE = ProfileDevice(name="d", unit=1, profile="senseair-s8")


def test_the_share_is_of_the_last_minute_and_each_device_has_its_part() -> None:
    use = BusUse(0)
    for second in range(120):
        use.polled("a", 0.1 if second < 60 else 0.3, "")
        use.polled("b", 0.05, "bus_timeout" if second % 10 == 0 else "")
        use.look(1000 * (second + 1), 100 * (second + 1))
    now_ms = 120_000
    assert use.share(now_ms) == pytest.approx(0.35, rel=0.05)
    assert use.bytes_per_s(now_ms, 12_000) == pytest.approx(100)
    devices = use.devices(now_ms)
    assert list(devices["a"]) == pytest.approx([300, 0.3], rel=0.05)
    assert list(devices["b"]) == pytest.approx([50, 0.05], rel=0.05)
    assert use.errors == {"bus_timeout": 12}
    assert use.device_errors["b"] == {"bus_timeout": 12}
    use.forget({"a"})
    assert set(use.devices(now_ms)) == {"a"}


async def seen(tap: LineTap, *pieces: bytes) -> list[HeardFrame | int]:
    """What a viewer gets of these bytes."""
    found: list[HeardFrame | int] = []

    async def look() -> None:
        async with aclosing(tap.frames()) as frames:
            found.extend([one async for one in frames])

    task = asyncio.create_task(look())
    await asyncio.sleep(0)
    for piece in pieces:
        tap.received(piece)
    await asyncio.sleep(0)
    tap.end()
    await task
    return found


def texts(found: list[HeardFrame | int]) -> Iterator[str]:
    for one in found:
        assert isinstance(one, HeardFrame)
        yield f"{one.kind} {one.describe()}"


READ = b"\x01\x04\x00\x10\x00\x02"
ANSWER = b"\x01\x04\x04\x00\x07\x01\x00"
WORDS = ["request unit 1 read input registers 16..17", "answer unit 1 read input registers = 7 256"]


async def test_frames_of_every_kind_of_line_are_decoded_alike() -> None:
    rtu = SerialBus(name="r", port="/dev/null", device=(DEVICE,))
    found = await seen(LineTap(rtu, lambda: 0), frame(READ), frame(ANSWER)[:4], frame(ANSWER)[4:])
    assert list(texts(found)) == WORDS
    tcp = TcpBus(name="t", host="h", port=502, device=(DEVICE,))
    both = mbap(1, 1, READ[1:]) + mbap(1, 1, ANSWER[1:])
    found = await seen(LineTap(tcp, lambda: 0), both[:3], both[3:15], both[15:])
    assert list(texts(found)) == WORDS
    text = AsciiBus(name="a", port="/dev/null", device=(DEVICE,))
    lines = b"".join(
        b":" + (data + bytes((-sum(data) & 0xFF,))).hex().upper().encode() + b"\r\n"
        for data in (READ, ANSWER)
    )
    found = await seen(LineTap(text, lambda: 0), lines[:9], lines[9:])
    assert list(texts(found)) == WORDS


async def test_whatever_passes_a_viewer_costs_bounded_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(line_tap, "MAX_FRAMES", 4)
    tcp = TcpBus(name="t", host="h", port=502, device=(DEVICE,))
    for bus in (tcp, AsciiBus(name="a", port="/dev/null", device=(DEVICE,))):
        tap = LineTap(bus, lambda: 0)
        noise = [bytes(range(256)) * 20, b"\xff" * 5000, b"\n" * 3000, b":zz\r\n" * 900]
        await seen(tap, *noise)
    rtu = LineTap(SerialBus(name="r", port="/dev/null", device=(DEVICE,)), lambda: 0)
    found = await seen(rtu, *[frame(READ)] * 10)
    assert found[0] == 6
    assert len(found) == 5


async def test_so_many_may_look_and_no_more() -> None:
    tap = LineTap(SerialBus(name="r", port="/dev/null", device=(DEVICE,)), lambda: 0)
    viewers = [tap.frames() for _ in range(line_tap.MAX_VIEWERS + 1)]
    looking = [asyncio.ensure_future(anext(viewer)) for viewer in viewers[:-1]]
    await asyncio.sleep(0)
    with pytest.raises(ViewersError, match="close one"):
        await anext(viewers[-1])
    tap.received(frame(READ))
    assert len(await asyncio.gather(*looking)) == line_tap.MAX_VIEWERS
    for viewer in viewers:
        await viewer.aclose()
    again = asyncio.ensure_future(anext(tap.frames()))
    await asyncio.sleep(0)
    tap.received(frame(READ))
    assert isinstance(await again, HeardFrame)


async def test_a_running_agent_shows_use_and_frames(tmp_path: Path) -> None:
    async with ReloadSite(tmp_path).serving() as site:
        site.path.write_text(site.text(("a", (1, 2)), ("b", (1,))))
        async with site.running() as agent:
            site.units["a"].dead = {2}
            await until(lambda: agent.buses()[0].errors)
            buses = {bus.name: bus for bus in agent.buses()}
            one, two = buses["a"].devices
            assert two.errors["bus_timeout"] >= 1
            assert not one.errors
            assert two.poll_ms > one.poll_ms > 0
            assert 0 < buses["b"].share < buses["a"].share <= 1
            assert buses["a"].bytes_per_s > 0
            assert buses["a"].predicted_cycle_ms > 0
            assert {bus.name for bus in agent.snapshot().buses} == {"a", "b"}

            def look() -> list[str]:
                lines = []
                for line in watched_frames(tmp_path / "state", "a"):
                    lines.append(f"{line.kind} {line.text}")
                    if len(lines) == 6:
                        return lines
                raise AssertionError("it ended")

            lines = await asyncio.to_thread(look)
            assert "request unit 1 read input registers 0" in lines
            assert "answer unit 1 read input registers = 258" in lines
            (line,) = await asyncio.to_thread(
                lambda: list(watched_frames(tmp_path / "state", "absent"))
            )
            assert "expected a bus that is polled here: a, b" in line.error
