"""The device brings uploads to the platform: answers, resends, parts, login, heartbeat."""

from dataclasses import replace

import pytest

from protocols.uplink.hj212 import Hj212Dialect, QnForm, parse_body
from protocols.uplink.hj212.device import MAX_OUTGOING, MAX_QUEUED
from protocols.uplink.hj212.events import (
    FrameRefused,
    Hj212Upload,
    LinkGivenUp,
    NoticeUnanswered,
    UploadDone,
)
from protocols.uplink.hj212.options import Hj212Options, Hj212Settings
from protocols.wire.errors import LocalError

from .platform_world import MN, PlatformWorld, annex_a, asked, cns, cp, qn

OPTIONS = Hj212Options(MN, "32", on_connect=())
BODY = parse_body("DataTime=20160801084000;w01001-Avg=7.5,w01001-Flag=N")


def put(world: PlatformWorld, key: int, cn: str = "2051", *, back: bool = False) -> list[str]:
    """Upload something; return what goes out."""
    world.events += world.device.upload(Hj212Upload(key, cn, BODY, back), world.now)
    return world.sent()


def done(world: PlatformWorld) -> list[int]:
    """Return the keys that are done since the last call."""
    return [event.key for event in world.take() if isinstance(event, UploadDone)]


def test_an_upload_is_done_when_it_is_answered() -> None:
    world = PlatformWorld()
    (frame,) = put(world, 7)
    assert frame == (
        f"QN=20160801085857223;ST=32;CN=2051;PW=123456;MN={MN};Flag=5;"
        "CP=&&DataTime=20160801084000;w01001-Avg=7.5,w01001-Flag=N&&"
    )
    assert done(world) == []
    world.say(asked("9014", st="91", flag="4"))
    (event,) = world.take()
    assert event == UploadDone(7, "2051", ("20160801085857223",), is_acknowledged=True)
    assert world.device.pending == 0


def test_no_answer_means_the_same_bytes_again_and_then_the_end() -> None:
    world = PlatformWorld()
    first = put(world, 1)
    for _ in range(3):
        assert world.wait() == first
    assert world.ms == 15_000
    assert world.wait() == []
    assert world.take() == [LinkGivenUp("2051", qn(first[0]), 4)]
    world.device.disconnect()
    assert world.device.next_ms() is None
    world.device.connect(world.now)
    assert world.sent() == first, "the same QN on the next connection"
    world.say(asked("9014", qn=qn(first[0])))
    assert done(world) == [1]


def test_only_as_many_as_the_window_wait() -> None:
    world = PlatformWorld(replace(OPTIONS, window=2))
    sent = [put(world, key) for key in range(4)]
    assert [len(frames) for frames in sent] == [1, 1, 0, 0]
    (third,) = world.say(asked("9014", qn=qn(sent[1][0])))
    assert done(world) == [1]
    assert len({qn(sent[0][0]), qn(sent[1][0]), qn(third)}) == 3


def test_parts_go_one_after_the_other() -> None:
    """Table C.50: PNUM and PNO, a request number and an answer for each part."""
    world = PlatformWorld()
    long = parse_body(
        "DataTime=20160801080000;" + ";".join(f"w{n:05}-Avg=7.5,w{n:05}-Flag=N" for n in range(70))
    )
    world.device.upload(Hj212Upload(3, "2061", long), world.now)
    parts = world.sent()
    assert len(parts) == 1
    while not (ended := done(world)):
        world.ms += 1
        parts += world.say(asked("9014", qn=qn(parts[-1])))
    assert ended == [3]
    assert [part.split("Flag=")[1].split(";CP")[0] for part in parts] == [
        f"7;PNUM=3;PNO={n}" for n in (1, 2, 3)
    ]
    assert all(cp(part).startswith("DataTime=20160801080000;w") for part in parts)
    assert ";".join(cp(part).split(";", 1)[1] for part in parts).count("-Flag=N") == 70


def test_parts_without_numbers() -> None:
    world = PlatformWorld(replace(OPTIONS, splits_with_numbers=False, awaits_ack=False))
    long = parse_body("DataTime=1;" + ";".join(f"w{n:05}-Rtd=7.5" for n in range(120)))
    world.events += world.device.upload(Hj212Upload(3, "2011", long), world.now)
    frames = world.sent()
    assert len(frames) == 2
    assert "PNUM" not in frames[0]
    (event,) = world.take()
    assert isinstance(event, UploadDone)
    assert (event.is_acknowledged, len(event.qns)) == (False, 2)


def test_a_platform_that_never_answers_is_not_waited_for() -> None:
    """Fuzhou's dust platform: Flag=5, and no answer is given (a note of that platform)."""
    world = PlatformWorld(replace(OPTIONS, st="22", awaits_ack=False))
    assert "Flag=5" in put(world, 1)[0]
    assert done(world) == [1]
    assert world.device.next_ms() is None


