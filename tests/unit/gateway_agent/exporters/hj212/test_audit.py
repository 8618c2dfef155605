"""What a platform commands is in the signed stream before it is answered, the refused too."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway_agent.commands.command import Command, CommandResult, Outcome
from gateway_agent.uplink.command_audit import MOST, SPAN_MS, CommandAudit
from hil.platform.hj212_platform import Hj212Platform
from protocols.export_record import DeviceInfo
from protocols.uplink import Action, Stamp, action_record, decode_record
from tests.unit.gateway_agent.exporters.export_world import context, exporting, until, writer
from tests.unit.gateway_agent.store_help import GATEWAY

from .exporter_world import MovingClock, config

Committed = Callable[[], None] | None


class Stream:
    """Takes actions and makes them durable when the test wants it."""

    def __init__(self) -> None:
        self.actions: list[Action] = []
        self.waiting: list[Callable[[], None]] = []
        self.is_held = False

    def note(self, device_id: str, action: Action, committed: Committed = None) -> None:
        """Take an action as the gateway does: a record is made of it, or LocalError."""
        record = action_record(device_id, action, Stamp(1, 2, None, 0, 0))
        decoded = decode_record(record.data)
        assert decoded.device_id == GATEWAY
        assert decoded.action is not None
        self.actions.append(decoded.action)
        if committed is not None:
            self.waiting.append(committed)
        if not self.is_held:
            self.commit()

    def commit(self) -> None:
        """Let everything be durable."""
        waiting, self.waiting = self.waiting, []
        for committed in waiting:
            committed()


@pytest.mark.parametrize("is_allowed", [True, False])
async def test_a_command_is_recorded_before_its_answer(tmp_path: Path, is_allowed: bool) -> None:
    platform = Hj212Platform(asks=[("1062", "RtdInterval=30"), ("1061", "")])
    await platform.start()
    stream = Stream()
    stream.is_held = True
    clock = MovingClock()
    uplink = config(platform, allow_control=is_allowed)
    async with (
        writer(tmp_path, clock) as outbox,
        exporting(outbox, tmp_path, uplink, clock=clock, note=stream.note),
    ):
        await until(lambda: stream.actions)
        assert not [item for item in platform.heard if item.cn in ("9011", "9012")]
        stream.commit()
        await until(lambda: any(item.cn == "9012" for item in platform.heard))
        await until(lambda: any(item.cn == "1061" for item in platform.heard))
    await platform.stop()
    (action,) = stream.actions
    asked = action.detail.split()
    assert action.operator == "hj212: hj212"
    assert asked[0] == "CN=1062"
    if is_allowed:
        assert action.name == "command-done"
        assert "QnRtn=1 ExeRtn=1 RtdInterval 60 -> 30" in action.detail
    else:
        assert action.name == "command-refused"
        assert "QnRtn=2 changes something, and allow_control is false" in action.detail


async def test_what_cannot_be_done_is_recorded_as_failed(tmp_path: Path) -> None:
    platform = Hj212Platform(asks=[("1012", "SystemTime=20260801000000")])
    await platform.start()
    stream, clock = Stream(), MovingClock()
    async with (
        writer(tmp_path, clock) as outbox,
        exporting(
            outbox, tmp_path, config(platform, allow_control=True), clock=clock, note=stream.note
        ),
    ):
        await until(lambda: any(item.cn == "9012" for item in platform.heard))
    await platform.stop()
    assert [action.name for action in stream.actions] == ["command-failed"]
    assert "ExeRtn=2 SystemTime=20260801000000" in stream.actions[0].detail


async def test_a_flood_is_counted(tmp_path: Path) -> None:
    """The stream takes so many in a time; the next record names how many it does not have."""
    stream, clock = Stream(), MovingClock()
    moved = 0
    clock.boot_ms = lambda: moved  # type: ignore[method-assign] # a clock that the test moves
    audit = CommandAudit("hj212: city", context(tmp_path, clock, stream.note))
    for _ in range(MOST + 40):
        audit.record("refused", "x" * 1000 + "\x1b")
    assert len(stream.actions) == MOST
    moved = SPAN_MS
    audit.record("done", "CN=1062")
    assert stream.actions[-1].detail == "40 more before it are not in the stream; CN=1062"
    async with asyncio.timeout(1):
        await audit.durable()


PROFILE = """
title = "x"
title_zh = "y"
sources = ["this test"]
on_connect = ["2081"]
[parameters.i13004]
setting = "sample_period"
unit = "s"
"""
AIR = DeviceInfo(f"{GATEWAY}.air", "air", "roof", "air", 4000)


@pytest.mark.parametrize(("outcome", "code"), [("done", 1), ("refused", 3), ("failed", 2)])
async def test_a_parameter_of_a_node_goes_to_the_desk(
    tmp_path: Path, outcome: Outcome, code: int
) -> None:
    """3021 (annex C.46) for a point of a node; the desk records it, so this uplink does not."""
    path = tmp_path / "p.toml"
    path.write_text(PROFILE)
    set_it = "PolId={};InfoId=i13004;i13004-Info={}"
    platform = Hj212Platform(
        asks=[("3021", set_it.format("a34004", "30")), ("3021", set_it.format("w01018", "30"))]
    )
    await platform.start()
    stream, clock = Stream(), MovingClock()
    commands: list[tuple[Command, str]] = []

    async def desk(command: Command, by: str) -> CommandResult:
        commands.append((command, by))
        return CommandResult(outcome=outcome, text="it was so")

    uplink = config(platform, profile=str(path), points={}, allow_control=True)
    async with (
        writer(tmp_path, clock) as outbox,
        exporting(
            outbox,
            tmp_path,
            uplink,
            clock=clock,
            note=stream.note,
            command=desk,
            devices=(AIR,),
        ),
    ):
        await until(lambda: sum(item.cn == "9012" for item in platform.heard) == 2)
    await platform.stop()
    answers = [(item.cn, item.cp) for item in platform.heard if item.st == "91"]
    assert answers == [
        ("9011", "QnRtn=1"),
        ("9012", f"ExeRtn={code}"),
        ("9011", "QnRtn=1"),
        ("9012", "ExeRtn=100"),  # no node of this site measures that
    ]
    wanted = Command(action="set", device=AIR.id, point="sample_period", value="30 s")
    assert commands == [(wanted, "hj212: hj212")]
    assert [action.name for action in stream.actions] == ["command-failed"]
    assert "w01018" in stream.actions[0].detail
