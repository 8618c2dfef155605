"""The device answers each command of a platform by the dialogues of annex C."""

import pytest

from protocols.uplink.hj212.events import PlatformCommand, SettingsChanged
from protocols.uplink.hj212.options import Hj212Options, Hj212Settings

from .platform_world import MN, START_MS, PlatformWorld, asked, cns, cp, qn


def controlled() -> PlatformWorld:
    """Return a world whose platform may change things."""
    return PlatformWorld(Hj212Options(MN, "32", on_connect=(), allow_control=True))


def test_answers_are_those_of_annex_c() -> None:
    """Tables C.5 and C.6: 9011 and 9012 with ST=91, Flag=4 and the request's QN."""
    world = controlled()
    first, data, last = world.say(asked("1061"))
    head = "QN=20160801085857223;ST=91;CN="
    tail = f";PW=123456;MN={MN};Flag=4;CP=&&"
    assert first == head + "9011" + tail + "QnRtn=1&&"
    assert last == head + "9012" + tail + "ExeRtn=1&&"
    assert data.split(";", 1)[1] == f"ST=32;CN=1061;PW=123456;MN={MN};Flag=4;CP=&&RtdInterval=60&&"
    assert [cp(s) for s in world.say(asked("1062", "RtdInterval=30", qn="20160801085857224"))] == [
        "QnRtn=1",
        "ExeRtn=1",
    ]
    assert cp(world.say(asked("1061", qn="20160801085857225"))[1]) == "RtdInterval=30"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (asked("1061", pw="000000"), 3),
        (asked("1061", mn="X"), 4),
        (asked("1061", st="22"), 5),
        (asked("7777"), 8),
        (asked("9021"), 8),
        (asked("3011", "PolId=w01018"), 2),
        (asked("1062", "RtdInterval=30"), 2),
        (asked("2012"), 2),
        (asked("1012", "SystemTime=20160801085857"), 2),
        (asked("1014", "NewSK=30303030303030303030303030303030"), 2),
    ],
)
def test_what_is_not_allowed_is_refused_and_changes_nothing(frame: bytes, code: int) -> None:
    world = PlatformWorld()
    before = world.device.settings
    answers = world.say(frame)
    if cns(answers) == []:  # an answer that answers nothing
        assert world.device.ignored == 1
        return
    assert [cp(answer) for answer in answers] == [f"QnRtn={code}"]
    assert world.device.settings == before
    assert world.site.time_set is None


@pytest.mark.parametrize(
    ("cn", "body"),
    [
        ("1062", "RtdInterval=29"),
        ("1064", "MinInterval=7"),
        ("1000", "OverTime=0;ReCount=3"),
        ("1000", "OverTime=x"),
        ("1072", "NewPW=1234567"),
        ("1072", ""),
        ("1014", "NewSK=30"),
        ("2051", "BeginTime=20160801084000"),
        ("2051", "BeginTime=20160801084000;EndTime=20160801083000"),
        ("2061", "BeginTime=20160841084000;EndTime=20160801083000"),
        ("3021", "PolId=w01018"),
        ("1012", "SystemTime=now"),
    ],
)
def test_a_wrong_condition_is_named(cn: str, body: str) -> None:
    world = controlled()
    before = world.device.settings
    assert [cp(answer) for answer in world.say(asked(cn, body))] == ["QnRtn=1", "ExeRtn=3"]
    assert world.device.settings == before


def test_the_time() -> None:
    world = controlled()
    answers = world.say(asked("1011", "PolId=w01018"))
    assert cns(answers) == ["9011", "1011", "9012"]
    assert cp(answers[1]) == "PolId=w01018;SystemTime=20160801085857"
    world.say(asked("1012", "SystemTime=20160801085900", qn="20160801085857224"))
    assert world.site.time_set == START_MS - 223 + 3000
    (command,) = [e for e in world.take() if isinstance(e, PlatformCommand) and e.changes]
    assert (command.cn, command.exe_return) == ("1012", 1)
    assert "+3 s" in command.detail


def test_settings_are_reported_to_be_kept() -> None:
    world = controlled()
    world.say(asked("1000", "OverTime=7;ReCount=2"))
    world.say(asked("1064", "MinInterval=5", qn="20160801085857224"))
    world.say(asked("1072", "NewPW=654321", qn="20160801085857225"))
    kept = [event for event in world.take() if isinstance(event, SettingsChanged)]
    assert [event.cn for event in kept] == ["1000", "1064", "1072"]
    assert kept[-1].settings == Hj212Settings(7, 2, 60, 5, pw="654321")
    assert cp(world.say(asked("1061", qn="20160801085857226"))[0]) == "QnRtn=3"
    assert cp(world.say(asked("1061", qn="20160801085857227", pw="654321"))[0]) == "QnRtn=1"


