"""What a platform refuses stays undelivered, and why is reported (HJ 212-2017 tables 5 to 9)."""

from dataclasses import replace

import pytest

from protocols.uplink.hj212 import (
    FrameRefused,
    Hj212Dialect,
    Hj212Upload,
    LinkGivenUp,
    PlatformRefused,
    QnForm,
    UploadDone,
    parse_body,
)
from protocols.uplink.hj212.device import MAX_REFUSED
from protocols.uplink.hj212.options import Hj212Options, Hj212Settings

from .platform_world import MN, PlatformWorld, annex_a, asked, cns, cp, qn

OPTIONS = Hj212Options(MN, "32", on_connect=())
BODY = parse_body("DataTime=20160801084000;w01001-Avg=7.5,w01001-Flag=N")
FIRST_KEY, NEXT_KEY = b"0" * 16, b"1" * 16


def put(world: PlatformWorld, key: int = 1) -> str:
    """Upload something; return the one segment that goes out."""
    world.events += world.device.upload(Hj212Upload(key, "2051", BODY), world.now)
    (segment,) = world.sent()
    return segment


@pytest.mark.parametrize(
    ("cn", "body", "reason"),
    [
        ("9011", "QnRtn=3", "QnRtn=3 (PW is wrong"),
        ("9011", "QnRtn=4", "QnRtn=4 (MN is wrong"),
        ("9011", "QnRtn=77", "QnRtn=77 (not in the standard"),
        ("9011", "QnRtn=%s", "QnRtn=%s (not in the standard"),
        ("9012", "ExeRtn=2", "ExeRtn=2 (failed"),
        ("9014", "QnRtn=3", "QnRtn=3 (PW is wrong"),  # seen in implementations: 9014 with a code
        ("9014", "QnRtn=1;ExeRtn=3", "ExeRtn=3 (a condition is wrong"),
    ],
)
def test_a_refused_upload_is_not_done(cn: str, body: str, reason: str) -> None:
    world = PlatformWorld(OPTIONS)
    sent = put(world)
    world.say(asked(cn, body, qn=qn(sent), st="91", flag="4"))
    (event,) = world.take()
    assert isinstance(event, PlatformRefused)
    assert (event.cn, event.qn, event.is_final) == ("2051", qn(sent), True)
    assert event.reason.startswith(f"CN={cn} {reason}")
    world.device.disconnect()
    world.device.connect(world.now)
    assert world.sent() == [sent], "the same QN on the next connection"
    world.say(asked("9014", "QnRtn=1", qn=qn(sent)))
    assert [type(event) for event in world.take()] == [UploadDone]


@pytest.mark.parametrize(
    ("cn", "body"), [("9011", "QnRtn=1"), ("9012", "ExeRtn=1"), ("9013", ""), ("9021", "")]
)
def test_only_9014_is_the_answer_to_data(cn: str, body: str) -> None:
    world = PlatformWorld(OPTIONS)
    sent = put(world)
    world.say(asked(cn, body, qn=qn(sent)))
    assert world.take() == []
    for _ in range(3):
        assert world.wait() == [sent]
    world.wait()
    (event,) = world.take()
    assert isinstance(event, LinkGivenUp)
    assert f"CN={cn} came" in event.reason
    world.say(asked("9014", qn=qn(sent)))
    assert [type(event) for event in world.take()] == [UploadDone]


@pytest.mark.parametrize(("cn", "is_in"), [("9021", True), ("9014", True), ("9011", False)])
def test_a_login_is_over_when_it_was_executed(cn: str, is_in: bool) -> None:
    """9011 only says that the platform begins (HJ 212-2017, annex C: 9011 before 9012)."""
    world = PlatformWorld(replace(OPTIONS, login_cn="9021"))
    (login,) = world.sent()
    world.say(asked(cn, "QnRtn=1" if cn == "9011" else "", qn=qn(login)))
    assert world.device.is_logged_in is is_in


def test_a_refused_login_is_final() -> None:
    world = PlatformWorld(replace(OPTIONS, login_cn="9021"))
    (login,) = world.sent()
    assert world.say(asked("9011", "QnRtn=3", qn=qn(login))) == []
    (event,) = world.take()
    assert isinstance(event, PlatformRefused)
    assert event.is_final
    assert not world.device.is_logged_in


def test_a_refused_notice_is_said_and_not_repeated() -> None:
    world = PlatformWorld(replace(OPTIONS, on_connect=("1013",)))
    (notice,) = world.sent()
    world.say(asked("9011", "QnRtn=8", qn=qn(notice)))
    (event,) = world.take()
    assert isinstance(event, PlatformRefused)
    assert (event.cn, event.is_final) == ("1013", False)
    assert world.device.next_ms() is None