def test_back_fill_is_marked_where_the_platform_wants_it() -> None:
    world = PlatformWorld(replace(OPTIONS, version=2, marks_backfill=True, window=2))
    assert ";Flag=9;RF=1;CP=" in put(world, 1, back=True)[0]
    assert ";Flag=9;CP=" in put(world, 2)[0]


def test_the_login_comes_first() -> None:
    options = replace(OPTIONS, login_cn="9021", on_connect=("2081", "1013"))
    world = PlatformWorld(options)
    assert cns(put(world, 1)) == ["9021"]
    world.device.disconnect()
    world.events += world.device.connect(world.now)
    (login,) = world.sent()
    assert cns([login]) == ["9021"]
    after = world.say(asked("9021", qn=qn(login), flag="4"))
    assert cns(after) == ["2081", "1013", "2051"]
    assert "RestartTime=20160801085857" in after[0]
    world.device.disconnect()
    world.device.connect(world.now)
    (login,) = world.sent()
    assert cns(world.say(asked("9021", qn=qn(login)))) == ["2051", "1013"], "2081 was said"


def test_an_unanswered_login_gives_the_link_up() -> None:
    world = PlatformWorld(replace(OPTIONS, login_cn="9021"))
    world.sent()
    for _ in range(4):
        world.wait()
    assert [type(event) for event in world.take()] == [LinkGivenUp]


def test_an_unanswered_notice_does_not() -> None:
    world = PlatformWorld(replace(OPTIONS, on_connect=("1013",)))
    world.sent()
    for _ in range(4):
        world.wait()
    assert [type(event) for event in world.take()] == [NoticeUnanswered]
    assert world.device.next_ms() is None


def test_the_time_itself_answers_the_question_for_it() -> None:
    """Some platforms answer 1013 with ST=91, CN=1012 (from implementations, not from the text)."""
    world = PlatformWorld(replace(OPTIONS, on_connect=("1013",), allow_control=True))
    world.sent()
    world.say(asked("1012", "SystemTime=20160801085900", st="91", qn="20160801085857999"))
    assert world.device.next_ms() is None
    assert world.site.time_set is not None


def test_a_heartbeat() -> None:
    """9015, answered by 9013 (HJ 212-2025; from implementations, not from the text)."""
    world = PlatformWorld(replace(OPTIONS, version=2, heartbeat_s=60))
    (beat,) = world.wait()
    assert (world.ms, cns([beat]), cp(beat)) == (60_000, ["9015"], "")
    world.say(asked("9013", qn=qn(beat), flag="8"))
    (beat,) = world.wait()
    assert world.ms == 120_000


def test_without_request_numbers_the_oldest_is_answered() -> None:
    dialect = Hj212Dialect(qn=QnForm.ABSENT)
    world = PlatformWorld(replace(OPTIONS, dialect=dialect, window=2))
    put(world, 1)
    put(world, 2)
    answer = asked("9014").replace(b"QN=20160801085857223;", b"")
    segment = answer[6:-6]
    world.say(b"##%04d%b%b\r\n" % (len(segment), segment, annex_a(segment).encode()))
    assert done(world) == [1]


def test_answers_to_nothing_are_counted() -> None:
    world = PlatformWorld()
    (frame,) = put(world, 1)
    world.say(asked("9014", qn="20010101000000000"))
    world.say(asked("9014", qn=qn(frame), mn="another"))
    assert world.device.ignored == 2
    assert done(world) == []
    world.say(asked("9014", qn=qn(frame)))
    assert done(world) == [1]


def test_damaged_frames_are_reported() -> None:
    world = PlatformWorld()
    world.say(asked("1061").replace(b"CN=1061", b"CN=1063"))
    (event,) = world.take()
    assert isinstance(event, FrameRefused)
    assert event.error.field == "CRC"


def test_a_platform_that_asks_and_does_not_read_costs_bounded_memory() -> None:
    world = PlatformWorld()
    flood = b"".join(asked("1061", qn=f"2016080108{n:07}") for n in range(3000))
    world.device.receive(flood, world.now)
    assert len(world.device.outgoing(world.now)) < MAX_OUTGOING + 20_000
    assert world.device.ignored > 0


def test_a_full_queue_is_said() -> None:
    world = PlatformWorld()
    for key in range(MAX_QUEUED + 1):
        put(world, key)
    assert not world.device.can_upload
    with pytest.raises(LocalError, match="uploads that wait"):
        put(world, 99)


def test_data_are_encrypted_and_answers_are_not() -> None:
    world = PlatformWorld(replace(OPTIONS, version=2), Hj212Settings(key=b"0" * 16))
    world.device.upload(Hj212Upload(1, "2051", BODY), world.now)
    data = world.device.outgoing(world.now)
    assert b"DataTime" not in data
    assert data.startswith(b"##0139QN=20160801085857223;ST=32;CN=2051;")
    answers = world.say(asked("1061", flag="9"))
    assert cns(answers) == ["9011", "1061", "9012"]
