"""The alarm summary, what people do about it, and what a restart forgets."""

import logging
from pathlib import Path

import pytest

from gateway_agent.alarms.rules import Above, AlarmRule, DeviceView, GatewayView
from gateway_agent.alarms.state import AlarmChange
from gateway_agent.alarms.watch import FILE_NAME, AlarmError, AlarmWatch

RULES: tuple[AlarmRule, ...] = (
    Above(name="high", device="d", point="p", limit=80, text="close the gate"),
    Above(name="flood", device="d", point="p", limit=90, severity="urgent"),
)


def view(value: float, now_ms: int) -> GatewayView:
    return GatewayView({"d": DeviceView(0, {"p": value}, now_ms)}, {}, now_ms)


class World:
    """A watch with the changes that it reported."""

    def __init__(self, directory: Path) -> None:
        self.changes: list[tuple[str, str, str]] = []
        self.watch = AlarmWatch(RULES, directory, self._note)

    def _note(self, rule: AlarmRule, change: AlarmChange) -> None:
        self.changes.append((rule.name, change.after, change.by))

    def states(self) -> list[tuple[str, str]]:
        return [(item.name, item.state) for item in self.watch.summary(0)]


def test_the_most_urgent_comes_first_and_each_change_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world = World(tmp_path)
    world.watch.look(view(95, 0))
    world.watch.look(view(95, 1))
    assert world.states() == [("flood", "unacknowledged"), ("high", "unacknowledged")]
    assert world.watch.acknowledge("high", "ann", 2) == 1
    assert world.watch.acknowledge("high", "ann", 3) == 0
    world.watch.look(view(70, 4))
    assert world.states() == [("flood", "returned")]
    assert world.watch.acknowledge("", "bob", 5) == 1
    assert world.states() == []
    assert world.changes == [
        ("high", "unacknowledged", ""),
        ("flood", "unacknowledged", ""),
        ("high", "acknowledged", "ann"),
        ("high", "normal", ""),
        ("flood", "returned", ""),
        ("flood", "normal", "bob"),
    ]
    assert "alarm high (d) is unacknowledged: close the gate" in caplog.messages
    assert "alarm high (d) is acknowledged by ann: close the gate" in caplog.messages


def test_a_restart_keeps_what_people_did(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.watch.look(view(95, 0))
    world.watch.acknowledge("high", "ann", 1)
    world.watch.shelve("flood", 10_000, "ann", 2)
    again = World(tmp_path)
    again.watch.look(view(95, 0))
    assert again.states() == [("high", "acknowledged"), ("flood", "shelved")]
    assert [change for change in again.changes if change[0] == "high"] == []
    again.watch.look(view(95, 9_999))
    assert ("flood", "shelved") in again.states()
    again.watch.look(view(95, 10_000))
    assert ("flood", "unacknowledged") in again.states()


def test_a_file_that_cannot_be_read_forgets_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE_NAME).write_text('{"high": 7}', encoding="utf-8")
    world = World(tmp_path)
    world.watch.look(view(95, 0))
    assert ("high", "unacknowledged") in world.states()
    assert "acknowledgements are forgotten" in caplog.text


def test_an_alarm_that_is_not_there_is_named(tmp_path: Path) -> None:
    world = World(tmp_path)
    with pytest.raises(AlarmError, match=r"one of the alarms \(flood, high\) was expected"):
        world.watch.acknowledge("hihg", "ann", 0)
    with pytest.raises(AlarmError, match="168 hours"):
        world.watch.shelve("high", 8 * 86_400_000, "ann", 0)
