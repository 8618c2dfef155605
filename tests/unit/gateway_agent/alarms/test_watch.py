"""The alarm summary, what people do about it, and what a restart forgets."""

import logging
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway_agent.alarms.rules import Above, AlarmRule, DeviceView, GatewayView, Silent, Stuck
from gateway_agent.alarms.state import AlarmChange
from gateway_agent.alarms.watch import FILE_NAME, KEEP_MS, AlarmError, AlarmWatch

RULES: tuple[AlarmRule, ...] = (
    Above(name="high", device="d", point="p", limit=80, text="close the gate"),
    Above(name="flood", device="d", point="p", limit=90, severity="urgent"),
)


def view(value: float, now_ms: int, age_ms: int | None = 0) -> GatewayView:
    return GatewayView({"d": DeviceView(age_ms, {"p": value})}, {}, now_ms)


class World:
    """A watch with the changes that it reported."""

    def __init__(self, directory: Path, rules: tuple[AlarmRule, ...] = RULES) -> None:
        self.changes: list[tuple[str, str, str]] = []
        self.watch = AlarmWatch(rules, directory, self._note)

    def look(self, value: float, now_ms: int, age_ms: int | None = 0) -> None:
        """Look as a running agent does, which keeps what is to be kept."""
        self.watch.look(view(value, now_ms, age_ms))
        self.keep(now_ms)

    def keep(self, now_ms: int, is_end: bool = False) -> None:
        kept = self.watch.news(now_ms, is_end)
        if kept is not None:
            self.watch.keep(kept)

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
    world.keep(2)
    again = World(tmp_path)
    again.watch.look(view(95, 0))
    assert again.states() == [("high", "acknowledged"), ("flood", "shelved")]
    assert [change for change in again.changes if change[0] == "high"] == []
    again.watch.look(view(95, 9_999))
    assert ("flood", "shelved") in again.states()
    again.watch.look(view(95, 10_000))
    assert ("flood", "unacknowledged") in again.states()


@pytest.mark.parametrize(
    ("rule", "normal", "again"),
    [
        (RULES[0], [(70, 0)], (95, 0)),
        (Silent(name="high", device="d", for_s=1), [(95, None), (95, 0)], (95, 1000)),
        (Stuck(name="high", device="d", point="p", for_s=1), [(70, 0), (60, 0)], (60, 0)),
    ],
)
def test_an_alarm_that_ended_before_or_after_a_restart_is_a_new_one_when_it_comes_again(
    tmp_path: Path,
    rule: AlarmRule,
    normal: list[tuple[float, int | None]],
    again: tuple[float, int | None],
) -> None:
    world = World(tmp_path, (rule,))
    world.look(95, 0, 1000)
    world.look(95, 1000, 1000)
    world.watch.acknowledge("high", "ann", 1001)
    world.keep(1001)
    for _ in range(2):  # it goes back to normal after the restart, and before the next
        world = World(tmp_path, (rule,))
        for at, (value, age_ms) in enumerate(normal):
            world.look(value, at, age_ms)
    world.look(again[0], 5000, again[1])
    assert world.changes == [("high", "unacknowledged", "")]


@pytest.mark.parametrize(
    "rule",
    [
        Silent(name="high", device="d", for_s=1),
        Stuck(name="high", device="d", point="p", for_s=1),
    ],
)
def test_an_alarm_that_lasts_over_a_restart_stays_acknowledged(
    tmp_path: Path, rule: AlarmRule
) -> None:
    world = World(tmp_path, (rule,))
    world.look(95, 0, 1000)
    world.look(95, 1000, 1000)
    world.watch.acknowledge("high", "ann", 1001)
    world.keep(1001)
    for _ in range(2):
        world = World(tmp_path, (rule,))
        for now_ms in (0, 1000):
            world.look(95, now_ms, None)
        assert (world.states(), world.changes) == ([("high", "acknowledged")], [])
        world.keep(1001, is_end=True)


def test_a_shelf_ends_on_a_gateway_that_restarts_often(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.look(95, 0)
    world.watch.shelve("high", 5 * KEEP_MS, "ann", 0)
    for _ in range(4):
        world.look(95, KEEP_MS)
        world = World(tmp_path)
        world.look(95, 0)
    world.keep(KEEP_MS - 1, is_end=True)
    world = World(tmp_path)
    world.look(95, 0)
    assert ("high", "shelved") in world.states()
    world.look(95, 1)
    assert ("high", "unacknowledged") in world.states()


def test_who_acknowledges_all_does_not_mean_what_is_shelved(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.look(95, 0)
    world.watch.shelve("high", 1000, "ann", 0)
    assert world.watch.acknowledge("", "bob", 1) == 1
    with pytest.raises(AlarmError, match="not shelved was expected, got 'high'"):
        world.watch.acknowledge("high", "bob", 1)
    world.look(95, 1000)
    assert world.states() == [("high", "unacknowledged"), ("flood", "acknowledged")]


def test_a_reload_says_normal_of_an_alarm_whose_rule_goes(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.look(95, 0)
    world.watch.acknowledge("high", "ann", 1)
    high, flood = RULES
    world.watch.change((replace(high, text="another", severity="urgent"),), 2)
    assert world.states() == [("high", "acknowledged")]
    assert world.watch.summary(2)[0].text == "another"
    world.watch.change((Above(name="high", device="d", point="p", limit=90), flood), 3)
    assert world.states() == []
    world.look(95, 4)
    assert world.changes[3:] == [
        ("flood", "normal", ""),
        ("high", "normal", ""),
        ("high", "unacknowledged", ""),
        ("flood", "unacknowledged", ""),
    ]
    world.watch.change((), 5)
    assert world.changes[7:] == [("high", "normal", ""), ("flood", "normal", "")]


@pytest.mark.parametrize("damaged", [b'{"high": 7}', b'{"hi\xffgh": {}}', b""])
def test_a_damaged_file_forgets_says_so_once_and_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damaged: bytes
) -> None:
    (tmp_path / FILE_NAME).write_bytes(damaged)
    for _ in range(2):
        world = World(tmp_path)
        world.watch.look(view(95, 0))
        assert ("high", "unacknowledged") in world.states()
    assert caplog.text.count("acknowledgements are forgotten") == 1
    assert (tmp_path / f"{FILE_NAME}.damaged").read_bytes() == damaged


def test_an_alarm_that_is_not_there_is_named(tmp_path: Path) -> None:
    world = World(tmp_path)
    with pytest.raises(AlarmError, match=r"one of the alarms \(flood, high\) was expected"):
        world.watch.acknowledge("hihg", "ann", 0)
    with pytest.raises(AlarmError, match="168 hours"):
        world.watch.shelve("high", 8 * 86_400_000, "ann", 0)