def test_without_request_numbers_9014_answers_data_and_not_a_notice() -> None:
    dialect = Hj212Dialect(qn=QnForm.ABSENT)
    world = PlatformWorld(replace(OPTIONS, dialect=dialect, on_connect=("2081",)))
    world.sent()
    put(world)
    segment = asked("9014").replace(b"QN=20160801085857223;", b"")[6:-6]
    world.say(b"##%04d%b%b\r\n" % (len(segment), segment, annex_a(segment).encode()))
    assert [type(event) for event in world.take()] == [UploadDone]


def test_a_waiting_upload_is_sent_again_with_the_new_password() -> None:
    """Table C.9: the platform knows only the new one from then on."""
    world = PlatformWorld(replace(OPTIONS, allow_control=True))
    sent = put(world)
    world.say(asked("1072", "NewPW=654321", qn="20160801085857999"))
    assert world.wait() == [sent.replace("PW=123456", "PW=654321")]
    world.device.disconnect()
    world.device.connect(world.now)
    assert world.sent() == [sent.replace("PW=123456", "PW=654321")]


@pytest.mark.parametrize("awaits_ack", [True, False])
def test_a_waiting_upload_is_encrypted_with_the_new_key(awaits_ack: bool) -> None:
    """HJ 212-2025 1014 (from implementations, not from the text)."""
    options = replace(OPTIONS, version=2, allow_control=True, awaits_ack=awaits_ack)
    world = PlatformWorld(options, Hj212Settings(key=FIRST_KEY))
    world.device.upload(Hj212Upload(1, "2051", BODY), world.now)
    first = world.device.outgoing(world.now)
    fresh = PlatformWorld(options, Hj212Settings(key=NEXT_KEY))
    fresh.device.upload(Hj212Upload(1, "2051", BODY), fresh.now)
    wanted = fresh.device.outgoing(fresh.now)
    assert first != wanted
    body = f"SKCreateTime=20260101000000;NewSK={NEXT_KEY.hex()}"
    world.device.receive(asked("1014", body, qn="20160801085857999", flag="8"), world.now)
    world.device.disconnect()
    world.device.connect(world.now)
    again = world.device.outgoing(world.now)
    assert again == wanted


def test_a_refused_upload_of_several_parts_can_be_dropped() -> None:
    world = PlatformWorld(replace(OPTIONS, window=2))
    long = parse_body("DataTime=1;" + ";".join(f"w{n:05}-Rtd=7.5" for n in range(200)))
    world.device.upload(Hj212Upload(3, "2061", long), world.now)
    world.device.upload(Hj212Upload(4, "2051", BODY), world.now)
    first, second = world.sent()
    for part in (first, second):
        world.say(asked("9011", "QnRtn=8", qn=qn(part)))
    for event in world.take():
        assert isinstance(event, PlatformRefused)
        world.device.drop(event)
    world.events += world.device.tick(world.now)
    (after,) = world.sent()
    assert cns([after]) == ["2051"]
    world.say(asked("9014", qn=qn(after)))
    assert world.device.is_idle


def test_noise_in_a_row_is_too_much() -> None:
    world = PlatformWorld(OPTIONS)
    noise = b"##x" * 20_000
    world.say(noise)
    refused = [event for event in world.take() if isinstance(event, FrameRefused)]
    assert [event.is_too_much for event in refused] == [False] * (MAX_REFUSED - 1) + [True]
    assert world.say(asked("1061")) == [], "nothing is read any more"
    world.device.disconnect()
    world.device.connect(world.now)
    assert cns(world.say(asked("1061"))) == ["9011", "1061", "9012"]


def test_noise_between_good_frames_is_not() -> None:
    world = PlatformWorld(OPTIONS)
    for number in range(20):
        answers = world.say(
            b"##x" * (MAX_REFUSED - 1) + asked("1061", qn=f"201608010858{number:05}")
        )
        assert cns(answers) == ["9011", "1061", "9012"]


@pytest.mark.parametrize(("limit", "result"), [(5, 3), (6, 1), (7, 1)])
def test_history_that_is_cut_is_not_called_done(limit: int, result: int) -> None:
    """Six periods are there; ExeRtn=3, a condition is wrong: the platform is to ask for less."""
    world = PlatformWorld(replace(OPTIONS, max_history=limit))
    times = "BeginTime=20160801080000,EndTime=20160801085000"
    answers = world.say(asked("2051", times, qn="20160801085857222"))
    assert cns(answers).count("2051") == min(limit, 6)
    assert cp(answers[-1]) == f"ExeRtn={result}"
    (command,) = world.take()
    assert ("more than 5 periods" in str(command)) is (limit == 5)