def test_real_time_is_stopped_by_a_notice_and_asked_for_again() -> None:
    """Tables C.10 and C.11: 2012 is answered by 9013."""
    world = controlled()
    assert cns(world.say(asked("2012"))) == ["9013"]
    assert world.device.settings.realtime_on is False
    answers = world.say(asked("2011", qn="20160801085857224"))
    assert cns(answers) == ["9011", "2011", "9012"]
    assert cp(world.say(asked("1063", qn="20160801085857226"))[1]) == "MinInterval=10"
    assert world.device.settings == Hj212Settings(5, 3)
    assert [cp(s) for s in world.say(asked("2021", qn="20160801085857225"))] == [
        "QnRtn=1",
        "ExeRtn=100",
    ]


def test_history_comes_in_frames_of_its_own() -> None:
    """Table C.20: data with new request numbers and Flag=4, then the result."""
    world = PlatformWorld()
    times = "BeginTime=20160801080000,EndTime=20160801085000"
    answers = world.say(asked("2051", times, qn="20160801085857222"))
    assert cns(answers) == ["9011", *["2051"] * 6, "9012"]
    assert len({qn(answer) for answer in answers}) == 7
    assert all("Flag=4" in answer for answer in answers)
    assert cp(answers[-1]) == "ExeRtn=1"
    empty = world.say(asked("2061", times, qn="20160801085857224"))
    assert [cp(answer) for answer in empty] == ["QnRtn=1", "ExeRtn=100"]


def test_a_long_history_is_drawn_as_the_line_takes_it() -> None:
    world = PlatformWorld(Hj212Options(MN, "32", on_connect=(), max_history=5000))
    frame = asked("2051", "BeginTime=20150101000000;EndTime=20160101000000")
    world.device.receive(frame, world.now)
    assert 0 < world.site.drawn < 200
    for number in range(20):
        world.device.receive(asked("2051", qn=f"2016080108585{number:04}"), world.now)
    assert len(world.device.outgoing(world.now)) < 100_000
    assert cns(world.sent()).count("2051") < 5000


def test_what_the_site_has() -> None:
    world = controlled()
    answers = world.say(asked("3019", "PolId=w01018"))
    assert cp(answers[1]) == "PolId=w01018;w01018-SN=010000A8900016F000169DC1"
    for number, (cn, body, result) in enumerate(
        [
            ("3019", "PolId=w01019", 100),
            ("3015", "", 100),
            ("3020", "PolId=w01018;InfoId=i13004", 100),
            ("3021", "PolId=w01018;InfoId=i13004;i13004-Info=168.0", 1),
            ("3021", "PolId=w01018;InfoId=i13005;i13005-Info=168.0", 100),
        ]
    ):
        answers = world.say(asked(cn, body, qn=f"201608010858580{number:02}"))
        assert [cp(answer) for answer in answers] == ["QnRtn=1", f"ExeRtn={result}"]


def test_a_repeat_is_answered_and_not_executed_again() -> None:
    world = controlled()
    frame = asked("1062", "RtdInterval=30")
    once = world.say(frame)
    assert len([e for e in world.take() if isinstance(e, SettingsChanged)]) == 1
    assert world.say(frame) == once
    assert world.take() == []


def test_without_the_ack_bit_only_the_result_comes() -> None:
    world = PlatformWorld()
    assert cns(world.say(asked("1061", flag="4"))) == ["1061", "9012"]


def test_a_new_key_is_taken_and_used() -> None:
    """HJ 212-2025 1014 (from implementations, not from the text)."""
    world = PlatformWorld(
        Hj212Options(MN, "32", version=2, on_connect=(), allow_control=True),
        Hj212Settings(key=b"0" * 16),
    )
    body = "SKCreateTime=20260101000000;NewSK=31313131313131313131313131313131"
    assert [cp(answer) for answer in world.say(asked("1014", body, flag="9"))] == [
        "QnRtn=1",
        "ExeRtn=1",
    ]
    assert world.device.settings.key == b"1" * 16
    assert "1111" not in repr(world.take())
